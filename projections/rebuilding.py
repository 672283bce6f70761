"""A rebuild on its way: what it fills and how far that is. Must never do I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique

from events.envelope import Position
from events.statement import Connection
from projections.fold import Failure, Place
from projections.projection import AnyProjection


class RebuildError(Exception):
    """A read model cannot be rebuilt; the live one is as it was."""


@unique
class Phase(StrEnum):
    """What a rebuild does, one after the other."""

    FILL = "fill"
    """Fold the log up to a position subject by subject, and copy the rows in."""
    INDEX = "index"
    """Make the indexes, and the statistics."""
    FOLLOW = "follow"
    """Fold what was recorded since by position, and switch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How this run of a rebuild started."""

    began_at: datetime
    """When the rebuild was begun, by this run or by one before it."""
    events_before: int
    """How many events earlier runs have folded."""
    resumes: Phase | None
    """In which phase it goes on; None where it starts anew."""
    outdated: bool
    """Whether an unfinished one was dropped since it was of another definition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a rebuild is."""

    start: Start
    phase: Phase
    events: int
    """Folded so far, by earlier runs too."""
    expected: int
    """How many events will be folded: an estimate while it fills; what is left to follow may change nothing."""
    indexes: tuple[int, int] = (0, 0)
    """How many are made, and how many there will be."""


OnProgress = Callable[[Progress], None]
"""Called after each step."""


@dataclass(slots=True, kw_only=True)
class Rebuild:
    """A rebuild on its way."""

    connection: Connection
    projection: AnyProjection
    on_progress: OnProgress
    start: Start
    table: str
    phase: Phase
    until: Position
    """Up to here the log is folded by subject."""
    after: Place
    """Up to here that is done."""
    position: Position
    """Up to here the table holds the log, once it follows."""
    expected: int
    events: int
    rows: int

    def tell(self, *, indexes: tuple[int, int] = (0, 0)) -> None:
        """Tell whoever watches how far it is."""
        self.expected = max(self.expected, self.events)
        progress = Progress(
            start=self.start, phase=self.phase, events=self.events, expected=self.expected, indexes=indexes
        )
        self.on_progress(progress)


def stop_at(failure: Failure | None) -> None:
    """Stop at an event that cannot be folded, naming it. Raises RebuildError."""
    if failure is not None:
        entry = failure.entry.decode(errors="replace")
        message = f"the event at position {failure.position} cannot be folded: {failure.error!r}\n{entry}"
        raise RebuildError(message) from failure.error
