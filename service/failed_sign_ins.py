"""Failed sign-ins: those of a member are folded in memory and written about once a minute as one event.

A failure that concerns no member is a metric and no event. A clean stop writes everything; a crash loses up to a minute
of them. Must never make a sign-in wait.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from events.batch import Append
from events.entry import new_event
from events.envelope import SYSTEM, Circumstances
from events.identifiers import new_id
from events.members import SignInFailed, stream_of_sign_ins
from events.usage import MOST_ADDRESSES
from events.writer import LogWriter
from projections.runner import happens

LOOK_EVERY_S: Final = 5.0
MOST_MEMBERS: Final = 10_000
LAST_PATIENCE_S: Final = 5.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Failures:
    """The failed sign-ins of one member since the last event."""

    organization: str
    count: int
    first_at: datetime
    last_at: datetime
    addresses: dict[str, None] = field(default_factory=dict)


class FailedSignIns:
    """Owns the buffer of failures and the outbox of what is being written."""

    def __init__(
        self,
        writer: LogWriter,
        *,
        clock: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
        window: timedelta = timedelta(minutes=1),
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._random_bytes = random_bytes
        self._window = window
        self._buffer: dict[str, Failures] = {}
        self._outbox: deque[Append] = deque()
        self._stopping = asyncio.Event()

    def record(self, member_id: str, organization: str, address: str | None) -> None:
        """Count one failure now: a dictionary update."""
        now = self._clock()
        failures = self._buffer.get(member_id)
        if failures is None:
            if len(self._buffer) >= MOST_MEMBERS:
                log.warning("sign_in_failure_not_recorded", member=member_id)
                return
            failures = self._buffer[member_id] = Failures(organization, 0, now, now)
        failures.count += 1
        failures.last_at = now
        if address is not None and len(failures.addresses) < MOST_ADDRESSES:
            failures.addresses[address] = None

    async def flush(self, *, everything: bool = False) -> None:
        """Write the failures that began a minute ago, or all. Raises the writer's errors, losing nothing."""
        now = self._clock()
        due = [one for one, known in self._buffer.items() if everything or known.first_at + self._window <= now]
        for member_id in due:
            self._outbox.append(self._append(member_id, self._buffer.pop(member_id)))
        while self._outbox:
            # What was sent once keeps its event id, so sending it again after an unknown outcome counts it once.
            await self._writer.append(self._outbox[0])
            self._outbox.popleft()

    async def run(self) -> None:
        """Write what is due, until told to stop; then everything."""
        while not self._stopping.is_set():
            await happens(self._stopping, within_s=LOOK_EVERY_S)
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 -- whatever it was, it is kept and tried again
                log.warning("sign_in_failures_not_written", error=type(error).__name__, members=len(self._buffer))
        async with asyncio.timeout(LAST_PATIENCE_S):
            await self.flush(everything=True)

    def stop(self) -> None:
        """Let `run` write everything and end."""
        self._stopping.set()

    def _append(self, member_id: str, failures: Failures) -> Append:
        event = SignInFailed(
            member_id=member_id,
            count=failures.count,
            first_at=failures.first_at,
            last_at=failures.last_at,
            ip_addresses=tuple(failures.addresses),
        )
        circumstances = Circumstances(organization=failures.organization, actor=SYSTEM, at=failures.last_at)
        event_id = new_id("evt", self._clock(), self._random_bytes)
        placed = (stream_of_sign_ins(member_id), None)
        new = new_event(event, circumstances, event_id=event_id, placed=placed, random_bytes=self._random_bytes)
        return Append(events=(new,), expected=None)


@contextlib.asynccontextmanager
async def recording_failures(failed: FailedSignIns) -> AsyncIterator[None]:
    """Write failed sign-ins; when left, all of them, or say that they were lost."""
    task = asyncio.create_task(failed.run(), name="failed-sign-ins")
    try:
        yield
    finally:
        failed.stop()
        try:
            await task
        except Exception as error:  # noqa: BLE001 -- whatever it was, the rest is still to be closed in order
            log.error("sign_in_failures_lost", error=type(error).__name__)  # noqa: TRY400 -- its kind says it all
