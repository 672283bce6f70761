"""The time of day as the database has it. Must never follow a host's clock once the database was asked.

What is decided on one host is compared on others. A process whose host has the wrong time would else let an overlap
last too long, or an expiry pass that is over. Between two readings time goes on by the process's steady clock; before
the first one the host's own time has to do.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class DatabaseClock:
    """Reads the time: call it."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._read_s = steady()
        self._at = datetime.now(UTC)

    def __call__(self) -> datetime:
        """Say what time it is, to within half of a round trip to the database."""
        return self._at + timedelta(seconds=self._steady() - self._read_s)

    def note(self, sent_s: float, received_s: float, at: datetime) -> None:
        """Take over what the database said, somewhere between sending and receiving."""
        self._read_s, self._at = (sent_s + received_s) / 2, at
