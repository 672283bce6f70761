"""What `/verify` asks of PostgreSQL for warm keys, by its own count. Must never count what the counting asks."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import asyncpg

from bench import report, wrk
from bench.fleet import fleet
from bench.graph import asking
from bench.plan import Plan
from bench.report import Section, Table, Target
from bench.server import Server
from bench.serving import HOST
from bench.wrk import MissingError, shoot, write_keys

KEYS: Final = 64
CONNECTIONS: Final = 64
DATABASE: Final = "entri"
LIBRARY: Final = "pg_stat_statements"
SHOWN: Final = 70
NONE: Final = 1
"""Of a thousand requests: what a request that came late, or a lease renewed once more, may make of none."""
CALLS: Final = """\
select queryid, min(query) as query, sum(calls)::bigint as calls, sum(wal_records)::bigint as records
from pg_stat_statements join pg_roles on userid = pg_roles.oid
where rolname in ('entri_owner', 'entri_service')
group by queryid"""
POSITION: Final = "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
METHOD: Final = """\
Counted by `pg_stat_statements` and the position of the write-ahead log, for {seconds} s with nobody asking and for as
long with wrk asking over {connections} connections for {keys} keys that were used before, {rounds} times. What a
process asks by itself (leases, read models that catch up, usage) is in both; a request's share is the difference by the
number of requests. A key's uses are written once a window, a minute by default, whoever asks: see *Usage*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What the server did for the service in a while."""

    calls: Counter[str]
    records: int
    """Of its statements, in the write-ahead log."""
    wal_bytes: int
    requests: int


async def run(server: Server, plan: Plan) -> list[Section]:
    """Count, idle and loaded in turn."""
    try:
        wrk.program()
    except MissingError as missing:
        return [Section("Statements", (f"Not measured: {missing}.",))]
    with fleet(server.directory.parent, preload=LIBRARY) as together:
        async with asking(together.services[0]) as graph:
            issued = await graph.issue(KEYS)
        keys = write_keys(together.server.directory / "keys", [one.secret for one in issued])
        url = f"http://{HOST}:{together.services[0].port}/verify"
        await together.server.as_superuser(f"create extension {LIBRARY}", database=DATABASE)
        counting = await asyncpg.connect(together.server.superuser_dsn.format(DATABASE))
        try:
            await shoot(url, keys, connections=CONNECTIONS, seconds=2)  # the first use of each key is written at once
            idle, loaded = [], []
            for _ in range(plan.rounds):
                idle.append(await count(counting, None, plan.counted_s))
                loaded.append(await count(counting, (url, keys), plan.counted_s))
        finally:
            await counting.close()
    return [section(idle, loaded, plan)]


async def count(
    counting: "asyncpg.Connection[asyncpg.Record]", load: tuple[str, Path] | None, seconds: float
) -> Counted:
    """Count for a while, with a load or without."""
    await counting.execute("select pg_stat_statements_reset()")
    position, requests = await counting.fetchval(POSITION), 0
    if load is None:
        await asyncio.sleep(seconds)
    else:
        requests = (await shoot(*load, connections=CONNECTIONS, seconds=seconds)).answers
    rows = await counting.fetch(CALLS)
    calls: Counter[str] = Counter()
    for row in rows:
        calls[shortened(row["query"])] += row["calls"]
    moved = await counting.fetchval(POSITION) - position
    return Counted(calls=calls, records=sum(row["records"] for row in rows), wal_bytes=int(moved), requests=requests)


def shortened(query: str) -> str:
    """Name a statement by its first words."""
    lines = [line for line in query.splitlines() if not line.startswith("--")]
    words = " ".join(" ".join(lines).split())
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"


def section(idle: Sequence[Counted], loaded: Sequence[Counted], plan: Plan) -> Section:
    """Lay everything out."""
    statements = share([one.calls.total() for one in idle], [one.calls.total() for one in loaded], loaded)
    records = share([one.records for one in idle], [one.records for one in loaded], loaded)
    held = [
        Target(name="SQL statements a thousand requests", values=statements, bound=NONE, at_least=False, unit=""),
        Target(name="WAL records a thousand requests", values=records, bound=NONE, at_least=False, unit=""),
    ]
    names = sorted({name for one in (*idle, *loaded) for name in one.calls})
    rows = [[f"`{name}`", each(name, idle, plan), each(name, loaded, plan)] for name in names]
    rows.append(
        ["bytes of write-ahead log", wal(idle, plan), wal(loaded, plan)],
    )
    rows.append(["requests", "0", report.spread([one.requests / plan.counted_s for one in loaded])])
    method = METHOD.format(seconds=report.number(plan.counted_s), connections=CONNECTIONS, keys=KEYS, rounds=len(idle))
    table = Table(("a second", "nobody asks", "wrk asks"), rows)
    return Section("Statements", (method, table, report.targets(held)), report.missed(held))


def share(idle: Sequence[int], loaded: Sequence[int], counted: Sequence[Counted]) -> list[float]:
    """Divide what was more under load by the requests, in thousands."""
    pairs = zip(idle, loaded, counted, strict=True)
    return [max(0.0, (more - less) / one.requests * 1000) for less, more, one in pairs]


def each(name: str, counted: Sequence[Counted], plan: Plan) -> str:
    """Write how often a statement ran in a second."""
    return report.number(median(one.calls[name] for one in counted) / plan.counted_s)


def wal(counted: Sequence[Counted], plan: Plan) -> str:
    """Write how much was written in a second."""
    return report.spread([one.wal_bytes / plan.counted_s for one in counted])
