"""What goes into the log together: appends, their outcomes, and how callers' appends are laid out as one batch.

Must never do I/O: `events.writer` sends what is laid out here.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import orjson

from events.entry import NewEvent
from events.envelope import OrganizationPosition, Position, StreamId, Version

MOST_EVENTS_IN_BATCH: Final = 96
"""A batch is then written to the socket at once (Linux takes 208 KiB), so the server works while callers go on."""
WORTH_HALVING: Final = 16
"""So many commands that come at once go in two batches: while one commits, the callers of the other go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Events that are appended together or not at all, and the rows that go with them."""

    events: tuple[NewEvent, ...]
    expected: tuple[StreamId, Version] | None
    """The stream decided on and the version it was decided at; None for what is observed, not decided."""
    acting: str | None = None
    """The name of the authority that this needs (a token, a member's session), checked again within the append."""
    restricts: frozenset[str] = frozenset()
    """Ids of principals that may do less afterwards: nothing of theirs shares a batch behind this."""
    companions: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Rows for each companion by name, written in the same transaction if the events are."""

    def __post_init__(self) -> None:
        """Refuse what no batch could carry. Raises ValueError."""
        if not self.events:
            raise ValueError("an append holds at least one event")
        if self.expected is None:
            if any(event.version is not None for event in self.events):
                raise ValueError("an event that has a version is not placed where it is expected: nowhere")
            return
        stream, version = self.expected
        organization = self.events[0].organization
        for place, event in enumerate(self.events, start=version + 1):
            if event.organization != organization:
                raise ValueError("what is decided together belongs to one organization")
            if event.stream != stream or event.version != place:
                raise ValueError(f"{event.event_id} is not placed where it is expected: at {place} of {stream}")


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
    """A caller's append, where its answer goes, and when (by the loop's clock) the caller has waited too long."""

    append: Append
    answer: asyncio.Future[Outcome]
    deadline: float


def first_share(queued: int) -> int:
    """Say how many to send first of what has queued while nothing was on its way.

    Callers who are answered together come again together. In one batch they and the server would take turns; in two,
    one half is decided while the other commits.
    """
    return queued if queued < WORTH_HALVING else (queued + 1) // 2


def take_batch(queue: deque[Pending], most: int = MOST_EVENTS_IN_BATCH) -> list[Pending]:
    """Take what can share a batch, in order: one command a stream and event id, none whose actor an earlier restricts.

    What cannot share it stays at the front of the queue; what nobody waits for any more is dropped unsent.
    """
    batch: list[Pending] = []
    held_back: list[Pending] = []
    taken: set[str] = set()
    restricted: set[str] = set()
    events = 0
    while queue and events < MOST_EVENTS_IN_BATCH and len(batch) < most:
        pending = queue.popleft()
        if pending.answer.done():
            continue
        append, keys = pending.append, keys_of(pending.append)
        if append.events[0].actor in restricted or not taken.isdisjoint(keys):
            held_back.append(pending)
        else:
            batch.append(pending)
            events += len(append.events)
        taken.update(keys)
        restricted |= append.restricts
    queue.extendleft(reversed(held_back))
    return batch


def keys_of(append: Append) -> tuple[str, ...]:
    """Name what no two commands of a batch may have in common."""
    first = append.events[0].event_id
    return (first,) if append.expected is None else (first, append.expected[0])


@dataclass(frozen=True, slots=True)
class Layout:
    """A batch as `append_events` takes it, and what its answer is read with."""

    arguments: tuple[object, ...]
    last_places: Sequence[tuple[int, int, int]]
    """Of each command's last event: its place, its organization's, and its place among that one's events, from 1."""

    @property
    def events(self) -> int:
        """Count the batch's events."""
        return self.last_places[-1][0]


def lay_out(batch: Sequence[Append]) -> Layout:
    """Lay a batch out as the arguments of `append_events`: its events with their places, and the rows beside them."""
    organizations: dict[str, list[int]] = {}
    events: list[tuple[object, ...]] = []
    last_places: list[tuple[int, int, int]] = []
    for number, append in enumerate(batch, start=1):
        there = [0, 0]
        for event in append.events:
            if (known := organizations.get(event.organization)) is None:
                known = organizations[event.organization] = [len(organizations) + 1, 0]
            there = known
            there[1] += 1
            place = (number, event is append.events[0], append.acting, len(events) + 1, *there)
            events.append((*event, *place))
        last_places.append((len(events), there[0], there[1]))
    arguments = (
        events,
        list({append.acting for append in batch if append.acting is not None}),
        list(organizations),
        [count for _, count in organizations.values()],
        *lay_out_rows(batch),
    )
    return Layout(arguments, last_places)


def lay_out_rows(batch: Sequence[Append]) -> tuple[list[str], list[str], list[str]]:
    """Lay companion rows out by companion: names, rows as JSON, and the number of each row's command."""
    found: dict[str, tuple[list[Mapping[str, Any]], list[int]]] = {}
    for number, append in enumerate(batch, start=1):
        for name, added in append.companions.items():
            if (known := found.get(name)) is None:
                known = found[name] = ([], [])
            known[0].extend(added)
            known[1].extend([number] * len(added))
    names = sorted(found)  # in a fixed order, which the companions may rely on
    rows = [orjson.dumps(found[name][0]).decode() for name in names]
    return names, rows, ["{" + orjson.dumps(found[name][1]).decode()[1:-1] + "}" for name in names]


def outcomes_of(row: asyncpg.Record, batch: Sequence[Append], layout: Layout) -> list[Outcome]:
    """Read the commands' outcomes from the answer."""
    head, heads, outcomes = row["head"], row["heads"], row["outcome"]
    if outcomes is None:
        return [
            Appended(
                position=Position(head + place),
                organization_position=OrganizationPosition(heads[organization - 1] + place_there),
                is_replay=False,
            )
            for place, organization, place_there in layout.last_places
        ]
    return [outcome_of(row, number, append) for number, append in enumerate(batch)]


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
