"""The writer when the database is slow, away or dying: nobody is told what is not so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest

from events.batch import Append, Appended
from events.envelope import Position
from events.log import follow_to_head, read_after
from events.statement import Connection, Pool
from events.writer import LogUnavailableError, LogWriter, OutcomeUnknownError
from tests.postgres.appends import LOG_LOCK, decided, ids, wait_for_lock
from tests.postgres.conftest import Database

PARTITION_SIZE = 10_000
TERMINATE = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'writer'
"""


async def connect(database: Database, **settings: str) -> Connection:
    """Connect as a writer does, under a name to be found by."""
    return await asyncpg.connect(database.service_dsn, server_settings={"application_name": "writer", **settings})


def writer_of(database: Database) -> LogWriter:
    """Make a writer that reconnects."""
    return LogWriter(lambda: connect(database), partition_size=PARTITION_SIZE)


@asynccontextmanager
async def locked(database: Database) -> AsyncIterator[Connection]:
    """Hold the log's lock, as another process that appends would, until the end of the block."""
    async with database.owner() as owner:
        await owner.execute("select pg_advisory_lock($1)", LOG_LOCK)
        yield owner


async def in_log(pool: Pool) -> list[str]:
    """List the ids of all events, and check that positions have no gap."""
    events = [event async for event in follow_to_head(pool, Position(0))]
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    assert [event.organization_position for event in events] == list(range(1, len(events) + 1))
    return [event.event_id for event in events]


async def test_a_deadline_tells_what_was_sent_from_what_was_not(database: Database) -> None:
    """What waits for the database may yet be carried out; what waits behind it was not, and is not later."""
    sent, queued = decided("tok_1"), decided("tok_2")
    async with writer_of(database) as writer, database.pool() as pool:
        async with locked(database) as owner:
            first = asyncio.create_task(writer.append(sent, deadline_s=0.2))
            await wait_for_lock(owner)
            with pytest.raises(LogUnavailableError, match="did not take the command in time"):
                await writer.append(queued, deadline_s=0.01)
            with pytest.raises(OutcomeUnknownError):
                await first
        assert isinstance(await writer.append(decided("tok_3")), Appended)
        assert set(ids([sent, queued])) & set(await in_log(pool)) == set(ids([sent]))


async def test_a_cancelled_caller_harms_nobody(database: Database) -> None:
    """Who gives up while its command is under way stops nothing; who gives up in the queue appends nothing."""
    sent, neighbour, queued, last = (decided(f"tok_{number}") for number in range(4))
    async with writer_of(database) as writer, database.pool() as pool:
        async with locked(database) as owner:
            under_way = [asyncio.create_task(writer.append(append)) for append in (sent, neighbour)]
            await wait_for_lock(owner)
            waiting = [asyncio.create_task(writer.append(append)) for append in (queued, last)]
            await asyncio.sleep(0)  # their turn
            under_way[0].cancel()
            waiting[0].cancel()
        outcomes = await asyncio.gather(*under_way, *waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [
            asyncio.CancelledError,
            Appended,
            asyncio.CancelledError,
            Appended,
        ]
        assert await in_log(pool) == ids([sent, neighbour, last])


async def test_a_batch_cut_off_is_sent_again(database: Database) -> None:
    """A connection that ends while a batch waits for the lock is replaced, and it and what waits behind it win once."""
    *appends, waiting = (decided(f"tok_{number}") for number in range(4))
    async with writer_of(database) as writer, database.pool() as pool:
        async with locked(database) as owner:
            tasks = [asyncio.create_task(writer.append(append)) for append in appends]
            await wait_for_lock(owner)
            queued = asyncio.create_task(writer.append(waiting))
            await asyncio.sleep(0)  # its turn
            await pool.execute(TERMINATE)
            await wait_for_lock(owner)
            assert not queued.done()
        assert all(isinstance(outcome, Appended) for outcome in await asyncio.gather(*tasks, queued))
        assert await in_log(pool) == ids([*appends, waiting])


async def test_what_waits_is_told_when_no_connection_is_left(database: Database) -> None:
    """When a batch is cut off and there is no other connection, what has not been sent is refused without waiting."""
    async with writer_of(database) as writer, database.pool() as pool:
        async with locked(database) as owner:
            sent = asyncio.create_task(writer.append(decided("tok_1")))
            await wait_for_lock(owner)
            queued = asyncio.create_task(writer.append(decided("tok_2")))
            await asyncio.sleep(0)  # its turn
            name = await owner.fetchval("select current_database()")
            await owner.execute(f"alter database {name} connection limit 0")
            await pool.execute(TERMINATE)
            with pytest.raises(LogUnavailableError, match="connection was lost"):
                await queued
            assert not sent.done()
            await owner.execute(f"alter database {name} connection limit -1")
        assert isinstance(await sent, Appended)


async def commands(writer: LogWriter, token: str, answers: dict[str, str], stop: asyncio.Event) -> None:
    """Append commands one after the other, and note how each was answered."""
    number = 0
    while not stop.is_set():
        append = decided(f"{token}_{number}")
        try:
            outcome = await writer.append(append)
        except LogUnavailableError:
            answers[append.events[0].event_id] = "not appended"
            await asyncio.sleep(0)  # others' turn
        else:
            assert isinstance(outcome, Appended)
            answers[append.events[0].event_id] = "appended"
        number += 1


async def test_what_is_acknowledged_is_there_once(database: Database) -> None:
    """While connections are killed under load, each answer is true: appended is once, not appended is never."""
    answers: dict[str, str] = {}
    stop = asyncio.Event()
    async with writer_of(database) as writer, database.pool() as pool, database.owner() as owner:
        async with asyncio.TaskGroup() as tasks:
            for number in range(8):
                tasks.create_task(commands(writer, f"tok_{number}", answers, stop))
                await owner.execute("select")  # so that some are queued while others are under way
            for _ in range(8):
                enough = sum(answer == "appended" for answer in answers.values()) + 40
                while sum(answer == "appended" for answer in answers.values()) < enough:
                    await owner.execute("select")
                await pool.execute(TERMINATE)
            stop.set()
        log = await in_log(pool)
    assert len(log) == len(set(log))
    assert set(log) == {event_id for event_id, answer in answers.items() if answer == "appended"}


async def attempt(writer: LogWriter, token: str) -> str:
    """Append with little patience; name the answer."""
    try:
        return type(await writer.append(decided(token), deadline_s=0.3)).__name__
    except (LogUnavailableError, OutcomeUnknownError) as error:
        return type(error).__name__


async def test_without_a_database_callers_are_told_at_once(database: Database) -> None:
    """When no connection can be made, what is queued is known not to be appended; then service resumes by itself."""
    async with writer_of(database) as writer, database.pool() as pool, database.owner() as owner:
        await writer.append(decided("tok_1"))
        name = await owner.fetchval("select current_database()")
        await owner.execute(f"alter database {name} connection limit 0")
        await pool.execute(TERMINATE)
        while await attempt(writer, "tok_2") != "LogUnavailableError":  # the first may meet the dying connection
            pass
        with pytest.raises(LogUnavailableError, match="cannot be reached: TooManyConnectionsError"):
            await writer.append(decided("tok_3"))
        await owner.execute(f"alter database {name} connection limit -1")
        assert isinstance(await writer.append(decided("tok_4")), Appended)
        assert len(await in_log(pool)) == 2


async def test_a_command_that_may_be_done_is_not_called_undone(database: Database) -> None:
    """A command refused when it is sent again is of unknown outcome: the first copy may have come through."""
    async with writer_of(database) as writer, database.pool() as pool:
        async with locked(database) as owner:
            refused = replace(decided("tok_1"), companions={"tokens": [{"id": "tok_1"}]})
            task = asyncio.create_task(writer.append(refused))
            await wait_for_lock(owner)
            await pool.execute(TERMINATE)
            await wait_for_lock(owner)
        with pytest.raises(OutcomeUnknownError, match="sent twice"):
            await task


async def test_a_primary_that_was_demoted_is_left(database: Database) -> None:
    """A server that takes no writes any more is left for whichever the address leads to next."""
    settings: list[dict[str, str]] = [{}, {"default_transaction_read_only": "on"}, {}]
    servers = iter(settings)
    async with (
        LogWriter(lambda: connect(database, **next(servers)), partition_size=PARTITION_SIZE) as writer,
        database.pool() as pool,
    ):
        await writer.append(decided("tok_1"))
        await pool.execute(TERMINATE)
        assert isinstance(await writer.append(decided("tok_2")), Appended)
        assert list(servers) == []
        assert len(await in_log(pool)) == 2


async def test_a_full_disk_is_not_a_defect(database: Database) -> None:
    """When the server has no room, callers are told that the log is unavailable, and that nothing was appended."""
    async with writer_of(database) as writer, database.pool() as pool, database.owner() as owner:
        await owner.execute(
            "create function no_room(rows json) returns void language plpgsql as"
            " $$ begin raise exception 'no room' using errcode = 'disk_full'; end $$"
        )
        await owner.execute("select register_append_hook('companion', 'large', 'no_room')")
        appends = [replace(decided(f"tok_{number}"), companions={"large": [{}]}) for number in range(2)]
        answers = await asyncio.gather(*(writer.append(append) for append in appends), return_exceptions=True)
        assert [type(answer) for answer in answers] == [LogUnavailableError, LogUnavailableError]
        assert await read_after(pool, Position(0), limit=1) == []


async def test_closing_commits_what_is_queued(database: Database) -> None:
    """A writer that stops takes nothing new, answers everybody, and then has no connection left."""
    appends: list[Append] = [decided(f"tok_{number}") for number in range(300)]
    async with database.pool() as pool, database.owner() as owner:
        async with writer_of(database) as writer:
            tasks = [asyncio.create_task(writer.append(append)) for append in appends]
            await asyncio.sleep(0)  # their turn
        assert all(isinstance(outcome, Appended) for outcome in await asyncio.gather(*tasks))
        with pytest.raises(LogUnavailableError, match="takes no more"):
            await writer.append(decided("tok_late"))
        assert await in_log(pool) == ids(appends)
        remaining = (
            "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'writer'"
        )
        async with asyncio.timeout(10):
            while await owner.fetchval(remaining):
                await owner.execute("select pg_stat_clear_snapshot()")
