"""Usage: uses are folded in memory and flushed to the log about once a second. Must never make a verification wait.

The first use of a secret is written with the next flush, further uses of it as one `TokenUsed` per window. Memory is
bounded: past the bound uses go uncounted and the log says so with a `UsageGap`. A clean stop flushes everything; what a
crash loses is noticed by the markers in `usage_buffers`, which another process turns into one gap each.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from events.entry import NewEvent, new_event
from events.envelope import SYSTEM, Actor, ActorKind, Circumstances
from events.identifiers import derived_id, new_id
from events.statement import Pool, load
from events.usage import MOST_ADDRESSES, GapCause, TokenUsed, UsageEvent, UsageGap, stream_of
from events.writer import Append, LogWriter
from service.verify import Credential

MARK_BUFFERS: Final = load("service.statements", "mark_buffers")
CLEAR_BUFFERS: Final = load("service.statements", "clear_buffers")
FIND_ORPHANS: Final = load("service.statements", "find_orphaned_buffers")
FLUSH_EVERY_S: Final = 1.0
MOST_BUFFERED: Final = 100_000
EVENTS_AT_ONCE: Final = 200
GATHER_S: Final = 0.05
RENEW_AFTER: Final = timedelta(seconds=10)
ORPHANED_AFTER: Final = timedelta(seconds=60)
NEVER: Final = datetime.min.replace(tzinfo=UTC)
SWEEP_EVERY_FLUSHES: Final = 15

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
    """How uses are folded: the window in seconds; 0 writes the uses of every flush at once."""

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
        self._buffer: dict[tuple[str, int], Uses] = {}
        self._quiet_until: dict[tuple[str, int], datetime] = {}
        self._overflow: dict[str, datetime] = {}
        self._outbox: deque[Append] = deque()
        self._marked: dict[str, datetime] = {}
        self._completed: dict[tuple[str, int], Credential] = {}
        self._wake = asyncio.Event()
        self._closing = False

    @property
    def buffered(self) -> int:
        """Count the secrets whose uses wait to be written."""
        return len(self._buffer)

    def record(self, credential: Credential, address: str | None) -> None:
        """Count one use now: a dictionary update."""
        now = self._settings.clock()
        key = (credential.token_id, credential.generation)
        uses = self._buffer.get(key)
        if uses is None:
            if len(self._buffer) >= MOST_BUFFERED:
                self._overflow.setdefault(credential.organization, now)
                return
            uses = self._buffer[key] = Uses(credential, 0, now, now)
            if credential.organization not in self._marked or key not in self._quiet_until:
                self._wake.set()
        uses.count += 1
        uses.last_used_at = now
        if credential.completes_rotation:
            self._completed[key] = credential
            self._wake.set()
        if address is not None and len(uses.addresses) < MOST_ADDRESSES:
            uses.addresses[address] = None

    async def run(self) -> None:
        """Flush when something new was used and once a second, until told to stop; then write everything."""
        flushes = 0
        while not self._closing:
            await self._pause()
            try:
                await self.flush()
                if flushes % SWEEP_EVERY_FLUSHES == 0:
                    await self.sweep_orphans()
            except Exception as error:  # noqa: BLE001 -- whatever it was, it is kept and tried again
                log.warning("usage_flush_failed", error=type(error).__name__, buffered=len(self._buffer))
            flushes += 1
        await self.flush(everything=True)

    def stop(self) -> None:
        """Let `run` write everything and end; call when no use is recorded any more."""
        self._closing = True
        self._wake.set()

    async def flush(self, *, everything: bool = False) -> None:
        """Write the uses that are due, or all; what stays buffered is marked. Raises the writer's errors, losing none.

        What was once in the outbox keeps its event ids, so sending it again after an unknown outcome counts it once.
        """
        await self._send()
        now = self._settings.clock()
        self._fill_outbox(now, everything=everything)
        await self._mark(now)
        await self._send()
        await self._unmark()
        while self._completed:
            await self._settings.complete_rotation(next(iter(self._completed.values())))
            del self._completed[next(iter(self._completed))]

    async def sweep_orphans(self) -> None:
        """Turn the markers of processes that are gone into one `UsageGap` each."""
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

    def _fill_outbox(self, now: datetime, *, everything: bool) -> None:
        self._quiet_until = {key: until for key, until in self._quiet_until.items() if until > now}
        due = [key for key in self._buffer if everything or key not in self._quiet_until]
        events: list[tuple[str, UsageEvent]] = [
            (name, UsageGap(organization_id=name, cause=GapCause.OVERFLOW, began_at=began_at, ended_at=now))
            for name, began_at in self._overflow.items()
        ]
        self._overflow.clear()
        taken = [self._buffer.pop(key) for key in due]
        events += [(uses.credential.organization, token_used(uses)) for uses in taken]
        if self._settings.window_s:
            window = timedelta(seconds=self._settings.window_s)
            self._quiet_until.update((key, now + window) for key in due)
        new_ids = (new_id("evt", now, self._settings.random_bytes) for _ in events)
        written = [self._written(*event, event_id) for event, event_id in zip(events, new_ids, strict=True)]
        for start in range(0, len(written), EVENTS_AT_ONCE):
            self._outbox.append(Append(events=tuple(written[start : start + EVENTS_AT_ONCE]), expected=None))

    async def _send(self) -> None:
        while self._outbox:
            await self._writer.append(self._outbox[0])
            self._outbox.popleft()

    async def _mark(self, now: datetime) -> None:
        buffered = {uses.credential.organization for uses in self._buffer.values()}
        stale = [name for name in buffered if self._marked.get(name, NEVER) + RENEW_AFTER <= now]
        if stale:
            await self._pool.execute(MARK_BUFFERS.text, self._settings.process, stale)
            self._marked.update(dict.fromkeys(stale, now))

    async def _unmark(self) -> None:
        buffered = {uses.credential.organization for uses in self._buffer.values()}
        empty = [name for name in self._marked if name not in buffered]
        if empty:
            await self._pool.execute(CLEAR_BUFFERS.text, self._settings.process, empty)
            for name in empty:
                del self._marked[name]

    def _written(self, organization: str, event: UsageEvent, event_id: str) -> NewEvent:
        actor, at = SYSTEM, self._settings.clock()
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
