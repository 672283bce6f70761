"""The one reader of a process: what it brings, and what becomes of it when a message or its connection is lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import structlog

from events.entry import RecordedEvent
from events.statement import Connection
from events.writer import LogWriter
from service.growth import Growth
from service.tail import POLL_S, HistoryLostError, Tail
from tests.postgres.appends import decided, observed
from tests.postgres.conftest import Database, Server
from tests.postgres.nodes import until

PATIENCE_S = 10.0
LONGEST_SILENCE_S = 2.0 + 1.0
"""Until it is noticed, and the time to connect anew on a machine that is busy."""
SHORTEN = (
    "set session_replication_role = replica",
    "delete from events where position > 1",
    "update log_head set position = 1",
)


class Taken:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.errors: list[Exception] = []
        self.came = asyncio.Event()

    def take(self, events: Sequence[RecordedEvent]) -> None:
        """Keep the positions."""
        self.positions += [event.organization_position for event in events]
        self.came.set()

    def lose(self, error: Exception) -> None:
        """Keep why it ended."""
        self.errors.append(error)
        self.came.set()

    async def until(self, count: int) -> list[int]:
        """Wait for that many events, or an end."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.positions) < count and not self.errors:
                self.came.clear()
                await self.came.wait()
        return self.positions


class Connections:
    """Connects the tail, and knows its connections."""

    def __init__(self, database: Database) -> None:
        self.made: list[Connection] = []
        self._database = database

    async def connect(self, **session: str) -> Connection:
        """Connect."""
        self.made.append(await self._database.connect(**session))
        return self.made[-1]


@asynccontextmanager
async def following(database: Database) -> AsyncIterator[tuple[Tail, Connections, Taken]]:
    """Follow org_1, from now on."""
    connections, taken = Connections(database), Taken()
    async with Tail(connections.connect) as tail:
        tail.listen("org_1", taken)
        await tail.placed()
        yield tail, connections, taken


@asynccontextmanager
async def another_process(database: Database, *, tells: bool) -> AsyncIterator[LogWriter]:
    """Append as another process does, and tell that the log has grown or not."""
    async with Growth(database.connect) as growth:
        on_growth = growth.log_grew if tells else lambda: None
        async with LogWriter(lambda: asyncpg.connect(database.service_dsn), on_growth=on_growth) as writer:
            yield writer


async def test_what_another_process_appends_comes_when_it_tells(database: Database) -> None:
    """A notification brings an event well before the poll would, and other organizations' events are not told."""
    async with following(database) as (_, _, taken), another_process(database, tells=True) as writer:
        await writer.append(decided("tok_0", organization="org_2"))
        for number in range(1, 4):
            began = asyncio.get_running_loop().time()
            await writer.append(decided(f"tok_{number}"))
            await taken.until(number)
            if asyncio.get_running_loop().time() - began < POLL_S / 2:
                break
        else:
            raise AssertionError("nothing came before the poll")
        assert taken.positions == list(range(1, number + 1))


async def test_a_message_that_is_lost_costs_a_poll(database: Database) -> None:
    """Whoever is told nothing reads all the same, in order and once, over more than one page."""
    async with following(database) as (_, _, taken), another_process(database, tells=False) as writer:
        await asyncio.gather(*(writer.append(observed(f"tok_{number}", events=50)) for number in range(50)))
        assert await taken.until(2500) == list(range(1, 2501))


async def test_a_connection_that_is_lost_costs_no_event(database: Database) -> None:
    """The reading goes on where it was, over another connection."""
    with structlog.testing.capture_logs() as lines:
        async with following(database) as (_, connections, taken), another_process(database, tells=True) as writer:
            for number in range(20):
                await writer.append(decided(f"tok_{number}"))
                if number % 5 == 0:
                    connections.made[-1].terminate()
            assert await taken.until(20) == list(range(1, 21))
            assert len(connections.made) > 1
    assert {line["event"] for line in lines} <= {"tail_interrupted"}


async def test_a_connection_that_says_nothing_is_given_up_within_two_seconds(database: Database) -> None:
    """A server process that hangs, with its connection open, costs the time until that is noticed, and no event."""
    with structlog.testing.capture_logs() as lines:
        async with following(database) as (_, connections, taken), another_process(database, tells=True) as writer:
            backend = connections.made[-1].get_server_pid()
            os.kill(backend, signal.SIGSTOP)
            try:
                began = asyncio.get_running_loop().time()
                await writer.append(decided("tok_1"))
                assert await taken.until(1) == [1]
                assert asyncio.get_running_loop().time() - began < LONGEST_SILENCE_S
            finally:
                os.kill(backend, signal.SIGCONT)
    assert [line["event"] for line in lines] == ["tail_interrupted"]


async def test_nobody_who_listens_costs_nothing(database: Database) -> None:
    """Without listeners the connection is given up; the next one hears what comes from then on."""
    async with following(database) as (tail, connections, taken), another_process(database, tells=True) as writer:
        await writer.append(decided("tok_1"))
        await taken.until(1)
        tail.ignore("org_1", taken)
        await until(connections.made[-1].is_closed)
        await writer.append(decided("tok_2"))
        later = Taken()
        tail.listen("org_1", later)
        await tail.placed()
        await writer.append(decided("tok_3"))
        assert await later.until(1) == [3]
        assert taken.positions == [1]


async def test_a_log_that_lost_what_was_read_ends_who_listens(database: Database, server: Server) -> None:
    """After a failover to a server without the last events, nobody is told of others at their positions."""
    with structlog.testing.capture_logs() as lines:
        async with following(database) as (_, connections, taken), another_process(database, tells=True) as writer:
            for number in range(3):
                await writer.append(decided(f"tok_{number}"))
            await taken.until(3)
            name = database.owner_dsn.partition("@/")[2].partition("?")[0]
            superuser = await asyncpg.connect(server.superuser_dsn.format(name))
            for statement in SHORTEN:
                await superuser.execute(statement)
            await superuser.close()
            connections.made[-1].terminate()
            await taken.until(4)
            assert [type(error) for error in taken.errors] == [HistoryLostError]
    assert "log_is_shorter_than_read" in {line["event"] for line in lines}
