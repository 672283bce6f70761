"""Usage: uses are folded in memory and flushed to the log about once a second. Must never make a verification wait.

The first use of a secret is written with the next flush and opens a window; further uses of it are written as one
`TokenUsed` when that ends. Memory is bounded: past the bound uses go uncounted and the log says so with a `UsageGap`. A
clean stop flushes everything; what a crash loses is noticed by the markers in `usage_buffers`, which another process
turns into one gap each.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final

import structlog

from events.batch import Append
from events.entry import NewEvent, new_event
from events.envelope import SYSTEM, Actor, ActorKind, Circumstances
from events.identifiers import derived_id, new_id
from events.statement import Pool, load
from events.usage import MOST_ADDRESSES, GapCause, TokenUsed, UsageEvent, UsageGap, stream_of
from events.writer import LogWriter
from service.credential import Credential

MARK_BUFFERS: Final = load("service.statements", "mark_buffers")
CLEAR_BUFFERS: Final = load("service.statements", "clear_buffers")
FIND_ORPHANS: Final = load("service.statements", "find_orphaned_buffers")
FLUSH_EVERY_S: Final = 1.0
MOST_BUFFERED: Final = 100_000
EVENTS_AT_ONCE: Final = 100
GATHER_S: Final = 0.05
RENEW_AFTER: Final = timedelta(seconds=10)
ORPHANED_AFTER: Final = timedelta(seconds=60)
NEVER: Final = datetime.min.replace(tzinfo=UTC)
SWEEP_EVERY: Final = timedelta(seconds=15)
LAST_PATIENCE_S: Final = 10.0
LAST_PAUSE_S: Final = 0.25

Key = tuple[str, int, int]
"""A token's id, the generation of its secret, and 0 or, where each use is written, a number."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Uses:
    """The uses of one secret since it was last flushed, and until when the next flush of it waits."""

    credential: Credential
    count: int
    first_used_at: datetime
    last_used_at: datetime
    addresses: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSettings:
    """How uses are folded: the window in seconds; 0 folds nothing and writes every use."""

    window_s: float = 60.0
    process: str
    complete_rotation: Callable[[Credential], Awaitable[object]]
    """Called once a process with the first use of a rotated token's new secret."""
    random_bytes: Callable[[int], bytes]
    clock: Callable[[], datetime]


class UsageRecorder:
    """Owns the buffer of uses and the outbox of what is being written."""

    def __init__(self, pool: Pool, writer: LogWriter, settings: UsageSettings) -> None:
        self._pool = pool
        self._writer = writer
        self._settings = settings
        self._clock = settings.clock
        self._window = timedelta(seconds=settings.window_s)
        self._due: dict[Key, Uses] = {}
        self._waiting: dict[Key, Uses] = {}
        self._windows: dict[Key, datetime] = {}
        """Until when each secret's uses wait, the first to end first."""
        self._number = 0
        self._overflow: dict[str, datetime] = {}
        self._outbox: deque[Append] = deque()
        self._flushing = asyncio.Lock()
        self._held_until: dict[str, datetime] = {}
        """Until when an organization's uses may be in memory, by what is known now."""
        self._marked: dict[str, datetime] = {}
        self._swept_at = NEVER
        self._completed: dict[tuple[str, int], Credential] = {}
        self._wake = asyncio.Event()
        self._closing = False

    @property
    def buffered(self) -> int:
        """Count the secrets whose uses wait to be written."""
        return len(self._due) + len(self._waiting)

    def record(self, credential: Credential, address: str | None) -> None:
        """Count one use now: a dictionary update."""
        now = self._clock()
        if not self._window:
            self._number += 1
        key = (credential.token_id, credential.generation, self._number)
        uses = self._waiting.get(key) or self._due.get(key)
        if uses is None:
            if self.buffered >= MOST_BUFFERED:
                self._overflow.setdefault(credential.organization, now)
                return
            buffer = self._waiting if key in self._windows else self._due
            uses = buffer[key] = Uses(credential, 0, now, now)
            if buffer is self._due or credential.organization not in self._marked:
                self._wake.set()
        uses.count += 1
        uses.last_used_at = now
        if credential.completes_rotation:
            self._completed[credential.token_id, credential.generation] = credential
            self._wake.set()
        if address is not None and len(uses.addresses) < MOST_ADDRESSES:
            uses.addresses[address] = None

    async def run(self) -> None:
        """Flush when something new was used and once a second, until told to stop; then write everything."""
        while not self._closing:
            await self._pause()
            try:
                await self.flush()
                if self._swept_at + SWEEP_EVERY <= self._clock():
                    await self.sweep_orphans()
            except Exception as error:  # noqa: BLE001 -- whatever it was, it is kept and tried again
                log.warning("usage_flush_failed", error=type(error).__name__, buffered=self.buffered)
        await self._flush_at_last()

    def stop(self) -> None:
        """Let `run` write everything and end; call when no use is recorded any more."""
        self._closing = True
        self._wake.set()

    async def flush(self, *, everything: bool = False) -> None:
        """Write the uses that are due, or all; what stays buffered is marked. Raises the writer's errors, losing none.

        What was once in the outbox keeps its event ids, so sending it again after an unknown outcome counts it once.
        """
        async with self._flushing:  # two that sent the same would each take something off the outbox
            await self._send()
            now = self._clock()
            await self._fill_outbox(now, everything=everything)
            await self._mark(now)
            await self._send()
            await self._unmark(now, everything=everything)
            while self._completed:
                key, credential = next(iter(self._completed.items()))
                await self._settings.complete_rotation(credential)
                del self._completed[key]

    async def sweep_orphans(self) -> None:
        """Turn the markers of processes that are gone into one `UsageGap` each."""
        self._swept_at = self._clock()
        for row in await self._pool.fetch(FIND_ORPHANS.text, ORPHANED_AFTER):
            gap = UsageGap(
                organization_id=row["organization"],
                cause=GapCause.CRASH,
                began_at=row["buffered_from"],
                ended_at=row["seen_at"] + RENEW_AFTER,
            )
            event_id = derived_id("evt", "usage-gap", row["process"], row["organization"], str(row["buffered_from"]))
            await self._writer.append(
                Append(events=(self._written(row["organization"], gap, event_id),), expected=None)
            )
            await self._pool.execute(CLEAR_BUFFERS.text, row["process"], [row["organization"]])

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_EVERY_S):
                await self._wake.wait()
                # What came together is written together.
                await asyncio.sleep(GATHER_S)
        self._wake.clear()

    async def _flush_at_last(self) -> None:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + LAST_PATIENCE_S
        while True:
            try:
                await self.flush(everything=True)
            except Exception:
                if loop.time() > give_up_at:
                    raise
                await asyncio.sleep(LAST_PAUSE_S)
            else:
                return

    async def _fill_outbox(self, now: datetime, *, everything: bool) -> None:
        """Write what is due as events, some at a time: keys are verified in between."""
        gaps = [
            UsageGap(organization_id=name, cause=GapCause.OVERFLOW, began_at=began_at, ended_at=now)
            for name, began_at in self._overflow.items()
        ]
        self._overflow.clear()
        due: list[Uses | UsageGap] = [*gaps, *self._taken(now, everything=everything)]
        for start in range(0, len(due), EVENTS_AT_ONCE):
            written = [self._event(one, now) for one in due[start : start + EVENTS_AT_ONCE]]
            self._outbox.append(Append(events=tuple(written), expected=None))
            await asyncio.sleep(0)

    def _event(self, due: Uses | UsageGap, now: datetime) -> NewEvent:
        event_id = new_id("evt", now, self._settings.random_bytes)
        if isinstance(due, UsageGap):
            return self._written(due.organization_id, due, event_id)
        return self._written(due.credential.organization, token_used(due), event_id)

    def _taken(self, now: datetime, *, everything: bool) -> list[Uses]:
        """Take what is due, and open a window for each secret of it."""
        # Listed before they are deleted: to find the first of a dictionary again and again looks at all that is gone.
        for key in [*takewhile(lambda key: everything or self._windows[key] <= now, self._windows)]:
            del self._windows[key]
            if (waited := self._waiting.pop(key, None)) is not None:
                self._due[key] = waited
        taken, self._due = self._due, {}
        for key, uses in taken.items():
            self._held_until[uses.credential.organization] = now + max(self._window, RENEW_AFTER)
            if self._window and len(self._windows) < MOST_BUFFERED:
                self._windows[key] = now + self._window
        return list(taken.values())

    async def _send(self) -> None:
        while self._outbox:
            await self._writer.append(self._outbox[0])
            self._outbox.popleft()

    async def _mark(self, now: datetime) -> None:
        stale = [name for name in self._held_until if self._marked.get(name, NEVER) + RENEW_AFTER <= now]
        if stale:
            await self._pool.execute(MARK_BUFFERS.text, self._settings.process, stale)
            self._marked.update(dict.fromkeys(stale, now))

    async def _unmark(self, now: datetime, *, everything: bool) -> None:
        empty = [name for name, until in self._held_until.items() if everything or until <= now]
        if empty:
            await self._pool.execute(CLEAR_BUFFERS.text, self._settings.process, empty)
            for name in empty:
                del self._held_until[name]
                self._marked.pop(name, None)

    def _written(self, organization: str, event: UsageEvent, event_id: str) -> NewEvent:
        actor, at = SYSTEM, self._clock()
        if isinstance(event, TokenUsed):
            actor, at = Actor(kind=ActorKind.TOKEN, id=event.token_id), event.last_used_at
        circumstances = Circumstances(organization=organization, actor=actor, at=at)
        placed = (stream_of(event), None)
        return new_event(
            event, circumstances, event_id=event_id, placed=placed, random_bytes=self._settings.random_bytes
        )


def token_used(uses: Uses) -> TokenUsed:
    """Say in one event how a secret was used."""
    return TokenUsed(
        token_id=uses.credential.token_id,
        generation=uses.credential.generation,
        hint=uses.credential.hint,
        count=uses.count,
        first_used_at=uses.first_used_at,
        last_used_at=uses.last_used_at,
        ip_addresses=tuple(uses.addresses),
    )


@contextlib.asynccontextmanager
async def recording(usage: UsageRecorder) -> AsyncIterator[None]:
    """Write what is used; when left, all of it, or say that it was lost."""
    task = asyncio.create_task(usage.run(), name="usage")
    try:
        yield
    finally:
        usage.stop()
        try:
            await task
        except Exception as error:  # noqa: BLE001 -- whatever it was, the rest is still to be closed in order
            log.error("usage_lost", error=type(error).__name__)  # noqa: TRY400 -- its kind is all there is to say
