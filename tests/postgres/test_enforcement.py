"""Restrictions against a real database: who is waited for, for how long, and what of it is written down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise

import asyncpg
import pytest

from events.batch import Appended, VersionConflict
from events.statement import Connection
from events.writer import LogWriter
from service import enforcement
from service.barrier import Fence
from service.enforcement import NotEnforcedError, find_all_revoking, find_revoking
from tests.postgres.appends import decided
from tests.postgres.conftest import Database
from tests.postgres.nodes import UNHURRIED_S, Process, change, incarnations, process, until, until_answered

SHORTEST_MS = 500
LONGEST_MS = 30_000
SHORT_S = 1.0
SHORT_MS = 1000
TERMINATE = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = $1
"""
IN_COMMIT_ORDER = """
    select l.position, i.position as log_position from revocation_log l join event_index i using (event_id)
    order by l.position
"""


@asynccontextmanager
async def silent(connection: Connection, lease_ms: int = SHORTEST_MS) -> AsyncIterator[None]:
    """Register a process that never answers, as one that was stopped."""
    await connection.execute("insert into auth_node values ('silent', 'silent', $1, 0, 0)", lease_ms)
    yield
    await connection.execute("delete from auth_node where incarnation = 'silent'")


@asynccontextmanager
async def enforcing(database: Database) -> AsyncIterator[Process]:
    """Run an enforcer alone, whose process verifies nothing."""
    running = Process(database, "a", SHORT_S)
    async with running.enforcer:
        yield running


async def under_way(one: Process, subject: str) -> asyncio.Task[Fence | None]:
    """Begin to enforce a restriction; its barrier is there."""
    task = asyncio.create_task(one.enforcer.enforce(subject))
    await until(lambda: bool(one.enforcer._open) or task.done())
    assert not task.done()
    return task


async def test_nothing_restricted_is_nothing_to_wait_for(database: Database) -> None:
    """A token that was never changed, or was only given more, is waited for by nobody."""
    async with database.owner() as owner, process(database, "a") as a, database.history() as history, silent(owner):
        await history.writer.append(change("tok_1", restricting=False))
        assert [await a.enforcer.enforce(subject) for subject in ("tok_1", "tok_2")] == [None, None]
        assert await owner.fetchval("select count(*) from revocation_log where fenced_at is not null") == 0


async def test_a_fence_is_written_down(database: Database) -> None:
    """Whoever asks later is told what the first was told, at once, and of several restrictions the last one's."""
    async with (
        database.owner() as owner,
        process(database, "a") as a,
        process(database, "b") as b,
        database.history() as history,
        database.pool() as pool,
    ):
        for number in range(2):
            await history.writer.append(change(f"tok_{number}"))
        assert set(await find_all_revoking(pool)) == {"tok_0", "tok_1"}
        fences = await asyncio.gather(*(one.enforcer.enforce("tok_1") for one in (a, b)))
        assert await find_revoking(pool, ["tok_0", "tok_1", "tok_2"]) == {"tok_0"}
        first = await a.enforcer.enforce("tok_1")
        assert first in fences
        async with silent(owner, LONGEST_MS):
            assert await b.enforcer.enforce("tok_1") == first
        assert first is not None
        assert (first.processes, first.acknowledged, first.waited_out) == (2, 2, 0)


async def test_a_silent_process_is_waited_out_and_evicted(database: Database) -> None:
    """Its lease has ended when the answer is given; the next restriction does not wait for it."""
    async with (
        database.owner() as owner,
        process(database, "a", lease_s=SHORT_S) as a,
        database.history() as history,
        silent(owner, SHORT_MS),
    ):
        fences = []
        for number in range(2):
            await history.writer.append(change(f"tok_{number}"))
            fences.append(await a.enforcer.enforce(f"tok_{number}"))
            assert await incarnations(owner) == {"a": a.node.incarnation}
    first, second = fences
    assert first is not None
    assert second is not None
    assert (first.processes, first.acknowledged, first.waited_out) == (2, 1, 1)
    assert first.took_ms >= SHORT_MS
    assert (second.processes, second.acknowledged, second.waited_out) == (1, 1, 0)
    assert second.took_ms < SHORT_MS


async def test_a_process_cut_off_accepts_nothing_when_it_is_answered_for(database: Database) -> None:
    """It is waited out while it still accepts; when it is back it is another, which remembers nothing."""
    async with (
        database.owner() as owner,
        process(database, "a", lease_s=SHORT_S) as a,
        process(database, "b", lease_s=SHORT_S) as b,
        database.history() as history,
    ):
        b.remember("tok_1", "tok_2")
        incarnation = b.node.incarnation
        b.cut_off()
        await history.writer.append(change("tok_1"))
        task = await under_way(a, "tok_1")
        assert b.accepts("tok_1") == ["tok_1"]
        fence = await task
        assert b.accepts("tok_1", "tok_2") == []
        assert fence is not None
        assert (fence.processes, fence.acknowledged, fence.waited_out) == (2, 1, 1)
        b.reconnect()
        await until(lambda: b.node.holds_lease)
        assert b.node.incarnation != incarnation
        assert len(b.cache) == 0
        assert await incarnations(owner) == {"a": a.node.incarnation, "b": b.node.incarnation}


async def test_who_renewed_meanwhile_is_not_evicted(database: Database) -> None:
    """The row of a process that came back after it was counted is not the row that was waited for."""
    async with database.owner() as owner, enforcing(database) as a, database.history() as history, silent(owner):
        await history.writer.append(change("tok_1"))
        task = await under_way(a, "tok_1")
        await owner.execute("update auth_node set renewals = renewals + 1")
        fence = await task
        assert fence is not None
        assert (fence.processes, fence.acknowledged, fence.waited_out) == (1, 0, 1)
        assert fence.took_ms >= SHORTEST_MS
        assert await incarnations(owner) == {"silent": "silent"}


@pytest.mark.parametrize(
    ("said", "acknowledged"),
    [("delete from auth_node where incarnation = 'silent'", 1), ("update auth_node set applied = 1", 2)],
)
async def test_the_registry_says_what_no_message_did(database: Database, said: str, acknowledged: int) -> None:
    """Who has left, or renewed with the change applied, is waited for no longer."""
    async with (
        database.owner() as owner,
        process(database, "a") as a,
        database.history() as history,
        silent(owner, LONGEST_MS),
    ):
        await history.writer.append(change("tok_1"))
        task = await under_way(a, "tok_1")
        await owner.execute(said)
        fence = await task
    assert fence is not None
    assert (fence.processes, fence.acknowledged, fence.waited_out) == (2, acknowledged, 2 - acknowledged)


@pytest.mark.parametrize("part", ["lease", "acknowledgements", "enforcer"])
async def test_a_connection_that_is_killed_costs_nothing(database: Database, part: str) -> None:
    """A barrier under way ends, and what is restricted next is forgotten and acknowledged by everybody."""
    async with (
        database.owner() as owner,
        database.pool() as pool,
        process(database, "a", lease_s=SHORT_S) as a,
        process(database, "b", lease_s=SHORT_S) as b,
        database.history() as history,
    ):
        for one in (a, b):
            one.remember("tok_1", "tok_2", "tok_3")
        async with silent(owner):
            await history.writer.append(change("tok_1"))
            task = await under_way(a, "tok_1")
            killed = {one: one.connections[part] for one in (a, b)}
            for one in (a, b):
                await pool.execute(TERMINATE, f"{one.name}-{part}")
            await history.writer.append(change("tok_2"))
            fences = [await task]
        fences.append(await b.enforcer.enforce("tok_2"))
        assert [one.accepts("tok_1", "tok_2", "tok_3") for one in (a, b)] == [["tok_3"], ["tok_3"]]
        await until(lambda: all(one.connections[part] is not killed[one] for one in (a, b)))
        await until(lambda: a.node.holds_lease and b.node.holds_lease)
    assert [fence and (fence.processes, fence.acknowledged, fence.waited_out) for fence in fences] == [
        (3, 2, 1),
        (2, 2, 0),
    ]


async def test_a_caller_who_goes_away_takes_nothing_along(database: Database) -> None:
    """What nobody waits for any more is fenced all the same."""
    async with database.owner() as owner, enforcing(database) as a, database.history() as history, silent(owner):
        await history.writer.append(change("tok_1"))
        task = await under_way(a, "tok_1")
        task.cancel()
        await until_answered(owner, "select fence ->> 'waited_out' = '1' from revocation_log")
        await until(lambda: a.enforcer.waiting == 0)
        assert await incarnations(owner) == {}


async def test_without_a_database_the_answer_is_unknown(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends while nothing can be known; asked again with the database back, the restriction is enforced."""
    monkeypatch.setattr(enforcement, "PATIENCE_S", 0.1)
    async with process(database, "a") as a, database.history() as history:
        await history.writer.append(change("tok_1"))
        await until(lambda: a.node.applied == 1)
        a.cut_off()
        a.reconnect()
        async with database.owner() as owner:
            name = await owner.fetchval("select current_database()")
            await owner.execute(f"alter database {name} connection limit 0")
            with pytest.raises(NotEnforcedError, match="repeat it"):
                await a.enforcer.enforce("tok_1")
            await owner.execute(f"alter database {name} connection limit -1")
        await until(lambda: not a.connections["enforcer"].is_closed())
        fence = await a.enforcer.enforce("tok_1")
    assert fence is not None
    assert (fence.acknowledged, fence.waited_out) == (1, 0)


async def test_a_process_that_stops_leaves_its_restrictions_to_others(database: Database) -> None:
    """Whoever waits is told that it is not known, and any other process finishes what was left, if it is old enough."""
    async with database.owner() as owner, database.history() as history:
        async with process(database, "a") as a, silent(owner, LONGEST_MS):
            await history.writer.append(change("tok_1"))
            task = await under_way(a, "tok_1")
            await history.writer.append(change("tok_2"))
            await a.enforcer.__aexit__()
            with pytest.raises(NotEnforcedError):
                await task
        await owner.execute(
            "update revocation_log set committed_at = committed_at - $1::interval where subject = 'tok_1'",
            enforcement.ORPHANED_AFTER,
        )
        async with process(database, "b") as b:
            assert await b.enforcer.enforce("tok_other") is None  # whatever it is asked, it looks at what was left
            await until_answered(owner, "select fenced_at is not null from revocation_log where subject = 'tok_1'")
        assert await owner.fetchval("select array_agg(subject) from revocation_log where fenced_at is null") == [
            "tok_2"
        ]


async def test_old_changes_are_forgotten(database: Database) -> None:
    """Changes go when every process has long applied them, but for those that are not fenced."""
    async with database.owner() as owner, database.history() as history:
        for number in range(4):
            await history.writer.append(change(f"tok_{number}", restricting=number != 1))
        await owner.execute(
            "update revocation_log set committed_at = committed_at - $1::interval where position < 4",
            enforcement.REMEMBERED_FOR + timedelta(minutes=1),
        )
        await owner.execute("update revocation_log set fenced_at = now(), fence = '{}' where position = 1")
        async with silent(owner, LONGEST_MS), process(database, "a") as a:
            assert await a.enforcer.enforce("tok_other") is None
            await until_answered(
                owner, "select array_agg(subject order by position) = '{tok_2,tok_3}' from revocation_log"
            )
        assert await owner.fetchval("select n from auth_epoch") == 4


async def test_changes_have_positions_in_the_order_of_the_log(database: Database) -> None:
    """Under two writers at once, they are gapless, committed in order, and the epoch is the last of them."""
    watched: list[bool] = []
    async with (
        database.history() as one,
        database.history() as other,
        database.owner() as owner,
    ):
        appends = [one.writer.append(change(f"tok_one_{number}")) for number in range(60)]
        appends += [other.writer.append(change(f"tok_other_{number}", restricting=False)) for number in range(60)]
        appends += [writer.append(decided(f"tok_{number}")) for number, writer in enumerate([one.writer, other.writer])]
        appending = asyncio.gather(*appends)
        while not appending.done():
            watched.append(
                await owner.fetchval(
                    "select n = (select count(*) from revocation_log)"
                    " and n = (select coalesce(max(position), 0) from revocation_log) from auth_epoch"
                )
            )
        rows = await owner.fetch(IN_COMMIT_ORDER)
        assert await owner.fetchval("select n from auth_epoch") == 120
    assert all(watched)
    assert [row["position"] for row in rows] == list(range(1, 121))
    assert all(one["log_position"] < next_one["log_position"] for one, next_one in pairwise(rows))


async def test_a_batch_says_once_what_it_changed(database: Database) -> None:
    """One message names the tokens that a batch changed; a batch that lost, or changed nothing, says nothing."""
    payloads: list[str] = []

    async def append_together(writer: LogWriter, *tokens: str) -> list[type]:
        outcomes = await asyncio.gather(*(writer.append(change(token)) for token in tokens))
        return [type(outcome) for outcome in outcomes]

    async with database.history() as history, database.owner() as owner:
        await owner.add_listener("auth_inv", lambda *heard: payloads.append(str(heard[3])))
        assert await append_together(history.writer, "tok_1", "tok_2", "tok_3") == [Appended] * 3
        mixed = await append_together(history.writer, "tok_4", "tok_2", "tok_5")
        assert mixed == [Appended, VersionConflict, Appended]
        assert await append_together(history.writer, "tok_1", "tok_4") == [VersionConflict] * 2
        assert await append_together(history.writer, "tok_5") == [VersionConflict]
        await history.writer.append(decided("tok_6"))
        assert await append_together(history.writer, "tok_7") == [Appended]
        await until(lambda: len(payloads) == 3)
    assert payloads == ["1:3:tok_1,tok_2,tok_3", "4:5:tok_4,tok_5", "6:6:tok_7"]


@pytest.mark.parametrize(
    "statement",
    [
        "update auth_epoch set n = n",
        "insert into auth_epoch values (true, 1)",
        "delete from auth_epoch",
        "insert into revocation_log (position, subject, event_id, restricting) values (9, 'tok_1', 'evt_1', true)",
        "update revocation_log set restricting = false",
        "update revocation_log set subject = 'tok_2'",
        "update revocation_log set position = 9",
        "update revocation_log set committed_at = committed_at",
        "truncate revocation_log",
        "select write_revocations('[]')",
        """select append_companion('revocations', '[]')""",
    ],
)
async def test_only_an_append_logs_a_change(database: Database, statement: str) -> None:
    """The service's own role can neither make a change up nor make it another."""
    connection = await database.connect()
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_long_lease_that_has_acknowledged_prolongs_nothing(database: Database) -> None:
    """Of those who never answered the longest lease is waited for, not that of a process that has answered."""
    async with process(database, "a") as a, database.owner() as owner, database.history() as history:
        await owner.execute("insert into auth_node values ('silent', 'silent', $1, 0, 0)", SHORTEST_MS)
        await history.writer.append(change("tok_1"))
        async with asyncio.timeout(UNHURRIED_S / 3):
            fence = await a.enforcer.enforce("tok_1")
        assert fence is not None
        assert (fence.acknowledged, fence.waited_out) == (1, 1)
