"""Folding the log into a read model's rows. Must never commit, nor skip an event that cannot be folded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import asyncpg
import orjson

from events.entry import RecordedEvent, fact
from events.envelope import Position
from events.log import from_row
from events.statement import Connection, load
from projections.projection import AnyProjection, Projection, State

Session: TypeAlias = "Connection | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Place: TypeAlias = tuple[str, str, int]
"""A place in the log as it is read subject by subject: organization, subject, place in the organization's history."""

NOTHING_KEPT: Final[Mapping[str, object]] = {}
READ_CHANGES: Final = load("projections.statements.read_models", "read_changes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An event that a projection cannot fold: it stops there until one of the two is mended."""

    position: Position
    entry: bytes
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """How far a read model was brought."""

    position: Position
    events: int
    failure: Failure | None


async def advance(connection: Session, projection: AnyProjection, *, after: Position, until: Position) -> Advance:
    """Bring a read model from one position to another, or to just before an event that cannot be folded."""
    rows = await connection.fetch(READ_CHANGES.text, after, until, sorted(projection.ignored))
    changes: list[tuple[str, RecordedEvent]] = []
    failure = decode(projection, rows, into=changes)
    keys = sorted({key for key, _ in changes})
    found = [projection.state(row) for row in await connection.fetch(projection.find.text, keys)] if keys else []
    states = {str(projection.row(state)[0]): state for state in found}
    failure = evolve(projection, changes, states=states) or failure
    if states:
        written = orjson.dumps([projection.row_json(state) for state in states.values()])
        await connection.execute(projection.write.text, written.decode())
    reached = until if failure is None else Position(failure.position - 1)
    return Advance(position=reached, events=len(rows), failure=failure)


def decode(
    projection: AnyProjection, rows: Sequence[asyncpg.Record], *, into: list[tuple[str, RecordedEvent]]
) -> Failure | None:
    """Decode rows of the log with the key that each changes, up to the first that does not decode."""
    for row in rows:
        try:
            recorded = from_row(row)
            key = projection.key(recorded.event)
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with an event stops one projection, not all
            return Failure(position=Position(row[0]), entry=row[3], error=error)
        if key is not None:
            into.append((key, recorded))
    return None


def evolve(
    projection: Projection[State], changes: Sequence[tuple[str, RecordedEvent]], *, states: dict[str, State]
) -> Failure | None:
    """Fold events into states by key, up to the first that does not fold."""
    for key, recorded in changes:
        try:
            states[key] = projection.evolve(states.get(key), recorded)
        except Exception as error:  # noqa: BLE001 -- as above
            return Failure(position=recorded.position, entry=recorded.entry, error=error)
    return None


class FoldBySubject:
    """Folds events that come subject by subject, holding one state at a time."""

    def __init__(self, projection: AnyProjection, *, after: Place, events: int) -> None:
        self._projection = projection
        self._key: str | None = None
        self._state: object = None
        self._events = events
        self.read_to = after
        """The last event that was read."""
        self.completed_to = after
        """Before whatever subject is not complete yet."""
        self.completed_events = events
        """How many events were folded up to there, those before this began included."""
        self.failure: Failure | None = None

    def rows(
        self, rows: Sequence[asyncpg.Record], begins: Mapping[str, object] = NOTHING_KEPT
    ) -> Iterator[tuple[object, ...]]:
        """Fold more events and yield the rows of the subjects that they complete. Stops at a failure.

        What was kept of archived events (`begins`, by key) holds a subject's first event, so it takes that one's place.
        """
        key_of, evolve_state, row_of = self._projection.key, self._projection.evolve, self._projection.row
        for position, organization_position, entry in rows:
            completed = None
            try:
                known = fact(entry)
                key = key_of(known.event)
                if key == self._key:
                    self._state = evolve_state(self._state, known)
                elif key is not None:
                    begin = begins.get(key) or evolve_state(None, known)
                    completed, self._state, self._key = self._state, begin, key
            except Exception as error:  # noqa: BLE001 -- as above
                self.failure = Failure(position=Position(position), entry=entry, error=error)
                return
            if completed is not None:
                yield row_of(completed)
                self.completed_to, self.completed_events = self.read_to, self._events
            self._events += 1
            self.read_to = known.organization, known.subject, organization_position

    def last(self) -> Iterator[tuple[object, ...]]:
        """Yield the row of the last subject."""
        if self._key is not None:
            yield self._projection.row(self._state)
        self.completed_to, self.completed_events = self.read_to, self._events
