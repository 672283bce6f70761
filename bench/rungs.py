"""The rungs of verification, in this process: what a warm key costs, a wrong checksum, an unknown key, a cold one."""

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench import report
from bench.callers import percentile
from bench.plan import Plan
from bench.report import Section, Table, Target
from bench.server import Server
from bench.verifying import entrances_of
from events.refusals import Refused
from events.token_kinds import TokenKind
from events.tokens import CreateToken
from service.authorization import operator
from service.core import Core
from service.entrances import Entrances
from service.secret_format import DEFAULT_PREFIX, generate
from service.usage import recording

DATABASE: Final = "rungs"
WARM_KEYS: Final = 200
CHUNK: Final = 1_000
"""So many calls in a row, before others have their turn."""
ADDRESS: Final = "203.0.113.7"
WARM: Final = "a warm key, its use recorded"
RECORD: Final = "of that, recording the use"
MISREAD: Final = "a wrong checksum"
UNKNOWN: Final = "an unknown key, asked before"
METHOD: Final = """\
The verifier and the recorder of uses as the service has them, with a lease, on a database of their own; {calls:,} calls
together in each of {rounds} rounds, one after another. Times are this thread's on the processor; statements are those
that look keys up."""
COLD: Final = """\
A cold key, alone: p50 {p50} ms, p99 {p99} ms; {statements} statements a key. Each of {count} keys is verified once in
each round, by a process that never saw it, so that it needs its Argon2 hash too."""

Calls = Callable[[Sequence[str]], Awaitable[None]]
"""Calls the verifier once for each of some keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round came to."""

    us: Mapping[str, float]
    statements: Mapping[str, int]
    cold_s: Sequence[float]
    cold_statements: int


class Rungs:
    """Calls the verifier; owns what was counted."""

    def __init__(self, entrances: Entrances) -> None:
        self._entrances = entrances
        self._verify = entrances.services.verifier.verify
        self._record = entrances.services.usage.record

    @property
    def statements(self) -> int:
        """Count the look-ups so far."""
        return self._entrances.verifying.reader.reads

    async def warm(self, keys: Sequence[str]) -> None:
        """Verify good keys and record their uses. Raises SystemExit when one is not good."""
        verify, record = self._verify, self._record
        for key in keys:
            credential = (await verify(key)).credential
            if credential is None:
                raise SystemExit("a good key was refused")
            record(credential, ADDRESS)

    async def record(self, keys: Sequence[str]) -> None:
        """Record a use for each of some keys, all of the first."""
        credential, record = (await self._verify(keys[0])).credential, self._record
        if credential is None:
            raise SystemExit("a good key was refused")
        for _ in keys:
            record(credential, ADDRESS)

    async def refused(self, keys: Sequence[str]) -> None:
        """Verify keys that are not good. Raises SystemExit when one is."""
        verify = self._verify
        for key in keys:
            if (await verify(key)).failure is None:
                raise SystemExit("a key that nobody issued was accepted")

    async def cold(self, keys: Sequence[str]) -> list[float]:
        """Verify keys for the first time; answers how long each was waited for, in ascending order."""
        waited: list[float] = []
        for key in keys:
            began = time.perf_counter()
            verified = await self._verify(key)
            waited.append(time.perf_counter() - began)
            if verified.failure is not None:
                raise SystemExit("a good key was refused")
        return sorted(waited)


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure every rung, in turn."""
    await server.create_database(DATABASE)
    async with server.core(DATABASE) as core, entrances_of(core) as entrances, recording(entrances.services.usage):
        rungs = Rungs(entrances)
        good = await issue(core, WARM_KEYS)
        await rungs.warm(good)
        rounds = [await measure(rungs, core, good, plan) for _ in range(plan.repetitions)]
    return [section(rounds, plan)]


async def issue(core: Core, count: int) -> list[str]:
    """Issue tokens as the operator does, and keep their secrets."""
    organization = await core.organizations.create("gateway")
    if isinstance(organization, Refused):
        raise TypeError(f"refused: {organization}")
    secrets: list[str] = []
    for number in range(count):
        command = CreateToken(
            token_id="", kind=TokenKind.API_TOKEN, name=f"key {number}", hint="", scopes=("projects:read",)
        )
        done = await core.commands.create(operator(organization), command)
        if isinstance(done, Refused) or done.secret is None:
            raise TypeError(f"refused: {done}")
        secrets.append(done.secret.reveal())
    return secrets


async def measure(rungs: Rungs, core: Core, good: Sequence[str], plan: Plan) -> Round:
    """Measure each rung once."""
    unknown = [generate(DEFAULT_PREFIX, os.urandom).reveal() for _ in range(CHUNK)]
    misread = [f"{key[:-1]}{'A' if key[-1] != 'A' else 'B'}" for key in unknown]
    await rungs.refused(unknown)
    rows = {
        WARM: (rungs.warm, good),
        RECORD: (rungs.record, good),
        MISREAD: (rungs.refused, misread),
        UNKNOWN: (rungs.refused, unknown),
    }
    us: dict[str, float] = {}
    statements: dict[str, int] = {}
    for name, (calls, keys) in rows.items():
        before = rungs.statements
        us[name] = await together_us(calls, keys, plan.calls)
        statements[name] = rungs.statements - before
    cold = await issue(core, plan.cold_keys)
    before = rungs.statements
    waited = await rungs.cold(cold)
    return Round(us=us, statements=statements, cold_s=waited, cold_statements=rungs.statements - before)


async def together_us(calls: Calls, keys: Sequence[str], count: int) -> float:
    """Time so many calls, with a pause for others now and then; microseconds each."""
    spent_s = 0.0
    chunk = list(itertools.islice(itertools.cycle(keys), CHUNK))
    for _ in range(count // CHUNK):
        began = time.thread_time()
        await calls(chunk)
        spent_s += time.thread_time() - began
        await asyncio.sleep(0)
    return spent_s / count * 1e6


def section(rounds: Sequence[Round], plan: Plan) -> Section:
    """Lay everything out."""
    us = {name: [one.us[name] for one in rounds] for name in rounds[0].us}
    p50, p99 = ([percentile(one.cold_s, share) * 1000 for one in rounds] for share in (0.5, 0.99))
    held = [
        Target(name=f"{WARM}", values=us[WARM], bound=5, at_least=False, unit="µs"),
        Target(name=f"{MISREAD}", values=us[MISREAD], bound=3, at_least=False, unit="µs"),
        Target(name="a cold key, p50", values=p50, bound=2.5, at_least=False, unit="ms"),
    ]
    rows = [[name, report.spread(us[name]), str(sum(one.statements[name] for one in rounds))] for name in us]
    method = METHOD.format(calls=plan.calls, rounds=plan.repetitions)
    cold = COLD.format(
        p50=report.spread(p50),
        p99=report.spread(p99),
        statements=report.number(sum(one.cold_statements for one in rounds) / plan.cold_keys / len(rounds)),
        count=plan.cold_keys,
    )
    table = Table(("a call", "µs", "statements"), rows)
    return Section("Verification in this process", (method, table, cold, report.targets(held)), report.missed(held))
