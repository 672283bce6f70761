"""A progress bar with rate and time left, on a terminal; nothing elsewhere. Must never write to standard output."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar


class Progress:
    """How far something is that is counted in events."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._bar: ProgressBar[str] | None = None
        self._began, self._at_first, self._now = 0.0, 0, 0

    def __enter__(self) -> Self:
        """Nothing is shown before something is known."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the line that the bar is on."""
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def show(self, total: int, done: int) -> None:
        """Show how many of all are done."""
        if self._bar is None:
            self._bar = click.progressbar(
                length=total,
                label=self.label,
                show_pos=True,
                item_show_func=lambda rate: rate,
                file=sys.stderr,
                hidden=not sys.stderr.isatty(),
            )
            self._bar.__enter__()
            self._began, self._at_first = time.monotonic(), done
        passed = time.monotonic() - self._began
        rate = f"{(done - self._at_first) / passed:,.0f} events/s" if passed > 0 else None
        self._bar.update(done - self._now, rate)
        self._now = done
