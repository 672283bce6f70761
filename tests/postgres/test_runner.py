"""Following the log: each event is folded once, whoever runs, dies or fails."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import asyncpg
import pytest
import structlog

from events.entry import RecordedEvent
from events.envelope import Position
from events.log import read_head
from events.statement import Pool
from events.token_kinds import TokenKind
from events.tokens import TokenCreated
from events.usage import TokenUsed
from projections.last_used import TOKEN_LAST_USED, LastUsed
from projections.projection import Foldable
from projections.runner import CatchUp, advance_once
from tests.postgres.conftest import START, Database, History

CREATED = TokenCreated(
    token_id="tok_1",
    kind=TokenKind.API_TOKEN,
    name="one",
    hint="aB3d…x9Zk",
    scopes=(),
    expires_at=None,
    application_id=None,
)
USED = TokenUsed(
    token_id="tok_1", generation=0, hint="h", count=1, first_used_at=START, last_used_at=START, ip_addresses=()
)
PATIENCE_S = 20
KILL = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where usename = current_user and datname = current_database() and pid <> pg_backend_pid()
"""


async def use_count(pool: Pool) -> int:
    """Read how often the token was used."""
    return int(await pool.fetchval("select sum(use_count) from token_last_used"))


async def use(history: History, times: int) -> None:
    """Append that many uses of the token."""
    async with asyncio.TaskGroup() as tasks:
        for _ in range(times):
            tasks.create_task(history.used(USED))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds, looking again whenever other tasks have run."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 -- the database is asked, and it signals nothing
            await asyncio.sleep(0)


async def test_two_runners_never_count_twice(database: Database) -> None:
    """While uses are appended, two processes follow the same log and each use is counted once."""
    async with database.pool() as one, database.pool() as two, database.history() as history:
        await history.token(CREATED)
        async with CatchUp(one, poll_s=0.01, batch=3) as first, CatchUp(two, poll_s=0.01, batch=3) as second:
            for _ in range(10):
                await use(history, 20)
                first.wake()
                second.wake()
            assert await first.wait_for("token_last_used", await read_head(one), timeout_s=PATIENCE_S)
        assert await use_count(one) == 200


async def test_a_crash_between_rows_and_checkpoint_loses_both(database: Database) -> None:
    """A worker cut off after it wrote its rows has written nothing, and the next one folds the batch again."""
    async with database.pool() as pool, database.history() as history, database.owner() as owner:
        await history.token(CREATED)
        await use(history, 5)
        await owner.execute("alter table read_models add constraint crash check (position <= 0) not valid")
        with pytest.raises(Exception, match="crash"):
            await advance_once(pool, TOKEN_LAST_USED, batch=100)
        assert await pool.fetchval("select count(*) from token_last_used") == 0
        await owner.execute("alter table read_models drop constraint crash")
        await advance_once(pool, TOKEN_LAST_USED, batch=100)
        assert await use_count(pool) == 5


async def test_a_worker_leaves_a_leased_read_model_alone(database: Database) -> None:
    """Whoever finds the checkpoint's row locked does not wait for it."""
    async with database.pool() as pool, database.history() as history, database.owner() as owner:
        await history.token(CREATED)
        async with owner.transaction():
            await owner.execute("select from read_models where name = 'token_last_used' for update")
            assert await advance_once(pool, TOKEN_LAST_USED, batch=100) is None
        assert await advance_once(pool, TOKEN_LAST_USED, batch=100) is not None


async def test_a_wake_up_does_not_wait_for_the_poll(database: Database) -> None:
    """A signal within the process brings the read model up to date though the next poll is an hour away."""
    async with database.pool() as pool, database.history() as history, CatchUp(pool, poll_s=3600) as catch_up:
        await history.token(CREATED)
        await use(history, 1)
        assert await catch_up.wait_for("token_last_used", await read_head(pool), timeout_s=PATIENCE_S)
        assert await use_count(pool) == 1


async def test_without_a_wake_up_the_poll_finds_events(database: Database) -> None:
    """Events of other processes are found without a signal."""
    async with database.pool() as pool, database.history() as history, CatchUp(pool, poll_s=0.01) as catch_up:
        await history.token(CREATED)

        async def is_caught_up() -> bool:
            return (await catch_up.lag())["token_last_used"] == 0

        await until(is_caught_up)
        assert await catch_up.position("token_last_used") == await catch_up.position("tokens") == 1


async def test_waiting_ends_when_the_time_is_up(database: Database) -> None:
    """A position that is not reached answers False instead of hanging."""
    async with database.pool() as pool, CatchUp(pool, poll_s=0.01) as catch_up:
        assert not await catch_up.wait_for("token_last_used", Position(5), timeout_s=0.05)


async def test_lost_connections_are_replaced(database: Database) -> None:
    """When the database ends every connection, following goes on with new ones."""
    async with (
        database.owner() as owner,
        database.pool() as pool,
        database.history() as history,
        CatchUp(pool, poll_s=0.01) as catch_up,
    ):
        await history.token(CREATED)
        assert await catch_up.wait_for("token_last_used", Position(1), timeout_s=PATIENCE_S)
        killer = await asyncpg.connect(database.service_dsn)
        await killer.execute(KILL)
        await killer.close()
        await history.used(USED)

        async def is_counted() -> bool:
            return bool(await owner.fetchval("select use_count = 1 from token_last_used"))

        await until(is_counted)


async def test_a_failing_event_stops_its_read_model_only(database: Database) -> None:
    """The read model stops just before it, names it once with its whole entry, and goes on when it is mended."""
    failing = True

    def evolve(state: LastUsed | None, recorded: Foldable) -> LastUsed:
        if failing and isinstance(recorded, RecordedEvent) and recorded.position == 3:
            raise ValueError("out of order")
        return TOKEN_LAST_USED.evolve(state, recorded)

    fragile = replace(TOKEN_LAST_USED, evolve=evolve)
    async with database.pool() as pool, database.history() as history:
        await history.token(CREATED)
        await use(history, 3)
        with structlog.testing.capture_logs() as logs:
            async with CatchUp(pool, projections=(fragile,), poll_s=0.01) as catch_up:

                async def is_stopped() -> bool:
                    return catch_up.stopped_at == {"token_last_used": 3}

                await until(is_stopped)
                assert await catch_up.position("token_last_used") == 2
                assert await use_count(pool) == 1
                failing = False
                assert await catch_up.wait_for("token_last_used", Position(4), timeout_s=PATIENCE_S)
        assert await use_count(pool) == 3
    errors = [log for log in logs if log["log_level"] == "error"]
    assert [(log["read_model"], log["position"]) for log in errors] == [("token_last_used", 3)]
    assert '"type":"TokenUsed"' in errors[0]["entry"]
