"""Reading the log: streams, an organization's history, the whole of it. Must never write; `events.writer` does.

Every reader is the same: after a position, in order. Both positions are gapless and in commit order, so a reader that
remembers the last one it saw misses nothing.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from events.entry import RecordedEvent, recorded_event
from events.envelope import OrganizationPosition, Position, StreamId, Version
from events.origin import FIRST_GENERATION, Origin, Predecessor
from events.registry import TYPES
from events.statement import Connection, Pool, load

START: Final = Version(0)
BEYOND: Final = 2**63 - 1
"""After every position there can be."""

READ_STREAM: Final = load("events.statements", "read_stream")
READ_AFTER: Final = load("events.statements", "read_after")
READ_HISTORY_FORWARD: Final = load("events.statements", "read_history_forward")
READ_HISTORY_BACKWARD: Final = load("events.statements", "read_history_backward")
READ_SUBJECTS_FORWARD: Final = load("events.statements", "read_subjects_forward")
READ_SUBJECTS_BACKWARD: Final = load("events.statements", "read_subjects_backward")
READ_EVENT: Final = load("events.statements", "read_event")
READ_HEAD: Final = load("events.statements", "read_head")
READ_ORGANIZATION_HEAD: Final = load("events.statements", "read_organization_head")
FIND_POSITION: Final = load("events.statements", "find_position")
READ_INSTALLATION: Final = load("events.statements", "read_installation")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Which part of an organization's history to read; a filter that is None lets everything through."""

    organization: str
    after: int = 0
    before: int = BEYOND
    limit: int
    newest_first: bool
    types: tuple[str, ...] | None = None
    subjects: tuple[str, ...] | None = None
    actors: tuple[str, ...] | None = None
    occurred_from: datetime | None = None
    occurred_before: datetime | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Installation:
    """What this log is: its name in proofs, its generation, and the key that cursors are sealed with.

    A process has one, whose generation changes when a restore is noticed: all who hold it see that at once.
    """

    id: str
    generation: int
    predecessor: Predecessor | None = None
    cursor_key: bytes

    def origin(self, organization: str | None = None) -> Origin:
        """Name a tree of this log in its checkpoints: an organization's, or the operator's."""
        return Origin(
            installation=self.id,
            generation=self.generation,
            predecessor=self.predecessor,
            organization=organization,
        )

    def become(self, newer: "Installation") -> None:
        """Go on as the generation that the log is at by now."""
        self.generation, self.predecessor = newer.generation, newer.predecessor


def from_row(row: asyncpg.Record) -> RecordedEvent:
    """Decode one row of the log."""
    return recorded_event(row[0], row[1], row[2], entry=row[3])


async def read_stream(pool: Pool, stream: StreamId, after: Version = START) -> list[RecordedEvent]:
    """Read a stream of decisions whole, or what came after a version."""
    return [from_row(row) for row in await pool.fetch(READ_STREAM.text, stream, after)]


async def read_after(pool: Pool, position: Position, *, limit: int) -> list[RecordedEvent]:
    """Read the next events of the whole log."""
    return [from_row(row) for row in await pool.fetch(READ_AFTER.text, position, limit)]


async def follow_to_head(pool: Pool, position: Position, *, batch: int = 1000) -> AsyncIterator[RecordedEvent]:
    """Read the whole log from after a position until its head as of each batch, in constant memory."""
    while page := await read_after(pool, position, limit=batch):
        for event in page:
            yield event
        position = page[-1].position


async def read_history(pool: Pool, query: HistoryQuery) -> list[RecordedEvent]:
    """Read a page of an organization's history. The page costs the same wherever it is."""
    arguments: list[object] = [
        query.organization,
        query.after,
        query.before,
        query.limit,
        query.types,
        query.actors,
        query.occurred_from,
        query.occurred_before,
        *kinds_of(query.types),
    ]
    if query.subjects is None:
        statement = READ_HISTORY_BACKWARD if query.newest_first else READ_HISTORY_FORWARD
    else:
        statement = READ_SUBJECTS_BACKWARD if query.newest_first else READ_SUBJECTS_FORWARD
        arguments.append(query.subjects)
    return [from_row(row) for row in await pool.fetch(statement.text, *arguments)]


def kinds_of(types: Sequence[str] | None) -> tuple[bool, bool]:
    """Say which kinds of partition can hold events of these types (twice the same: one), so that no other is read."""
    if types is None:
        return False, True
    kinds = {TYPES[name].is_usage for name in types if name in TYPES} or {False}
    return min(kinds), max(kinds)


async def read_event(pool: Pool, event_id: str, organization: str) -> RecordedEvent | None:
    """Read one event of an organization, or None when it has no such event."""
    row = await pool.fetchrow(READ_EVENT.text, event_id, organization)
    return None if row is None else from_row(row)


async def read_head(pool: "Pool | Connection") -> Position:
    """Read the last position of the whole log, 0 when it is empty."""
    return Position(await pool.fetchval(READ_HEAD.text))


async def read_organization_head(pool: Pool, organization: str) -> OrganizationPosition:
    """Read the last position of an organization's history, 0 when it has none."""
    return OrganizationPosition(await pool.fetchval(READ_ORGANIZATION_HEAD.text, organization))


async def find_position(pool: Pool, organization: str, position: OrganizationPosition) -> Position | None:
    """Find where in the whole log an event of an organization's history is, or None before it was appended."""
    found = await pool.fetchval(FIND_POSITION.text, organization, position)
    return None if found is None else Position(found)


async def read_installation(pool: "Pool | Connection") -> Installation:
    """Read what this log is."""
    row = await pool.fetchrow(READ_INSTALLATION.text)
    if row is None:
        raise LookupError("the table installation is empty: the database was not migrated")
    predecessor = None
    if row["generation"] > FIRST_GENERATION:
        predecessor = Predecessor(row["predecessor_size"], row["predecessor_root"])
    return Installation(
        id=row["id"], generation=row["generation"], predecessor=predecessor, cursor_key=row["cursor_key"]
    )
