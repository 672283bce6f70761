"""What a read model is: the functions from events to its rows. Must never do I/O or read a clock.

There is one definition of each, used by the append (inline models), by catching up and by a rebuild, so that the three
cannot disagree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import asyncpg

from events.entry import Fact, RecordedEvent
from events.registry import TYPES, Event
from events.statement import Statement

State = TypeVar("State")
Foldable: TypeAlias = Fact | RecordedEvent
"""An event as it is folded: no more of it is used than a `Fact` holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How the states are kept that usage had led to when it was archived: what is folded later begins with them."""

    find: Statement
    """Select the rows of $1 organizations and $2 their keys, pairwise."""
    page: Statement
    """Select the rows from $1 organization and $2 key to $3 organization and $4 key."""
    write: Statement
    """Insert or update rows, $1 a JSON array of objects by column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection(Generic[State]):
    """How a read model follows from the log."""

    name: str
    """Its stable name: that of the view over whichever table is live."""
    table: str
    """The table that its migration made; a rebuild adds `_r1`, `_r2` …."""
    columns: tuple[str, ...]
    """Of the table, the key first."""
    is_inline: bool
    """Whether it is written within the append and so is always at the head of the log."""
    types: frozenset[type[Event]]
    """The events it cares for."""
    key: Callable[[Event], str | None]
    """Which row an event changes, None when it changes none. A key is always the event's subject."""
    evolve: Callable[[State | None, Foldable], State]
    """Fold an event that has a key. Raises ValueError where the log contradicts itself."""
    row: Callable[[State], tuple[object, ...]]
    """Lay a state out as a row, in the order of `columns`."""
    state: Callable[[asyncpg.Record], State]
    """Read a state back from its row."""
    find: Statement
    """Select the rows of $1 keys."""
    write: Statement
    """Insert or update rows, $1 a JSON array of objects by column."""
    kept: Kept | None = None
    """Needed where it folds usage."""

    @property
    def ignored(self) -> frozenset[str]:
        """Name the types it does not care for. A type nobody knows is not among them: it must stop the projection."""
        return frozenset(TYPES) - {cls.__name__ for cls in self.types}

    def row_json(self, state: State) -> dict[str, object]:
        """Lay a state out as an object by column, for `write` or as a companion row of an append; null is left out."""
        return {column: value for column, value in zip(self.columns, self.row(state), strict=True) if value is not None}


AnyProjection: TypeAlias = Projection[Any]
"""A projection whose states are its own business: those of different projections never meet."""
