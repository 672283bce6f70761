"""Reading the log: each reader gives what it was asked for, in order, and nothing of anybody else's."""

import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from events.batch import Append
from events.entry import RecordedEvent, new_event
from events.envelope import Actor, ActorKind, Circumstances, OrganizationPosition, Position, StreamId, Version
from events.identifiers import new_id
from events.log import (
    HistoryQuery,
    find_position,
    follow_to_head,
    read_after,
    read_event,
    read_head,
    read_history,
    read_installation,
    read_organization_head,
    read_stream,
)
from events.registry import Event
from events.statement import Pool
from events.tokens import TokenRevoked, TokenUpdated
from events.usage import TokenUsed, stream_of
from events.writer import LogWriter
from tests.postgres.appends import AT
from tests.postgres.conftest import Database

ORGANIZATIONS = ("org_1", "org_2")
ACTORS = ("mem_1", "mem_2", "tok_1")
SUBJECTS = tuple(f"tok_{number}" for number in range(4))
TYPES = ("TokenUpdated", "TokenRevoked", "TokenUsed", "UsageGap", "NeverHeardOf")
EVENTS = 150
QUERIES = 120


@dataclass(frozen=True, slots=True)
class Written:
    """A log that was filled at random, and all that is in it."""

    pool: Pool
    events: list[RecordedEvent]

    def of(self, organization: str) -> list[RecordedEvent]:
        """List an organization's history."""
        return [event for event in self.events if event.organization == organization]


def an_event(chance: random.Random, token_id: str) -> Event:
    """Make an event of some type."""
    used = TokenUsed(
        token_id=token_id, generation=0, hint="h", count=1, first_used_at=AT, last_used_at=AT, ip_addresses=()
    )
    updated = TokenUpdated(token_id=token_id, name="n", scopes=(), expires_at=None)
    choices: list[Event] = [used, used, updated, TokenRevoked(token_id=token_id, reason=None)]
    return chance.choice(choices)


async def fill(writer: LogWriter, chance: random.Random) -> None:
    """Append events of several organizations, actors, subjects and instants."""
    versions: dict[StreamId, int] = {}
    for _ in range(EVENTS):
        organization = chance.choice(ORGANIZATIONS)
        token_id = chance.choice(SUBJECTS)
        event = an_event(chance, token_id)
        stream = stream_of(event) if isinstance(event, TokenUsed) else StreamId(f"token-{organization}-{token_id}")
        version = None if isinstance(event, TokenUsed) else Version(versions.get(stream, 0) + 1)
        expected = None if version is None else (stream, Version(version - 1))
        versions[stream] = version or 0
        at = AT + timedelta(minutes=chance.randrange(60))
        when = Circumstances(
            organization=organization, actor=Actor(kind=ActorKind.MEMBER, id=chance.choice(ACTORS)), at=at
        )
        new = new_event(
            event, when, event_id=new_id("evt", at, os.urandom), placed=(stream, version), random_bytes=os.urandom
        )
        await writer.append(Append(events=(new,), expected=expected))


@pytest.fixture
async def written(database: Database) -> AsyncIterator[Written]:
    """Fill a log at random."""
    async with database.history() as history, database.pool() as pool:
        await fill(history.writer, random.Random(7))
        yield Written(pool, [event async for event in follow_to_head(pool, Position(0), batch=37)])


def matches(event: RecordedEvent, query: HistoryQuery) -> bool:
    """Say whether a query asks for an event, as its fields read."""
    return (
        event.organization == query.organization
        and query.after < event.organization_position < query.before
        and (query.types is None or event.type in query.types)
        and (query.subjects is None or event.subject in query.subjects)
        and (query.actors is None or event.actor.id in query.actors)
        and (query.occurred_from is None or query.occurred_from <= event.occurred_at)
        and (query.occurred_before is None or event.occurred_at < query.occurred_before)
    )


def some(chance: random.Random, values: tuple[str, ...]) -> tuple[str, ...] | None:
    """Draw no filter, or one of some values."""
    return chance.choice([None, tuple(chance.choices(values, k=chance.randrange(1, 4)))])


def a_query(chance: random.Random) -> HistoryQuery:
    """Draw a query."""
    minute = [AT + timedelta(minutes=chance.randrange(-5, 65)) for _ in range(2)]
    query = HistoryQuery(
        organization=chance.choice((*ORGANIZATIONS, "org_unknown")),
        limit=chance.choice([1, 3, 101, 1000]),
        newest_first=chance.choice([False, True]),
        types=some(chance, TYPES),
        subjects=some(chance, (*SUBJECTS, "tok_unknown")),
        actors=some(chance, (*ACTORS, "mem_unknown")),
        occurred_from=chance.choice([None, None, minute[0]]),
        occurred_before=chance.choice([None, None, minute[1]]),
    )
    if chance.random() < 0.5:
        query = replace(query, after=chance.randrange(EVENTS), before=chance.randrange(EVENTS))
    return query


async def test_every_filter_is_kept(written: Written) -> None:
    """A page of a history is what its filters say, taken from the whole log, in the order asked for."""
    chance = random.Random(8)
    found = 0
    for _ in range(QUERIES):
        query = a_query(chance)
        expected = [event for event in written.events if matches(event, query)]
        expected = (expected[::-1] if query.newest_first else expected)[: query.limit]
        assert await read_history(written.pool, query) == expected, query
        found += bool(expected)
    assert found > QUERIES / 4


@pytest.mark.parametrize("subjects", [None, SUBJECTS])
@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_join(written: Written, *, newest_first: bool, subjects: tuple[str, ...] | None) -> None:
    """Read page by page from where the last one ended, a history is whole."""
    query = HistoryQuery(organization="org_1", limit=7, newest_first=newest_first, subjects=subjects)
    joined: list[RecordedEvent] = []
    while page := await read_history(written.pool, query):
        joined += page
        end = page[-1].organization_position
        query = replace(query, before=end) if newest_first else replace(query, after=end)
    history = written.of("org_1")
    assert joined == (history[::-1] if newest_first else history)


async def test_the_whole_log_is_in_order(written: Written) -> None:
    """Pages of any size join, and a page is as long as asked for while there is more."""
    assert [event.position for event in written.events] == list(range(1, EVENTS + 1))
    assert await read_after(written.pool, Position(10), limit=5) == written.events[10:15]
    assert await read_after(written.pool, Position(EVENTS - 2), limit=5) == written.events[-2:]
    assert await read_after(written.pool, Position(EVENTS), limit=5) == []
    assert [event async for event in follow_to_head(written.pool, Position(140), batch=3)] == written.events[140:]


async def test_a_stream_is_in_order_of_versions(written: Written) -> None:
    """A stream of decisions is read whole or after a version, without the uses of its token."""
    stream = StreamId("token-org_1-tok_1")
    events = [event for event in written.events if event.stream == stream]
    assert len(events) > 3
    assert await read_stream(written.pool, stream) == events
    assert await read_stream(written.pool, stream, Version(2)) == events[2:]
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    assert await read_stream(written.pool, StreamId("usage-tok_1")) == []
    assert await read_stream(written.pool, StreamId("token-unknown")) == []


async def test_an_event_is_its_organizations(written: Written) -> None:
    """An event is found by its id in its own organization, and in no other."""
    event = written.of("org_1")[5]
    assert await read_event(written.pool, event.event_id, "org_1") == event
    assert await read_event(written.pool, event.event_id, "org_2") is None
    assert await read_event(written.pool, "evt_unknown", "org_1") is None


async def test_places_are_found(written: Written) -> None:
    """The head of the log, that of each history, and where an organization's event is in the whole log."""
    assert await read_head(written.pool) == EVENTS
    for organization in ORGANIZATIONS:
        history = written.of(organization)
        assert await read_organization_head(written.pool, organization) == len(history)
        last = history[-1]
        assert await find_position(written.pool, organization, last.organization_position) == last.position
        beyond = OrganizationPosition(last.organization_position + 1)
        assert await find_position(written.pool, organization, beyond) is None
    assert await read_organization_head(written.pool, "org_unknown") == 0


async def test_an_empty_log_can_be_read(database: Database) -> None:
    """Before anything was appended, and before there is a partition, readers find nothing."""
    async with database.pool() as pool:
        query = HistoryQuery(organization="org_1", limit=5, newest_first=True)
        assert await read_after(pool, Position(0), limit=5) == []
        assert await read_history(pool, query) == []
        assert await read_history(pool, replace(query, subjects=("tok_1",))) == []
        assert await read_stream(pool, StreamId("token-tok_1")) == []
        assert await read_head(pool) == 0


async def test_a_log_knows_what_it_is(database: Database) -> None:
    """A log has a name, a generation and a key for cursors from its first migration on, and cannot do without."""
    async with database.pool() as pool, database.owner() as owner:
        installation = await read_installation(pool)
        assert installation.id.startswith("ins_")
        assert installation.generation == 1
        assert len(installation.cursor_key) == 32
        await owner.execute("delete from installation")
        with pytest.raises(LookupError, match="was not migrated"):
            await read_installation(pool)
