"""Commands for the log, whose events say as little as can be: the log does not read them."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from events.batch import Append
from events.entry import NewEvent, new_event
from events.envelope import Actor, ActorKind, Circumstances, StreamId, Version
from events.identifiers import new_id
from events.registry import Event
from events.statement import Connection
from events.token_kinds import stream_of_api_token
from events.tokens import TokenRevoked
from events.usage import TokenUsed, stream_of

AT = datetime(2026, 1, 1, tzinfo=UTC)
LOG_LOCK = 4270001
"""The advisory lock under which appends are one after the other."""
WAITING = "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = $1"


def written(event: Event, stream: StreamId, version: int | None, organization: str) -> NewEvent:
    """Write an event for a place, under an id of its own."""
    when = Circumstances(organization=organization, actor=Actor(kind=ActorKind.MEMBER, id="mem_1"), at=AT)
    placed = (stream, None if version is None else Version(version))
    return new_event(event, when, event_id=new_id("evt", AT, os.urandom), placed=placed, random_bytes=os.urandom)


def decided(token_id: str, expected: int = 0, *, organization: str = "org_1", events: int = 1) -> Append:
    """Make a command on a token's stream, at the version it expects."""
    stream = stream_of_api_token(token_id)
    event = TokenRevoked(token_id=token_id, reason=None)
    return Append(
        events=tuple(written(event, stream, expected + 1 + number, organization) for number in range(events)),
        expected=(stream, Version(expected)),
    )


def observed(token_id: str, *, organization: str = "org_1", events: int = 1) -> Append:
    """Make what was seen of a token, which no version is expected for."""
    event = TokenUsed(
        token_id=token_id, generation=0, hint="h", count=1, first_used_at=AT, last_used_at=AT, ip_addresses=()
    )
    return Append(
        events=tuple(written(event, stream_of(event), None, organization) for _ in range(events)), expected=None
    )


def ids(appends: Sequence[Append]) -> list[str]:
    """List the ids of what is appended, in order."""
    return [event.event_id for append in appends for event in append.events]


async def wait_for_lock(connection: Connection) -> None:
    """Wait until somebody waits for the log's lock."""
    while not await connection.fetchval(WAITING, LOG_LOCK):
        pass
