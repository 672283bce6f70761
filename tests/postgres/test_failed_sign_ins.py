"""Failed sign-ins on a real log: folded by member and minute, and all of them written at the end."""

import os
from datetime import timedelta

import orjson

from events.members import SignInFailed
from events.registry import decode_payload
from events.usage import MOST_ADDRESSES
from service.failed_sign_ins import FailedSignIns, recording_failures
from tests.postgres.conftest import START, Database, History

SECOND = timedelta(seconds=1)
FAILURES = "select convert_from(entry, 'utf8')::jsonb -> 'payload' as payload from events where type = 'SignInFailed'"


def folding(history: History, shown: list[timedelta]) -> FailedSignIns:
    """Fold failures by a clock that shows the start and the last of these more."""
    return FailedSignIns(history.writer, clock=lambda: START + shown[-1], random_bytes=os.urandom)


async def written(database: Database) -> list[SignInFailed]:
    """Read the failures that are in the log, in its order."""
    async with database.owner() as owner:
        await owner.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=orjson.loads)
        rows = await owner.fetch(f"{FAILURES} order by position")
    events = [decode_payload("SignInFailed", 1, row["payload"]) for row in rows]
    return [event for event in events if isinstance(event, SignInFailed)]


async def test_failures_of_a_minute_are_one_event(database: Database) -> None:
    """The first failure opens a minute; what comes in it is one event, what comes after it is another."""
    async with database.history() as history:
        shown = [timedelta(0)]
        failed = folding(history, shown)
        for at_s in (0, 20, 59):
            shown.append(at_s * SECOND)
            failed.record("mem_1", "org_1", f"192.0.2.{at_s}")
            await failed.flush()
        assert await written(database) == []
        shown.append(60 * SECOND)
        await failed.flush()
        failed.record("mem_1", "org_1", None)
        shown.append(121 * SECOND)
        await failed.flush()
    first, second = await written(database)
    assert (first.count, first.first_at, first.last_at) == (3, START, START + 59 * SECOND)
    assert first.ip_addresses == ("192.0.2.0", "192.0.2.20", "192.0.2.59")
    assert (second.count, second.first_at, second.ip_addresses) == (1, START + 60 * SECOND, ())


async def test_members_are_told_apart(database: Database) -> None:
    """Each member's failures are an event of their own, and of many addresses only so many are named."""
    async with database.history() as history:
        failed = folding(history, [timedelta(0)])
        for number in range(100):
            failed.record(f"mem_{number % 2}", "org_1", f"192.0.2.{number}")
        await failed.flush(everything=True)
    events = await written(database)
    assert {event.member_id: event.count for event in events} == {"mem_0": 50, "mem_1": 50}
    assert all(len(event.ip_addresses) == MOST_ADDRESSES for event in events)


async def test_a_clean_stop_writes_everything(database: Database) -> None:
    """What was recorded is written when the process ends, its minute over or not."""
    async with database.history() as history:
        failed = folding(history, [timedelta(0)])
        async with recording_failures(failed):
            failed.record("mem_1", "org_1", "192.0.2.1")
        assert [event.count for event in await written(database)] == [1]


async def test_a_lost_connection_loses_no_failure(database: Database) -> None:
    """Over a connection that was lost nothing is lost, and nothing is written twice over the next one."""
    async with database.history() as history:
        failed = folding(history, [timedelta(0)])
        failed.record("mem_1", "org_1", None)
        connection = history.writer._connection
        assert connection is not None
        connection.terminate()
        await failed.flush(everything=True)
        await failed.flush(everything=True)
    assert [event.count for event in await written(database)] == [1]
