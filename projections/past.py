"""Read models as they were: folded from the log as far as a position, with the functions that keep the live ones.

Must never look at a live table, nor fold more for one question than it was given leave to.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Generic

from events.log import BEYOND, HistoryQuery, read_history
from events.registry import TYPES
from events.statement import Connection, Pool, load
from projections.fold import FoldBySubject
from projections.projection import AnyProjection, Projection, State

READ_SUBJECTS_UNTIL: Final = load("projections.statements.read_models", "read_subjects_until")
CHUNK: Final = 5000
PAGE: Final = 500
LAST_ORGANIZATION: Final = "~"
"""After every organization's id."""


class PastError(Exception):
    """The log cannot be folded: the message shows the event that it stops at."""


class TooLongError(Exception):
    """More events would have to be folded than one request may ask for."""


@dataclass(slots=True)
class Leave:
    """How many events one request may still have folded."""

    events: int

    def take(self, events: int) -> None:
        """Use some of it up. Raises TooLongError."""
        self.events -= events
        if self.events < 0:
            raise TooLongError("too many events would have to be folded: ask for less of the past at once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A moment: a position of the whole log, or where an organization is named of its own history."""

    position: int
    organization: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Generic[State]):
    """What was known of one key of a read model."""

    projection: Projection[State]
    key: str
    begin: State | None = None
    """What was kept of archived events. It holds the key's first event, and takes that one's place."""


async def kept_state(pool: Pool, projection: Projection[State], organization: str, key: str) -> State | None:
    """Read the state of a key at the end of the archive, or None where nothing of it was archived."""
    if projection.kept is None:
        return None
    row = await pool.fetchrow(projection.kept.find.text, [organization], [key])
    return None if row is None else projection.state(row)


async def state_at(pool: Pool, question: Question[State], *, place: Place, leave: Leave) -> State | None:
    """Fold what an organization's history says of one key up to a place; None before there was anything to fold.

    Raises TooLongError.
    """
    projection = question.projection
    state, position = None, 0
    while True:
        query = HistoryQuery(
            organization=place.organization or "",
            after=position,
            before=place.position + 1,
            limit=PAGE,
            newest_first=False,
            types=tuple(cls.__name__ for cls in projection.types),
            subjects=(question.key,),
        )
        page = await read_history(pool, query)
        leave.take(len(page))
        for recorded in page:
            is_first = state is None and question.begin is not None
            state = question.begin if is_first else projection.evolve(state, recorded)
        if len(page) < PAGE:
            return state
        position = page[-1].organization_position


async def rows_at(
    connection: Connection, projection: AnyProjection, place: Place, *, chunk: int = CHUNK
) -> AsyncIterator[list[tuple[object, ...]]]:
    """Yield the rows that a read model had at a place, by organization and key, one subject's state held at a time.

    Raises PastError. Each page is a statement of its own and costs the same: no snapshot is held while rows are used.
    """
    kinds = sorted({TYPES[cls.__name__].is_usage for cls in projection.types})
    until = (BEYOND, place.position) if place.organization is not None else (place.position, BEYOND)
    after = (place.organization or "", "", 0)
    fold = FoldBySubject(projection, after=after, events=0)
    while True:
        page = await connection.fetch(
            READ_SUBJECTS_UNTIL.text,
            *after,
            place.organization or LAST_ORGANIZATION,
            *until,
            sorted(projection.ignored),
            kinds,
            chunk,
        )
        yield list(fold.rows([row[:3] for row in page if row["entry"] is not None]))
        if fold.failure is not None:
            shown = fold.failure.entry.decode(errors="replace")
            failed = f"the event at position {fold.failure.position} cannot be folded: {fold.failure.error!r}"
            raise PastError(f"{failed}\n{shown}") from fold.failure.error
        if len(page) < chunk:
            yield list(fold.last())
            return
        after = (page[-1]["organization"], page[-1]["subject"], page[-1]["organization_position"])
