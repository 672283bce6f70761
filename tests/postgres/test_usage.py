"""Usage: every use is in the log once, folded, or the log says that some may be missing."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from events.envelope import Position
from events.log import read_after
from events.statement import Connection, Pool
from events.token_kinds import TokenKind
from events.usage import GapCause, TokenUsed, UsageGap
from events.writer import LogUnavailableError, LogWriter
from service import usage
from service.credential import Credential
from service.usage import UsageRecorder, UsageSettings
from tests.postgres.conftest import Database

START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(seconds=60)


@dataclass(slots=True, kw_only=True)
class Bench:
    """Makes recorders on one database, with a clock and a network that a test controls."""

    pool: Pool
    service_dsn: str
    now: datetime = START
    connection: "Connection | None" = None
    is_cut_off: bool = False
    refused: asyncio.Event = field(default_factory=asyncio.Event)
    completed: list[str] = field(default_factory=list)

    async def connect(self) -> Connection:
        """Connect the writer, unless the network is cut."""
        if self.is_cut_off:
            self.refused.set()
            raise ConnectionRefusedError
        self.connection = await asyncpg.connect(self.service_dsn)
        return self.connection

    def cut(self) -> None:
        """Cut the writer off from the database."""
        assert self.connection is not None
        self.connection.terminate()
        self.is_cut_off = True

    def recorder(self, writer: LogWriter, *, window_s: float = 60.0, process: str = "one") -> UsageRecorder:
        """Make a recorder as a process of this name."""

        async def complete(credential: Credential) -> None:
            self.completed.append(credential.token_id)

        settings = UsageSettings(
            window_s=window_s,
            process=process,
            complete_rotation=complete,
            random_bytes=os.urandom,
            clock=lambda: self.now,
        )
        return UsageRecorder(self.pool, writer, settings)

    async def events(self) -> list[TokenUsed | UsageGap]:
        """Read what the log says."""
        recorded = await read_after(self.pool, Position(0), limit=10_000)
        return [one.event for one in recorded if isinstance(one.event, TokenUsed | UsageGap)]

    async def counts(self) -> list[int]:
        """Read how many uses each event says."""
        return [event.count for event in await self.events() if isinstance(event, TokenUsed)]

    async def marked(self) -> list[tuple[str, str]]:
        """Read which organizations which processes hold uses of."""
        rows = await self.pool.fetch("select process, organization from usage_buffers order by 1, 2")
        return [(row[0], row[1]) for row in rows]


def credential(token_id: str = "tok_1", *, organization: str = "org_1", completes: bool = False) -> Credential:
    """Make what a verification found."""
    return Credential(
        token_id=token_id,
        organization=organization,
        kind=TokenKind.API_TOKEN,
        application_id=None,
        scopes=(),
        expires_at=None,
        hint="aB3d…x9Zk",
        generation=0,
        completes_rotation=completes,
    )


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[tuple[Bench, LogWriter]]:
    """Open a bench and its writer."""
    async with database.pool() as pool:
        bench = Bench(pool=pool, service_dsn=database.service_dsn)
        async with LogWriter(bench.connect, partition_size=10_000) as writer:
            yield bench, writer


def record(recorder: UsageRecorder, count: int, addresses: Sequence[str | None] = (None,)) -> None:
    """Count some uses of one token."""
    for number in range(count):
        recorder.record(credential(), addresses[number % len(addresses)])


async def test_the_first_use_at_once_then_one_event_a_window(database: Database) -> None:
    """The first use is written with the next flush, those within its window as one event when it has ended."""
    async with opened(database) as (bench, writer):
        recorder = bench.recorder(writer)
        record(recorder, 1)
        await recorder.flush()
        assert await bench.counts() == [1]
        addresses = [f"192.0.2.{number}" for number in range(15)]
        for second in (10, 20, 59):
            bench.now = START + timedelta(seconds=second)
            record(recorder, 30, addresses)
            await recorder.flush()
        assert await bench.counts() == [1]
        bench.now = START + WINDOW
        await recorder.flush()
        used = (await bench.events())[-1]
        assert isinstance(used, TokenUsed)
        assert used.count == 90
        assert used.first_used_at == START + timedelta(seconds=10)
        assert used.last_used_at == START + timedelta(seconds=59)
        assert used.ip_addresses == tuple(addresses[:10])


async def test_no_window_writes_every_use(database: Database) -> None:
    """Without a window nothing is folded: each use is an event of its own."""
    async with opened(database) as (bench, writer):
        recorder = bench.recorder(writer, window_s=0)
        record(recorder, 5, ["192.0.2.1", "192.0.2.2"])
        await recorder.flush()
        record(recorder, 1)
        await recorder.flush()
        assert await bench.counts() == [1] * 6


async def test_counts_are_exact_while_it_is_flushed(database: Database) -> None:
    """Uses that come while a flush is on its way are counted once; a clean stop writes the rest and unmarks."""
    async with opened(database) as (bench, writer):
        recorder = bench.recorder(writer)
        running = asyncio.create_task(recorder.run())

        async def use(number: int) -> None:
            for _ in range(100):
                recorder.record(credential(f"tok_{number}", organization=f"org_{number % 3}"), None)
                bench.now += timedelta(seconds=1)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(use(number))
            tasks.create_task(recorder.flush())
        recorder.stop()
        await running
        assert sum(await bench.counts()) == 2000
        assert recorder.buffered == 0
        assert await bench.marked() == []


async def test_memory_is_bounded_and_the_log_says_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound new tokens go uncounted, known ones are counted, and each organization gets one gap a flush."""
    monkeypatch.setattr(usage, "MOST_BUFFERED", 3)
    async with opened(database) as (bench, writer):
        recorder = bench.recorder(writer)
        for number in range(3):
            recorder.record(credential(f"tok_{number}"), None)
        bench.now = START + timedelta(seconds=1)
        for token_id in ("tok_8", "tok_9", "tok_0"):
            recorder.record(credential(token_id), None)
        recorder.record(credential("tok_7", organization="org_2"), None)
        bench.now = START + timedelta(seconds=2)
        await recorder.flush()
        events = await bench.events()
        assert [event for event in events if isinstance(event, UsageGap)] == [
            UsageGap(
                organization_id=name, cause=GapCause.OVERFLOW, began_at=START + timedelta(seconds=1), ended_at=bench.now
            )
            for name in ("org_1", "org_2")
        ]
        assert await bench.counts() == [2, 1, 1]
        recorder.record(credential("tok_8"), None)
        await recorder.flush()
        assert await bench.counts() == [2, 1, 1, 1]


async def test_uses_in_memory_are_marked(database: Database) -> None:
    """From its first use until its last window has ended, an organization is marked durably."""
    async with opened(database) as (bench, writer):
        recorder = bench.recorder(writer)
        record(recorder, 1)
        await recorder.flush()
        assert await bench.marked() == [("one", "org_1")]
        recorder.record(credential("tok_2", organization="org_2"), None)
        record(recorder, 1)
        await recorder.flush()
        assert await bench.marked() == [("one", "org_1"), ("one", "org_2")]
        bench.now = START + WINDOW
        await recorder.flush()  # org_1 has a new window, since it was used in the last one
        assert await bench.marked() == [("one", "org_1")]
        bench.now = START + 2 * WINDOW
        await recorder.flush()
        assert await bench.marked() == []
        assert await bench.counts() == [1, 1, 1]


async def test_a_crash_is_one_gap_whoever_sees_it(database: Database) -> None:
    """The markers of a process that is gone become one gap each, though several look; one that lives gets none."""
    async with opened(database) as (bench, writer):
        gone, living = bench.recorder(writer, process="gone"), bench.recorder(writer, process="living")
        for recorder in (gone, living):
            record(recorder, 1)
            recorder.record(credential("tok_2", organization="org_2"), None)
            await recorder.flush()
        aged = "update usage_buffers set buffered_from = $1, seen_at = $2 where process = 'gone'"
        await bench.pool.execute(aged, START, START + WINDOW)
        others = [bench.recorder(writer, process=f"other {number}") for number in range(3)]
        await asyncio.gather(*(other.sweep_orphans() for other in (*others, living)))
        gaps = [event for event in await bench.events() if isinstance(event, UsageGap)]
        assert sorted((gap.organization_id, gap.cause) for gap in gaps) == [
            ("org_1", GapCause.CRASH),
            ("org_2", GapCause.CRASH),
        ]
        assert {(gap.began_at, gap.ended_at) for gap in gaps} == {(START, START + WINDOW + timedelta(seconds=10))}
        assert await bench.marked() == [("living", "org_1"), ("living", "org_2")]


async def blocked(pool: Pool) -> int:
    """Wait until somebody waits for the log's lock, and return the process that serves him."""
    async with asyncio.timeout(10):
        while True:
            pid = await pool.fetchval("select pid from pg_locks where objid = 4270001 and not granted")
            if pid is not None:
                return int(pid)
            await asyncio.sleep(0.01)


async def test_a_flush_cut_off_counts_once(database: Database) -> None:
    """Neither a connection that is ended while the log is written to, nor one that cannot be had, loses a use."""
    async with opened(database) as (bench, writer), database.owner() as owner:
        recorder = bench.recorder(writer)
        record(recorder, 3)
        async with owner.transaction():
            await owner.execute("select pg_advisory_xact_lock(4270001)")
            flushing = asyncio.create_task(recorder.flush())
            pid = await blocked(bench.pool)
            record(recorder, 4)
            await bench.pool.execute("select pg_terminate_backend($1)", pid)
        await flushing
        assert await bench.counts() == [3]
        bench.now = START + WINDOW
        bench.cut()
        with pytest.raises(LogUnavailableError):
            await recorder.flush()
        record(recorder, 5)
        bench.is_cut_off = False
        await recorder.flush(everything=True)
        assert await bench.counts() == [3, 4, 5]


async def test_the_last_flush_is_tried_again(database: Database) -> None:
    """A process that stops while the database is away for a moment waits for it."""
    async with opened(database) as (bench, writer):
        recorder = bench.recorder(writer)
        record(recorder, 1)
        bench.cut()
        recorder.stop()
        running = asyncio.create_task(recorder.run())
        await bench.refused.wait()
        bench.is_cut_off = False
        await running
        assert await bench.counts() == [1]


async def test_the_first_use_after_a_rotation_is_told_once(database: Database) -> None:
    """However often the new secret of a rotated token is seen before a flush, its rotation is completed once."""
    async with opened(database) as (bench, writer):
        recorder = bench.recorder(writer)
        for _ in range(3):
            recorder.record(credential(completes=True), None)
        await recorder.flush()
        await recorder.flush()
        assert bench.completed == ["tok_1"]
        assert await bench.counts() == [3]
