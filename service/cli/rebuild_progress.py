"""What an operator sees of a rebuild on its way. Must never write to standard output, nor claim to know the end.

On a terminal it is a bar that is drawn anew; elsewhere a line every few seconds, so that a log of it stays short and a
rebuild that is quick says nothing.
"""

import time
from collections.abc import Callable
from typing import Final

from projections.rebuilding import Phase, Progress, Start

LINE_EVERY_S: Final = 5.0
BAR_EVERY_S: Final = 0.1
WIDTH: Final = 30
RATE_OVER_S: Final = 10.0
MINUTE_S: Final = 60
HOUR_S: Final = 3600
CLEAR_LINE: Final = "\r\x1b[K"


class RebuildProgress:
    """Shows how far the rebuild of a read model is, at what rate, and how long it will take."""

    def __init__(
        self, name: str, *, write: Callable[[str], None], is_terminal: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._write = write
        self._is_terminal = is_terminal
        self._clock = clock
        self._began_s = self._shown_s = clock()
        self._measured: list[tuple[float, int]] = []
        self._is_started = False

    def __call__(self, progress: Progress) -> None:
        """Show one step, unless another was shown just before."""
        now_s = self._clock()
        if not self._is_started:
            self._is_started = True
            self._tell_start(progress.start)
            self._measured.append((self._began_s, progress.start.events_before))
        self._measured.append((now_s, progress.events))
        while self._measured[1][0] < now_s - RATE_OVER_S:
            self._measured.pop(0)
        if now_s - self._shown_s < (BAR_EVERY_S if self._is_terminal else LINE_EVERY_S):
            return
        self._shown_s = now_s
        text = described(progress, self._rate())
        self._write(f"{CLEAR_LINE}{bar(progress)} {text}" if self._is_terminal else f"{self._name}: {text}\n")

    def end(self) -> None:
        """Leave nothing of a bar behind."""
        if self._is_terminal:
            self._write(CLEAR_LINE)

    def _tell_start(self, start: Start) -> None:
        begun = f"the rebuild begun at {start.began_at:%Y-%m-%d %H:%M:%S} UTC"
        if start.resumes is not None:
            self._write(
                f"{self._name}: going on with {begun}, which has folded {start.events_before:,} events"
                " (--restart starts anew)\n"
            )
        elif start.outdated:
            self._write(f"{self._name}: starting anew, for the unfinished rebuild was of another definition\n")

    def _rate(self) -> float:
        (first_s, first), (last_s, last) = self._measured[0], self._measured[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


def share(progress: Progress) -> float:
    """Say which share of a phase is done; it is not the whole before the phase has ended."""
    done, whole = progress.indexes if progress.phase is Phase.INDEX else (progress.events, progress.expected)
    return min(done / whole, 0.99) if whole else 0.0


def bar(progress: Progress) -> str:
    """Draw the share that is done."""
    filled = round(share(progress) * WIDTH)
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}]"


def described(progress: Progress, rate: float) -> str:
    """Write how far it is, at what rate, and how long that will take."""
    if progress.phase is Phase.INDEX:
        made, whole = progress.indexes
        return f"{made} of {whole} indexes, {progress.events:,} events folded"
    if progress.phase is Phase.FILL and progress.events >= progress.expected:
        return f"{progress.events:,} events, more than were expected, {rate:,.0f} a second"
    about = "about " if progress.phase is Phase.FILL else ""
    text = f"{share(progress):.0%}, {progress.events:,} of {about}{progress.expected:,} events"
    if rate <= 0:
        return text
    return f"{text}, {rate:,.0f} a second, about {duration((progress.expected - progress.events) / rate)} left"


def duration(seconds: float) -> str:
    """Write a duration in the two units that matter."""
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S} s"
    return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"
