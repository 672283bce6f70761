"""What a lone `createToken` waits for, each part measured by itself in this process on a database of its own."""

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from statistics import median
from typing import Final

from bench import report
from bench.issuing import issue, organizations
from bench.report import Table
from bench.server import Server
from bench.verifying import entrances_of
from events.token_kinds import TokenKind
from events.tokens import CreateToken
from service.authorization import Principal, operator
from service.core import Core
from service.entrances import Entrances
from service.issuing import Done
from service.secret_text import SecretText

DATABASE: Final = "parts"
REST: Final = "HTTP, GraphQL, deciding and encoding, waking one another up"
METHOD: Final = """\
What a lone request waits for, one after the other: each part measured by itself {samples} times, the last one what is
left of the median over one connection above."""

Part = Callable[[], Awaitable[float]]


async def lone_parts(server: Server, *, samples: int) -> dict[str, float]:
    """Measure the parts, in milliseconds: medians."""
    await server.create_database(DATABASE)
    async with server.core(DATABASE) as core, entrances_of(core) as entrances:
        (principal,) = await organizations(core, count=1)
        done, key = await first_token(core, principal)
        listed = parts(entrances, principal, token_id=done.token_id, key=key)
        return {name: median([await part() for _ in range(samples)]) * 1000 for name, part in listed.items()}


def parts(entrances: Entrances, principal: Principal, *, token_id: str, key: SecretText) -> Mapping[str, Part]:
    """List what a request waits for."""
    core, services = entrances.core, entrances.services

    async def append() -> float:
        command = issue(principal).append(principal)
        return await timed(lambda: core.writer.append(command))

    return {
        "verifying the presented key, seen before": lambda: timed(lambda: services.verifier.verify(key.reveal())),
        "hashing the new secret": lambda: timed(lambda: core.hashing.hash(os.urandom(32))),
        "the append": append,
        "reading the token back": lambda: timed(lambda: services.queries.changed_token(principal, token_id)),
    }


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Measure how long something is waited for."""
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def first_token(core: Core, principal: Principal) -> tuple[Done, SecretText]:
    """Issue a token as the operator does, and keep its secret."""
    command = CreateToken(
        token_id="", kind=TokenKind.API_TOKEN, name="caller", hint="", scopes=("tokens:write", "projects:read")
    )
    done = await core.commands.create(operator(principal.organization), command)
    if not isinstance(done, Done) or done.secret is None:
        raise TypeError(f"refused: {done}")
    return done, done.secret


def table(measured: Mapping[str, float], whole_ms: float) -> Table:
    """Lay the parts out, and what is left of the whole."""
    rows = [[name, report.number(ms)] for name, ms in measured.items()]
    rest = max(0.0, whole_ms - sum(measured.values()))
    return Table(("part", "ms"), [*rows, [REST, report.number(rest)], ["all of it", report.number(whole_ms)]])
