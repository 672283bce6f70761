"""Keeps the read models that follow the log up to date. Must never write a row without its checkpoint.

A batch and its checkpoint are one transaction, which holds the checkpoint's row: that lock is the worker's lease, and
the database ends it with the transaction, so any number of processes may run this and each event is folded once.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final, Self

import asyncpg
import structlog

from events.envelope import Position
from events.statement import Pool, load
from projections.fold import Advance, Failure, advance
from projections.projection import AnyProjection
from projections.read_models import FOLLOWING

LEASE_CHECKPOINT: Final = load("projections.statements.read_models", "lease_checkpoint")
SAVE_CHECKPOINT: Final = load("projections.statements.read_models", "save_checkpoint")
READ_POSITIONS: Final = load("projections.statements.read_models", "read_positions")
LONGEST_PAUSE_S: Final = 2.0
DATABASE_ERRORS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def advance_once(pool: Pool, projection: AnyProjection, *, batch: int) -> Advance | None:
    """Fold the next events and save the checkpoint; None when there are none or another worker is at it."""
    async with pool.acquire() as connection, connection.transaction():
        leased = await connection.fetchrow(LEASE_CHECKPOINT.text, projection.name)
        if leased is None:
            return None
        after, head = Position(leased["position"]), leased["head"]
        until = Position(min(after + batch, head))
        advanced = await advance(connection, projection, after=after, until=until)
        saved = await connection.fetchval(SAVE_CHECKPOINT.text, projection.name, after, advanced.position)
        if saved is None:
            raise AssertionError(f"the checkpoint of {projection.name} moved while its row was locked")
        return advanced


class CatchUp:
    """Owns the task that follows the log for each read model."""

    def __init__(
        self, pool: Pool, *, projections: Sequence[AnyProjection] = FOLLOWING, poll_s: float = 0.25, batch: int = 1000
    ) -> None:
        self._pool = pool
        self._projections = projections
        self._poll_s = poll_s
        self._batch = batch
        self._woken = {projection.name: asyncio.Event() for projection in projections}
        self._progressed = asyncio.Event()
        self._failures: dict[str, Failure] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start following the log."""
        self._task = asyncio.create_task(self._run(), name="read-models")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; a batch on its way is rolled back and folded again by whoever comes next."""
        await stopped(self._task)

    def wake(self) -> None:
        """Say that there may be more to fold."""
        for woken in self._woken.values():
            woken.set()

    @property
    def stopped_at(self) -> dict[str, Position]:
        """Name the read models that an event stopped, each with that event's position."""
        return {name: failure.position for name, failure in self._failures.items()}

    async def position(self, name: str) -> Position:
        """Read how far a read model is; one written within the append is at the head of the log."""
        return (await self._positions())[name][0]

    async def lag(self) -> dict[str, int]:
        """Read how many events each read model is behind."""
        return {name: head - position for name, (position, head) in (await self._positions()).items()}

    async def wait_for(self, name: str, position: Position, *, timeout_s: float) -> bool:
        """Wait until a read model holds a position of the whole log; False when it did not within the time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    progressed = self._progressed
                    if await self.position(name) >= position:
                        return True
                    self.wake()
                    await happens(progressed, within_s=self._poll_s)
        return False

    async def _positions(self) -> dict[str, tuple[Position, Position]]:
        rows = await self._pool.fetch(READ_POSITIONS.text)
        return {row["name"]: (Position(row["position"]), Position(row["head"])) for row in rows}

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for projection in self._projections:
                tasks.create_task(self._follow(projection), name=f"read-model-{projection.name}")

    async def _follow(self, projection: AnyProjection) -> None:
        pause_s = self._poll_s
        while True:
            self._woken[projection.name].clear()
            try:
                advanced = await advance_once(self._pool, projection, batch=self._batch)
            except DATABASE_ERRORS as error:
                log.warning("read model cannot be written", read_model=projection.name, error=repr(error))
            else:
                self._report(projection, advanced)
                if advanced is None:
                    await happens(self._woken[projection.name], within_s=self._poll_s)
                if advanced is None or advanced.failure is None:
                    pause_s = self._poll_s
                    continue
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _report(self, projection: AnyProjection, advanced: Advance | None) -> None:
        if advanced is None:
            return
        self._progressed.set()
        self._progressed = asyncio.Event()
        failure = advanced.failure
        known = self._failures.pop(projection.name, None)
        if failure is None:
            return
        self._failures[projection.name] = failure
        if known is None or known.position != failure.position:
            log.error(
                "read model is stopped by an event",
                read_model=projection.name,
                position=failure.position,
                entry=failure.entry.decode(),
                exc_info=failure.error,
            )


async def happens(event: asyncio.Event, *, within_s: float) -> None:
    """Wait until an event is set, but no longer than that."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()


async def stopped(task: asyncio.Task[None] | None) -> None:
    """Cancel a task, if it was begun, and wait for its end."""
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
