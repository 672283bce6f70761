"""Reading credentials from a real database: many callers at a time, none answered from before their own request."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from hashlib import sha256
from operator import attrgetter

import pytest

from events.statement import Connection
from events.token_kinds import TokenKind
from events.tokens import TokenCreated
from service.credential_reader import (
    CONNECTIONS,
    LIMIT_S,
    MOST_AT_ONCE,
    MOST_WAITING,
    CredentialReader,
    Found,
    ReadingUnavailableError,
)
from tests.postgres.conftest import Database
from tests.postgres.nodes import change, observer, until, until_answered

READS = "from pg_stat_activity where datname = current_database() and application_name = 'reader'"
BLOCKED = f"select count(*) = $1 {READS} and wait_event_type = 'Lock'"
ANSWERED = f"select count(*) = $1 {READS} and state = 'idle' and query_start > $2"
TERMINATE = f"select pg_terminate_backend(pid) {READS}"
LOCK = "lock table vault_secrets in access exclusive mode"
SOON_S = LIMIT_S + 1.0


def prefix(token_id: str) -> bytes:
    """Make the first bytes of a token's digest."""
    return sha256(token_id.encode()).digest()[:16]


class Reading:
    """A reader of a database, and its connections."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.connections: list[Connection] = []
        self.reader = CredentialReader(self._connect, time.monotonic)

    async def _connect(self, **session: str) -> Connection:
        connection = await self.database.connect(application_name="reader", **session)
        self.connections.append(connection)
        return connection

    async def ask(self, *token_ids: str) -> Found:
        """Look a secret up, by its digest under one pepper or more, and check that it was looked up after this."""
        came_s = time.monotonic()
        found = await self.reader.find([prefix(token_id) for token_id in token_ids])
        assert found.sent_s >= came_s
        return found

    async def warm_up(self) -> None:
        """Use every connection once, so that a look-up is one message there and one back."""
        before = self.reader.reads
        await until(lambda: self.reader._connected == CONNECTIONS)
        await asyncio.gather(*(self.ask("tok_1") for _ in range(MOST_AT_ONCE + 1)))
        assert self.reader.reads == before + CONNECTIONS


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[Reading]:
    """Read credentials of two tokens, each with one secret."""
    running = Reading(database)
    async with database.history() as history, database.owner() as owner:
        for token_id in ("tok_1", "tok_2"):
            await history.token(
                TokenCreated(
                    token_id=token_id,
                    kind=TokenKind.API_TOKEN,
                    name="a token",
                    hint="aB3d…x9Zk",
                    scopes=("a:read",),
                    expires_at=None,
                    application_id=None,
                )
            )
            await owner.execute(
                "insert into vault_secrets values ($1, 0, 'org_1', $2, 'p1', '$argon2id$none')",
                token_id,
                prefix(token_id),
            )
        async with running.reader:
            await running.warm_up()
            yield running


@asynccontextmanager
async def hung(database: Database) -> AsyncIterator[Connection]:
    """Keep the database from answering any look-up; gives a connection that sees who waits."""
    async with observer(database) as connection, database.owner() as owner, owner.transaction():
        await owner.execute(LOCK)
        yield connection


@contextmanager
def answers_held_back(running: Reading) -> Iterator[None]:
    """Let the database answer look-ups and the answers arrive only afterwards, as over a slow network."""
    with ExitStack() as stack:
        for connection in running.connections:
            transport = connection._transport  # type: ignore[attr-defined]  # the driver's own
            transport.pause_reading()
            stack.callback(transport.resume_reading)
        yield


async def revoke(database: Database) -> None:
    """Revoke the first token."""
    async with database.owner() as owner:
        await owner.execute("update tokens_v2 set revoked_at = now() where id = 'tok_1'")


def is_revoked(found: Found) -> bool:
    """Say what was found."""
    assert found.row is not None
    return found.row["revoked_at"] is not None


async def test_known_and_unknown_keys_are_read_together(database: Database) -> None:
    """Each of several callers gets their own row or none, as of the same epoch, by one statement."""
    async with reading(database) as running, database.history() as history:
        await history.writer.append(change("tok_other"))
        before = running.reader.reads
        asked = (["tok_1"], ["tok_unknown"], ["tok_unknown", "tok_2"], ["tok_2"], ["tok_another", "tok_unknown"])
        found = await asyncio.gather(*(running.ask(*token_ids) for token_ids in asked))
        assert running.reader.reads == before + 1
    assert [one.row and (one.row["id"], one.row["asked"]) for one in found] == [
        ("tok_1", prefix("tok_1")),
        None,
        ("tok_2", prefix("tok_2")),
        ("tok_2", prefix("tok_2")),
        None,
    ]
    assert {one.epoch for one in found} == {1}


async def test_a_flood_costs_few_statements(database: Database) -> None:
    """As many as may wait are answered by a statement for each large group of them, and one more is turned away."""
    async with reading(database) as running:
        before = running.reader.reads
        asked = (running.ask("tok_1" if number % 2 else f"tok_{number}") for number in range(MOST_WAITING + 1))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert running.reader.reads == before + -(-MOST_WAITING // MOST_AT_ONCE)
        assert [type(answer) for answer in answers] == [Found] * MOST_WAITING + [ReadingUnavailableError]
        assert str(answers[-1]) == "too many keys wait to be looked up"
        assert (await running.ask("tok_1")).row is not None


@pytest.mark.parametrize("held_up", range(1, CONNECTIONS + 1))
async def test_nobody_is_answered_from_before_they_came(database: Database, held_up: int) -> None:
    """Whoever asks after a revocation sees it, though the answer to who asked before it is still on its way."""
    async with reading(database) as running, observer(database) as connection:
        now = await connection.fetchval("select clock_timestamp()")
        with answers_held_back(running):
            before = []
            for number in range(1, held_up + 1):
                before.append(asyncio.create_task(running.ask("tok_1")))
                await until_answered(connection, ANSWERED, number, now)
            await revoke(database)
            after = asyncio.create_task(running.ask("tok_1"))
            await asyncio.sleep(0)  # its turn to ask
        assert [is_revoked(await task) for task in before] == [False] * held_up
        assert is_revoked(await after)


async def test_a_look_up_that_hangs_is_not_joined(database: Database) -> None:
    """A statement that was sent answers those it was sent for alone, even if it reads what is there later."""
    async with reading(database) as running:
        async with hung(database) as connection:
            before = running.reader.reads
            first = asyncio.create_task(running.ask("tok_1"))
            await until_answered(connection, BLOCKED, 1)
            await revoke(database)
            others = [asyncio.create_task(running.ask("tok_1")) for _ in range(5)]
            await until_answered(connection, BLOCKED, 2)
        found = await asyncio.gather(first, *others)
        assert [is_revoked(one) for one in found] == [True] * 6
        assert len({*map(attrgetter("sent_s"), found)}) == running.reader.reads - before == 2


async def test_lost_connections_lose_no_question(database: Database) -> None:
    """Who waits when the connections end is answered over the next ones."""
    async with reading(database) as running, database.pool() as pool:
        async with hung(database) as connection:
            tasks = [asyncio.create_task(running.ask("tok_1"))]
            await until_answered(connection, BLOCKED, 1)
            tasks += [asyncio.create_task(running.ask(token_id)) for token_id in ("tok_2", "tok_unknown")]
            await until_answered(connection, BLOCKED, 2)
            await pool.execute(TERMINATE)
        found = await asyncio.gather(*tasks)
        assert [one.row and one.row["id"] for one in found] == ["tok_1", "tok_2", None]
        assert len(running.connections) > CONNECTIONS


async def test_without_a_database_callers_are_told_at_once(database: Database) -> None:
    """No caller waits for a database that cannot be reached, and they are answered when it is back."""
    async with reading(database) as running, database.owner() as owner, database.pool() as pool:
        name = await owner.fetchval("select current_database()")
        await owner.execute(f"alter database {name} connection limit 0")
        await pool.execute(TERMINATE)
        await until(lambda: running.reader._connected == 0)
        for _ in range(3):
            with pytest.raises(ReadingUnavailableError, match="cannot be reached"):
                await running.ask("tok_1")
        await owner.execute(f"alter database {name} connection limit -1")
        await until(lambda: running.reader._connected > 0)
        assert (await running.ask("tok_1")).row is not None


async def test_a_database_that_hangs_is_not_waited_for(database: Database) -> None:
    """Callers are told within their limit; afterwards nothing of it is left."""
    async with reading(database) as running:
        async with hung(database):
            began_s = time.monotonic()
            answers = await asyncio.gather(*(running.ask("tok_1") for _ in range(200)), return_exceptions=True)
            assert {str(answer) for answer in answers} == {"the database did not answer in time"}
            assert LIMIT_S <= time.monotonic() - began_s < SOON_S
        async with asyncio.timeout(SOON_S):
            await until(lambda: running.reader._connected == CONNECTIONS)
            assert (await running.ask("tok_1")).row is not None
        assert len(running.reader._waiting) == 0


async def test_the_end_is_told(database: Database) -> None:
    """Who waits when the process stops does not wait for ever, be it sent or not."""
    async with reading(database) as running, hung(database) as connection:
        tasks = []
        for number in range(1, CONNECTIONS + 1):
            tasks.append(asyncio.create_task(running.ask("tok_1")))
            await until_answered(connection, BLOCKED, number)
        tasks.append(asyncio.create_task(running.ask("tok_2")))
        await asyncio.sleep(0)  # its turn to ask
        await running.reader.__aexit__()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {str(answer) for answer in answers} == {"the database cannot be reached"}


async def test_a_caller_who_goes_away_harms_nobody(database: Database) -> None:
    """Who shares a statement with somebody who gives up is answered, and the connection is kept."""
    async with reading(database) as running:
        async with hung(database) as connection:
            tasks = [asyncio.create_task(running.ask(token_id)) for token_id in ("tok_1", "tok_2")]
            await until_answered(connection, BLOCKED, 1)
            tasks[0].cancel()
        found = await tasks[1]
        assert found.row is not None
        assert found.row["id"] == "tok_2"
        assert len(running.connections) == CONNECTIONS
