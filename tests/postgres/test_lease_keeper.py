"""Processes in the registry of a real database: they follow what is committed, whatever their connections suffer."""

import asyncio

import asyncpg
import pytest

from service import lease_keeper
from tests.postgres.conftest import Database
from tests.postgres.nodes import (
    change,
    incarnations,
    observer,
    process,
    until,
    until_answered,
)

HURRIED_S = 2.0
MADE_UP = ("1:99999999999999999999:tok_x", "1:1000000:tok_x", "2:1:tok_x", "1:1:", "x")
SOONEST_RENEWAL_MS = 5000
LONG = 2000
LISTENS_AGAIN = """
    select state = 'idle' and query like '%listen auth_ack%' from pg_stat_activity
    where datname = current_database() and application_name = $1
"""


async def test_a_process_joins_renews_and_leaves(database: Database) -> None:
    """As long as it runs a process has one row, which it renews, and a lease; when it has left it has neither."""
    async with database.owner() as owner:
        async with process(database, "a", lease_s=HURRIED_S) as a, process(database, "b") as b:
            assert (a.node.holds_lease, b.node.holds_lease) == (True, True)
            assert await incarnations(owner) == {"a": a.node.incarnation, "b": b.node.incarnation}
            leases = await owner.fetchval("select array_agg(lease_ms order by node_name) from auth_node")
            assert leases == [2000, 30000]
            await until_answered(owner, "select renewals >= 3 from auth_node where node_name = 'a'")
            a.remember("tok_1")
        assert not a.node.holds_lease
        assert len(a.cache) == 0
        assert await incarnations(owner) == {}


async def test_a_change_is_heard_applied_and_acknowledged(database: Database) -> None:
    """What is committed is forgotten by every process, it alone, and each says so, long before a renewal."""
    async with process(database, "a") as a, process(database, "b") as b, database.history() as history:
        for one in (a, b):
            one.remember("tok_1", "tok_2", "tok_3")
        await history.writer.append(change("tok_1"))
        await history.writer.append(change("tok_2", restricting=False))
        fence = await a.enforcer.enforce("tok_1")
        await until(lambda: (a.node.applied, b.node.applied) == (2, 2))
        assert [one.accepts("tok_1", "tok_2", "tok_3") for one in (a, b)] == [["tok_3"], ["tok_3"]]
    assert fence is not None
    assert (fence.processes, fence.acknowledged, fence.waited_out) == (2, 2, 0)
    assert fence.took_ms < SOONEST_RENEWAL_MS


async def test_changes_too_many_for_a_message_reach_everybody(database: Database) -> None:
    """A message that cannot name its tokens names none, and every process renews at once."""
    async with (
        process(database, "a") as a,
        process(database, "b") as b,
        database.history() as history,
        database.owner() as owner,
    ):
        payloads: list[str] = []
        await owner.add_listener(lease_keeper.CHANGES, lambda *heard: payloads.append(str(heard[3])))
        subjects = [f"tok_{number}".ljust(LONG, "x") for number in range(5)]
        for one in (a, b):
            one.remember(*subjects, "tok_other")
        appends = [change(f"tok_{number}", subject=subject) for number, subject in enumerate(subjects)]
        await asyncio.gather(*(history.writer.append(append) for append in appends))
        fence = await b.enforcer.enforce(subjects[0])
        await until(lambda: (a.node.applied, b.node.applied) == (5, 5))
        assert [one.accepts(*subjects, "tok_other") for one in (a, b)] == [["tok_other"], ["tok_other"]]
        await until(lambda: bool(payloads))
    assert payloads == ["1:5:"]
    assert fence is not None
    assert (fence.acknowledged, fence.waited_out) == (2, 0)


async def test_a_subscription_that_was_lost_is_noticed(database: Database) -> None:
    """A renewal brings what was not heard, and sees to it that what follows is heard again."""
    async with process(database, "a") as a, database.history() as history, observer(database) as connection:
        a.remember("tok_1", "tok_2", "tok_3")
        await a.connections["lease"].execute("unlisten *")
        await history.writer.append(change("tok_1"))
        a.keeper._due.set()
        await until(lambda: a.accepts("tok_1", "tok_2", "tok_3") == ["tok_2", "tok_3"])
        await until_answered(connection, LISTENS_AGAIN, "a-lease")
        await history.writer.append(change("tok_2"))
        fence = await a.enforcer.enforce("tok_2")
        assert a.accepts("tok_1", "tok_2", "tok_3") == ["tok_3"]
    assert fence is not None
    assert fence.took_ms < SOONEST_RENEWAL_MS


async def test_without_a_connection_nothing_is_missed(database: Database) -> None:
    """What was committed while a process was cut off is in its first renewal, and nothing else is forgotten."""
    async with process(database, "a") as a, process(database, "b") as b, database.history() as history:
        for one in (a, b):
            one.remember("tok_1", "tok_2")
        incarnation = b.node.incarnation
        b.cut_off()
        await history.writer.append(change("tok_1"))
        enforced = asyncio.create_task(a.enforcer.enforce("tok_1"))
        await until(lambda: a.node.applied == 1 and a.enforcer.waiting == 1)
        assert not enforced.done()
        b.reconnect()
        fence = await enforced
        assert [one.accepts("tok_1", "tok_2") for one in (a, b)] == [["tok_2"], ["tok_2"]]
        assert b.node.incarnation == incarnation
    assert fence is not None
    assert (fence.acknowledged, fence.waited_out) == (2, 0)
    assert fence.took_ms < SOONEST_RENEWAL_MS


async def test_a_process_far_behind_forgets_everything(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where more has changed than is read at once, nothing that is remembered stays, and the process is up to date."""
    monkeypatch.setattr(lease_keeper, "MOST_CHANGES", 2)
    async with process(database, "a") as a, database.history() as history:
        for changes, left in ((2, ["tok_other"]), (4, [])):
            a.remember("tok_other")
            incarnation, behind = a.node.incarnation, a.node.applied
            a.cut_off()
            for number in range(changes):
                await history.writer.append(change(f"tok_{changes}_{number}"))
            a.reconnect()
            await until(lambda reached=behind + changes: a.node.applied == reached)  # type: ignore[misc]
            assert a.accepts("tok_other") == left
            assert (a.node.incarnation, a.node.holds_lease) == (incarnation, True)


async def test_changes_that_nobody_knows_any_more_clear_memory(database: Database) -> None:
    """A process that was away while changes were pruned forgets all that it remembers."""
    async with process(database, "a") as a, database.history() as history, database.owner() as owner:
        a.remember("tok_1", "tok_other")
        a.cut_off()
        await history.writer.append(change("tok_1"))
        await history.writer.append(change("tok_2"))
        await owner.execute("delete from revocation_log where position = 1")
        a.reconnect()
        await until(lambda: a.node.applied == 2)
        assert len(a.cache) == 0
        assert a.node.holds_lease


async def test_an_evicted_process_joins_anew(database: Database) -> None:
    """Who finds its row gone remembers nothing, and comes back as somebody else."""
    async with (
        process(database, "a", lease_s=HURRIED_S) as a,
        database.history() as history,
        database.owner() as owner,
    ):
        await history.writer.append(change("tok_1"))
        a.remember("tok_other")
        incarnation = a.node.incarnation
        await owner.execute("delete from auth_node")
        await until(lambda: a.node.incarnation not in {None, incarnation} and a.node.holds_lease)
        assert (len(a.cache), a.node.applied, a.keeper.histories_lost) == (0, 1, 0)
        assert await incarnations(owner) == {"a": a.node.incarnation}
        a.remember("tok_2")
        await history.writer.append(change("tok_2"))
        fence = await a.enforcer.enforce("tok_2")
        assert fence is not None
        assert (fence.processes, fence.acknowledged) == (1, 1)


async def test_a_history_that_was_lost_is_counted(database: Database) -> None:
    """A database that has forgotten changes is told apart; the process joins anew, with nothing remembered."""
    async with (
        process(database, "a", lease_s=HURRIED_S) as a,
        database.history() as history,
        database.owner() as owner,
    ):
        for number in range(2):
            await history.writer.append(change(f"tok_{number}"))
        await until(lambda: a.node.applied == 2)
        a.remember("tok_other")
        incarnation = a.node.incarnation
        await owner.execute("with gone as (delete from revocation_log where position = 2) update auth_epoch set n = 1")
        await until(lambda: a.node.incarnation not in {None, incarnation} and a.node.holds_lease)
        assert (len(a.cache), a.node.applied, a.keeper.histories_lost) == (0, 1, 1)
        assert await incarnations(owner) == {"a": a.node.incarnation}
        a.remember("tok_2")
        await history.writer.append(change("tok_2"))
        await until(lambda: a.accepts("tok_2") == [])


async def test_a_process_starts_without_its_database(database: Database) -> None:
    """It does not wait for a database that is away, holds no lease meanwhile, and joins when it is back."""
    async with database.owner() as owner:
        name = await owner.fetchval("select current_database()")
        await owner.execute(f"alter database {name} connection limit 0")
        async with process(database, "a") as a:
            assert not a.node.holds_lease
            with pytest.raises(asyncpg.TooManyConnectionsError):
                await database.connect()
            await owner.execute(f"alter database {name} connection limit -1")
            await until(lambda: a.node.holds_lease)
            assert await incarnations(owner) == {"a": a.node.incarnation}


async def test_a_made_up_message_is_no_change(database: Database) -> None:
    """A message that cannot be ours neither stops the renewals nor takes the place of a change that follows."""
    async with process(database, "a", lease_s=HURRIED_S) as a, database.owner() as owner, database.history() as history:
        for number, made_up in enumerate(MADE_UP):
            token_id = f"tok_{number}"
            await until(lambda: a.node.holds_lease)
            a.remember(token_id)
            await owner.execute("select pg_notify('auth_inv', $1)", made_up)
            await history.writer.append(change(token_id))
            assert await a.enforcer.enforce(token_id) is not None
            assert a.accepts(token_id) == []
        renewals = await owner.fetchval("select renewals from auth_node")
        await until_answered(owner, "select renewals > $1 from auth_node", renewals + 4)
        await until(lambda: a.node.holds_lease)
