"""How long a revocation takes until no process accepts the key: with all of them well, busy, and with one stopped."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench import report
from bench.fleet import Fleet, fleet
from bench.graph import Graph, Issued, Revoked, asking
from bench.paced import Pace, keep
from bench.plan import Plan
from bench.report import Section, Table, Target
from bench.server import Server
from service.settings import load

PROCESSES: Final = 4
LEASE_S: Final = load({}, {}).lease_s
"""The default."""
WORST_MS: Final = LEASE_S * 1.02 * 1000 + 70
BUSY_KEYS: Final = 256
BUSY_A_SECOND: Final = 2_000
CLIENT_STARTS_IN_S: Final = 0.5
QUIET: Final = "nothing else is asked"
BUSY: Final = "while {rate:,} keys a second are verified"
PATIENCE_S: Final = 30.0
UNAUTHORIZED: Final = 401
METHOD: Final = """\
{processes} processes of `entri serve` on one data directory. Tokens are verified at each of them, so that each knows
them, then revoked over GraphQL at the first, one after another; the time is from the request to its answer, and after
it every process is asked once and has to refuse. {count} tokens in each of {rounds} rounds."""
METHOD_OF_STALLS: Final = """\
With one process stopped (SIGSTOP) its lease of {lease} s has to be waited out, once: the next revocation finds it gone.
Continued, it must refuse what was revoked while it was away. {stalls} times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Two revocations while a process is stopped."""

    first: Revoked
    second: Revoked


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure quiet and busy in turn, then with a process stopped."""
    busy = BUSY.format(rate=BUSY_A_SECOND)
    with fleet(server.directory.parent, count=PROCESSES) as together:
        async with asking(together.services[0]) as graph:
            await revoke_all(graph, together, await graph.issue(5))
            measured: dict[str, list[list[Revoked]]] = {QUIET: [], busy: []}
            for _ in range(plan.rounds):
                tokens = await graph.issue(2 * plan.revocations)
                measured[QUIET].append(await revoke_all(graph, together, tokens[: plan.revocations]))
                measured[busy].append(await revoke_busy(graph, together, tokens[plan.revocations :]))
            stalls = [await stall(graph, together) for _ in range(plan.stalls)]
    return [section(measured, stalls, plan)]


async def revoke_all(graph: Graph, together: Fleet, tokens: Sequence[Issued]) -> list[Revoked]:
    """Revoke tokens one after another. Raises SystemExit when any process accepts one of them after its answer."""
    for token in tokens:
        await expect(graph, together, token, 200)
    revoked: list[Revoked] = []
    for token in tokens:
        revoked.append(await graph.revoke(token.token_id))
        await expect(graph, together, token, UNAUTHORIZED)
    return revoked


async def expect(graph: Graph, together: Fleet, token: Issued, status: int) -> None:
    """Ask every process for a token. Raises SystemExit when one answers otherwise."""
    asked = (graph.status_of(token.secret, service=service) for service in together.services)
    if set(answers := await asyncio.gather(*asked)) != {status}:
        raise SystemExit(f"the processes answered {answers}, where each should have answered {status}")


async def revoke_busy(graph: Graph, together: Fleet, tokens: Sequence[Issued]) -> list[Revoked]:
    """Revoke tokens while other keys are verified at all processes, for as long as it takes."""
    keys = [token.secret for token in await graph.issue(BUSY_KEYS)]
    load = Pace(
        ports=[service.port for service in together.services],
        connections=4 * len(together.services),
        keys=keys,
        rate=BUSY_A_SECOND,
        slices=1,
        slice_s=PATIENCE_S,
        begin_at_s=time.monotonic() + CLIENT_STARTS_IN_S,
    )
    loading = asyncio.create_task(keep(load))
    await asyncio.sleep(2 * CLIENT_STARTS_IN_S)
    try:
        return await revoke_all(graph, together, tokens)
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)


async def stall(graph: Graph, together: Fleet) -> Stall:
    """Stop the last process, revoke two tokens, and see that it refuses the first when it goes on."""
    stopped = together.services[-1]
    first, second = await graph.issue(2)
    for token in (first, second):
        await expect(graph, together, token, 200)
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        waited = await graph.revoke(first.token_id)
        after = await graph.revoke(second.token_id)
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
    await expect(graph, together, first, UNAUTHORIZED)
    await rejoined(graph)
    return Stall(first=waited, second=after)


async def rejoined(graph: Graph) -> None:
    """Wait until a revocation finds every process again, or there is no barrier. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            (token,) = await graph.issue(1)
            if (await graph.revoke(token.token_id)).processes in {0, PROCESSES}:
                return


def section(measured: Mapping[str, Sequence[Sequence[Revoked]]], stalls: Sequence[Stall], plan: Plan) -> Section:
    """Lay everything out."""
    held: list[Target] = []
    rows: list[list[str]] = []
    for name, rounds in measured.items():
        middle, late = ([share(one, part) for one in rounds] for part in (0.5, 0.99))
        most = [share(one, 1) for one in rounds]
        rows.append([name, report.spread(middle), report.spread(late), report.spread(most)])
        held.append(Target(name=f"p50, {name}", values=middle, bound=10, at_least=False, unit="ms"))
        held.append(Target(name=f"p99, {name}", values=late, bound=50, at_least=False, unit="ms"))
    first, second = [one.first.ms for one in stalls], [one.second.ms for one in stalls]
    held.append(Target(name="one process stopped", values=[max(first)], bound=WORST_MS, at_least=False, unit="ms"))
    held.append(Target(name="the one after it", values=second, bound=50, at_least=False, unit="ms"))
    method = METHOD.format(processes=PROCESSES, count=plan.revocations, rounds=plan.rounds)
    stopped = METHOD_OF_STALLS.format(lease=report.number(LEASE_S), stalls=plan.stalls)
    table = Table(("revoking", "p50 ms", "p99 ms", "most ms"), rows)
    waited = f"The first took {report.spread(first)} ms, the next {report.spread(second)} ms."
    return Section("Revocation", (method, table, stopped, waited, report.targets(held)), report.missed(held))


def share(revoked: Sequence[Revoked], part: float) -> float:
    """Pick how long the given part of revocations took at most."""
    ordered = sorted(one.ms for one in revoked)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
