"""What goes into the log together: appends, their outcomes, and how callers' appends are laid out as one batch.

Must never do I/O: `events.writer` sends what is laid out here.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson

from events.entry import NewEvent
from events.envelope import OrganizationPosition, Position, StreamId, Version

MOST_EVENTS_IN_BATCH: Final = 96
"""A batch is then written to the socket at once (Linux takes 208 KiB), so the server works while callers go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Events that are appended together or not at all, and the rows that go with them."""

    events: tuple[NewEvent, ...]
    expected: tuple[StreamId, Version] | None
    """The stream decided on and the version it was decided at; None for what is observed, not decided."""
    acting: str | None = None
    """The id of the principal whose authority this needs, checked again within the append."""
    restricts: frozenset[str] = frozenset()
    """Ids of principals that may do less afterwards: nothing of theirs shares a batch behind this."""
    companions: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Rows for each companion by name, written in the same transaction if the events are."""

    def __post_init__(self) -> None:
        """Refuse what no batch could carry. Raises ValueError."""
        if not self.events:
            raise ValueError("an append holds at least one event")
        if self.expected is not None and len({event.organization for event in self.events}) > 1:
            raise ValueError("what is decided together belongs to one organization")
        for number, event in enumerate(self.events, start=1):
            place = (event.stream, None) if self.expected is None else (self.expected[0], self.expected[1] + number)
            if (event.stream, event.version) != place:
                raise ValueError(f"event {number} is not placed where it is expected: at {place[1]} of {place[0]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """The events are in the log, durably; the positions are the last one's.

    Of a replay of what several organizations' tokens were seen doing, `organization_position` says nothing.
    """

    position: Position
    organization_position: OrganizationPosition
    is_replay: bool
    """The first event's id was in the log before: an earlier attempt won."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionConflict:
    """The stream has moved on: decide again."""

    version: Version


@dataclass(frozen=True, slots=True)
class ActorRestricted:
    """The acting principal may no longer act."""


Outcome = Appended | VersionConflict | ActorRestricted


@dataclass(slots=True)
class Pending:
    """A caller's append and where its answer goes."""

    append: Append
    answer: asyncio.Future[Outcome]


def take_batch(queue: deque[Pending]) -> list[Pending]:
    """Take what can share a batch, in order: one command a stream and event id, none whose actor an earlier restricts.

    What cannot share it stays at the front of the queue; what nobody waits for any more is dropped unsent.
    """
    batch: list[Pending] = []
    held_back: list[Pending] = []
    taken: set[str] = set()
    restricted: set[str] = set()
    events = 0
    while queue and events < MOST_EVENTS_IN_BATCH:
        pending = queue.popleft()
        if pending.answer.done():
            continue
        append = pending.append
        keys = {append.events[0].event_id} | ({append.expected[0]} if append.expected else set())
        if keys & taken or append.acting in restricted:
            held_back.append(pending)
        else:
            batch.append(pending)
            events += len(append.events)
        taken |= keys
        restricted |= append.restricts
    queue.extendleft(reversed(held_back))
    return batch


def batch_arguments(batch: Sequence[Append]) -> list[object]:
    """Lay a batch out as the arguments of `append_events`: columns of commands, columns of events, companion rows."""
    events = [(number, event) for number, append in enumerate(batch, start=1) for event in append.events]
    companions: dict[str, list[dict[str, Any]]] = {}
    for number, append in enumerate(batch, start=1):
        for name, rows in append.companions.items():
            companions.setdefault(name, []).extend({**row, "command": number} for row in rows)
    return [
        literal([append.events[0].event_id for append in batch]),
        literal([append.expected[0] if append.expected else None for append in batch]),
        literal([append.expected[1] if append.expected else None for append in batch]),
        literal([append.acting for append in batch]),
        literal([number for number, _ in events]),
        literal([event.event_id for _, event in events]),
        literal([event.is_usage for _, event in events]),
        literal([event.stream for _, event in events]),
        literal([event.version for _, event in events]),
        literal([event.type for _, event in events]),
        literal([event.organization for _, event in events]),
        literal([event.subject for _, event in events]),
        literal([event.actor for _, event in events]),
        literal([event.occurred_at for _, event in events]),
        [event.entry for _, event in events],
        sorted(companions),  # in a fixed order, which the companions may rely on
        [orjson.dumps(companions[name]).decode() for name in sorted(companions)],
    ]


def literal(column: Sequence[str | int | bool | datetime | None]) -> str:
    """Write a column as PostgreSQL reads an array: in one call, where the driver looks at each element several times.

    It is a JSON array but for its brackets. That holds for text without control characters, and ids and names of types
    have none.
    """
    return "{" + orjson.dumps(column)[1:-1].decode() + "}"


def outcome_of(row: asyncpg.Record, number: int, append: Append) -> Outcome:
    """Read one command's outcome from the answer's arrays."""
    match row["outcome"][number]:
        case 0 | 1 as replay:
            behind = len(append.events) - 1 if replay else 0  # a replay is found by its first event; the rest follow it
            return Appended(
                position=Position(row["position"][number] + behind),
                organization_position=OrganizationPosition(row["organization_position"][number] + behind),
                is_replay=bool(replay),
            )
        case 2:
            return VersionConflict(version=Version(row["version"][number]))
        case _:
            return ActorRestricted()
