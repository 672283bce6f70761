"""Ten thousand uses a second over a thousand keys: what the log grows by, how far it is followed, and who waits."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import asyncpg

from bench import report
from bench.fleet import fleet
from bench.flushes import Flush, flushes
from bench.graph import Graph, asking
from bench.paced import Kept, Pace, Slice, keep
from bench.plan import Plan
from bench.report import Section, Table, Target
from bench.server import Server
from bench.serving import Service

KEYS: Final = 1_000
USES_A_SECOND: Final = 10_000
CONNECTIONS: Final = 64
NEVER_S: Final = 3600
DATABASE: Final = "entri"
LAG: Final = 'entri_read_model_lag_events{read_model="token_last_used"}'
SAMPLE_S: Final = 0.25
CLIENT_STARTS_IN_S: Final = 0.5
FIRST_S: Final = 1.5
GROWTH: Final = """\
select (select count(*) from events) as events, pg_current_wal_insert_lsn() - '0/0'::pg_lsn as wal,
    (select sum(pg_total_relation_size(c.oid)) from pg_class c
     where c.relkind = 'r' and (c.relname = 'event_index' or c.oid in (select relid from pg_partition_tree('events'))))
    as log"""
METHOD: Final = """\
{uses:,} verifications a second of {keys:,} keys in turn, for {seconds} s, at one process whose window is {window} s, so
that every key's uses are written {slices} times (by default the window is a minute). Before and after it the same at a
process whose window does not end meanwhile, which is what latencies are held against: it counts uses and writes none.
Latency is from when a request was due, of {slices} parts of {window} s each."""

FLUSHED: Final = """\
A flush of the first uses of {keys:,} keys, in a process that does nothing else, takes {ms} ms, of which the event
loop is held for {held_ms} ms at most in one go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What the log came to."""

    events: int
    wal: int
    log: int


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure without anything to write, with, and without again."""
    taken = await flushes(server, keys=KEYS, times=plan.repetitions)
    with fleet(server.directory.parent, options=("--usage-window-s", f"{NEVER_S}")) as together:
        (quiet,) = together.services
        (writing,) = together.start("--usage-window-s", f"{plan.usage_slice_s:g}")
        counting = await asyncpg.connect(together.server.superuser_dsn.format(DATABASE))
        try:
            async with asking(quiet) as graph:
                keys = [one.secret for one in await graph.issue(KEYS)]
                # The first use of each is written at once, at either.
                await keep(replace(pace(quiet, keys, plan, slices=1), slice_s=FIRST_S), may_fail=True)
                before = await keep(pace(quiet, keys, plan, slices=1), may_fail=True)
                await keep(replace(pace(writing, keys, plan, slices=1), slice_s=FIRST_S), may_fail=True)
                began = await growth(counting)
                sampling = asyncio.create_task(lags(graph, writing))
                during = await keep(pace(writing, keys, plan, slices=plan.usage_slices), may_fail=True)
                lagged = await ended(sampling)
                grown = await growth(counting)
                after = await keep(pace(quiet, keys, plan, slices=1), may_fail=True)
        finally:
            await counting.close()
    growing = Growth(events=grown.events - began.events, wal=grown.wal - began.wal, log=grown.log - began.log)
    made = section(plan, quiet=(before, after), during=during, growing=growing, lagged=lagged)
    return [replace(made, parts=[*made.parts, flushed(taken)])]


def flushed(taken: Sequence[Flush]) -> str:
    """Say how long flushes took."""
    ms, held_ms = report.spread([one.ms for one in taken]), report.spread([one.held_ms for one in taken])
    return FLUSHED.format(keys=KEYS, ms=ms, held_ms=held_ms)


def pace(service: Service, keys: Sequence[str], plan: Plan, *, slices: int) -> Pace:
    """Write the load at one process."""
    return Pace(
        ports=[service.port],
        connections=CONNECTIONS,
        keys=keys,
        rate=USES_A_SECOND,
        slices=slices,
        slice_s=plan.usage_slice_s,
        begin_at_s=time.monotonic() + CLIENT_STARTS_IN_S,
    )


async def growth(counting: "asyncpg.Connection[asyncpg.Record]") -> Growth:
    """Read how much there is."""
    row = await counting.fetchrow(GROWTH)
    assert row is not None
    return Growth(events=row["events"], wal=int(row["wal"]), log=int(row["log"]))


async def lags(graph: Graph, service: Service) -> list[float]:
    """Read again and again how many events the read model is behind, until cancelled."""
    read: list[float] = []
    with suppress(asyncio.CancelledError):
        while True:
            async with graph.session.get(f"http://{service.host}:{service.port}/metrics") as response:
                lines = (await response.text()).splitlines()
            read += [float(line.rpartition(" ")[2]) for line in lines if line.startswith(LAG)]
            await asyncio.sleep(SAMPLE_S)
    return read


async def ended(sampling: "asyncio.Task[list[float]]") -> list[float]:
    """Stop sampling and answer what was read."""
    sampling.cancel()
    return await sampling


def targets(without: Sequence[Slice], during: Kept, plan: Plan) -> list[Target]:
    """Hold the rate and the latency against what is wanted."""
    reference = median(one.p99_ms for one in without)
    return [
        Target(
            name="uses a second",
            values=[one.answers / plan.usage_slice_s for one in during.slices],
            bound=0.99 * USES_A_SECOND,
            at_least=True,
            unit="",
        ),
        Target(
            name="p99 of verifications: with uses written / without",
            values=[one.p99_ms / reference for one in during.slices],
            bound=1.2,
            at_least=False,
        ),
    ]


def figures(slices: Sequence[Slice], plan: Plan) -> list[str]:
    """Write what parts of a run came to."""
    return [
        report.spread([one.answers / plan.usage_slice_s for one in slices]),
        report.spread([one.p50_ms for one in slices]),
        report.spread([one.p99_ms for one in slices]),
        report.spread([one.most_ms for one in slices]),
    ]


def section(plan: Plan, *, quiet: Sequence[Kept], during: Kept, growing: Growth, lagged: Sequence[float]) -> Section:
    """Lay everything out."""
    without = [one for kept in quiet for one in kept.slices]
    held = targets(without, during, plan)
    seconds = plan.usage_slices * plan.usage_slice_s
    rows = [["no", *figures(without, plan)], ["yes", *figures(during.slices, plan)]]
    method = METHOD.format(
        uses=USES_A_SECOND,
        keys=KEYS,
        seconds=report.number(seconds),
        window=report.number(plan.usage_slice_s),
        slices=plan.usage_slices,
    )
    table = Table(("uses are written", "answers a second", "p50 ms", "p99 ms", "most ms"), rows)
    grown = (
        f"{during.good:,} uses became {growing.events:,} events: {report.number(growing.log / 1024)} KiB of the log "
        f"and its indexes, {report.number(growing.wal / 1024)} KiB of write-ahead log. The read model of last uses was "
        f"{report.number(median(lagged))} events behind at half of the samples, {report.number(max(lagged))} at most."
    )
    return Section("Usage", (method, table, grown, report.targets(held)), report.missed(held))
