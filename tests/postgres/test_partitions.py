"""Partitions: there before they are needed, invisible to whoever reads, and left alone by who need not read them."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from events.batch import Appended
from events.envelope import Position
from events.log import (
    BEYOND,
    READ_AFTER,
    READ_HISTORY_BACKWARD,
    READ_HISTORY_FORWARD,
    READ_STREAM,
    READ_SUBJECTS_BACKWARD,
    READ_SUBJECTS_FORWARD,
    follow_to_head,
    read_head,
)
from events.statement import Connection, Statement
from events.writer import LogWriter
from tests.postgres.appends import decided, observed
from tests.postgres.conftest import Database
from tests.postgres.processes import processes

SMALL = 500
"""More than twice what all writers together can append before one of them looks ahead."""


async def assert_whole(connection: Connection, size: int) -> list[int]:
    """Check that partitions of both kinds follow each other without gap, as the server knows them; list starts."""
    rows = await connection.fetch(
        "select is_usage, name, from_position, to_position from event_partitions order by 1, 3"
    )
    kinds = [
        [(row["from_position"], row["to_position"]) for row in rows if row["is_usage"] is kind]
        for kind in (False, True)
    ]
    starts = [start for start, _ in kinds[0]]
    assert starts == list(range(1, 1 + size * len(starts), size))
    assert kinds[0] == kinds[1] == [(start, start + size) for start in starts]
    leaves = await connection.fetch("select relid::regclass::text from pg_partition_tree('events') where isleaf")
    assert sorted(row["name"] for row in rows) == sorted(row[0] for row in leaves)
    return starts


async def test_partitions_are_made_ahead(database: Database) -> None:
    """While two processes append through many partitions, none is ever missing, and half of one is always ahead."""
    async with processes(
        database, 2, partition_size=SMALL, work="append", callers=8, commands=150, organizations=3
    ) as writing:
        writing.begin()
        await writing.results()
    async with database.pool() as pool, database.owner() as owner:
        positions = [event.position async for event in follow_to_head(pool, Position(0), batch=333)]
        head = await read_head(pool)
        starts = await assert_whole(owner, SMALL)
    assert positions == list(range(1, head + 1))
    assert len(starts) > 5
    assert starts[-1] + SMALL > head


async def test_who_was_idle_needs_none_made(database: Database) -> None:
    """A writer that last looked ahead many partitions ago appends to what the others made."""

    def writer() -> LogWriter:
        return LogWriter(lambda: asyncpg.connect(database.service_dsn), partition_size=SMALL)

    async with writer() as idle, writer() as busy:
        await idle.append(decided("tok_idle"))
        for number in range(20):
            await busy.append(observed(f"tok_{number}", events=100))
        assert isinstance(await idle.append(decided("tok_idle", 1)), Appended)
    async with database.owner() as owner:
        assert len(await assert_whole(owner, SMALL)) == 5


async def test_two_who_look_ahead_make_one(database: Database) -> None:
    """Processes that find the same partitions missing at the same moment do not make them twice."""
    async with database.owner() as owner:
        await owner.execute("update log_head set position = 4000")
        async with database.pool(size=4) as pool:
            ahead = "select ensure_event_partitions(500)"
            answers = await asyncio.gather(*(pool.fetchval(ahead) for _ in range(4)))
        assert answers == [4501] * 4
        assert len(await assert_whole(owner, SMALL)) == 9


FILL = """
    insert into events (
        is_usage, position, organization, organization_position, recorded_at, occurred_at, type, subject, actor, entry)
    select n % 4 > 0, n, case when n % 10 = 0 then 'org_small_' || n % 1000 else 'org_large' end, n, now(), now(),
        case when n % 4 > 0 then 'TokenUsed' else 'TokenRevoked' end, 'tok_' || n % 250, 'mem_1',
        convert_to(repeat('x', 450), 'utf8')
    from generate_series(1, 10000) n
"""
INDEX = """
    insert into event_index select 'evt_' || n, n, n, 'token-tok_' || n % 250, n / 250 from generate_series(1, 10000) n
    where n % 4 = 0
"""
PARTITION = 2_500
NOTHING = [None, None, None, None]
"""No filter by type, actor or instant."""
HISTORY = ["org_large", 4_500, BEYOND, 50, *NOTHING]
READS: dict[str, tuple[Statement, list[object], str]] = {
    "after": (READ_AFTER, [8_000, 50], "_7501 "),
    "forward": (READ_HISTORY_FORWARD, [*HISTORY, False, True], ""),
    "backward": (READ_HISTORY_BACKWARD, [*HISTORY, False, True], ""),
    "decisions forward": (READ_HISTORY_FORWARD, [*HISTORY, False, False], "_decisions_"),
    "usage backward": (READ_HISTORY_BACKWARD, [*HISTORY, True, True], "_usage_"),
    "subjects forward": (READ_SUBJECTS_FORWARD, [*HISTORY, False, True, "{tok_1,tok_2}"], ""),
    "subjects backward": (READ_SUBJECTS_BACKWARD, [*HISTORY, False, True, "{tok_1,tok_2}"], ""),
    "stream": (READ_STREAM, ["token-tok_4", 30], "_decisions_"),
}


@pytest.fixture
async def large(database: Database) -> AsyncIterator[Connection]:
    """Fill eight partitions, mostly by one organization, and connect as the owner."""
    async with database.owner() as owner:
        for start in range(1, 10_001, PARTITION):
            await owner.execute(
                "select make_event_partition(kind, $1, $2) from (values (false), (true)) k (kind)", start, PARTITION
            )
        await owner.execute(FILL)
        await owner.execute(INDEX)
        await owner.execute("analyze events, event_index")
        yield owner


async def plan_of(owner: Connection, statement: Statement, arguments: list[object]) -> list[str]:
    """Run a statement and show how, but for what was not executed."""
    types = ", ".join(parameter.name for parameter in (await owner.prepare(statement.text)).get_parameters())
    await owner.execute(f"prepare explained ({types}) as {statement.text}")
    values = ", ".join("null" if value is None else f"'{value}'" for value in arguments)
    rows = await owner.fetch(
        f"explain (analyze, costs off, timing off, summary off, buffers off) execute explained ({values})"
    )
    await owner.execute("deallocate explained")
    return [row[0] for row in rows if "never executed" not in row[0]]


async def test_a_page_reads_indexes_only(large: Connection) -> None:
    """However a page is planned, it walks indexes, in their order, in no partition that cannot hold what is asked."""
    for mode in ("force_custom_plan", "force_generic_plan"):
        await large.execute(f"set plan_cache_mode = {mode}")
        for name, (statement, arguments, only) in READS.items():
            plan = await plan_of(large, statement, arguments)
            scans = [line for line in plan if " on events_" in line]
            assert scans, name
            assert all("Index Scan" in line and only in line for line in scans), (mode, name, scans)
            # Pages of several subjects are merged by a sort of as many pages; a stream is read to its end.
            sorts = [] if name == "stream" or "subjects" in name else ["->  Sort", "->  Incremental Sort"]
            assert not any(word in line for line in plan for word in ("Hash Join", "Seq Scan on", *sorts)), (name, plan)
