"""Keeps the trees of the log: grows them, signs the operator's once a second, and watches for a restore.

Runs in each process; the database sees to it that one at a time grows. Must never harm anything else: what stops it is
told by `/readyz?verbose` and in the log of the process, and it tries again.
"""

import asyncio
import contextlib
import time
from typing import Final, Self

import asyncpg
import structlog

from events.tree_growth import TreesStoppedError, grow
from events.trees import OPERATOR, root_at
from projections.runner import stopped
from service.availability import UNAVAILABLE
from service.generations import settled
from service.host_checkpoint import FILE_NAME, HostCheckpoint, HostCheckpointError
from service.signing import REASONS, NotSignedError, SignedCheckpoint, Signer, TreeStatus

OF_A_ROUND: Final = 0.9
"""How long after one checkpoint another is due: a little less than a round, so that not every other one is left out."""
LAST_ROUND_S: Final = 1.0
AWAY: Final[tuple[type[Exception], ...]] = (*UNAVAILABLE, asyncpg.PostgresError)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class TreeKeeper:
    """Owns the task that keeps the trees."""

    def __init__(self, signer: Signer, host: HostCheckpoint, *, round_s: float = 1.0) -> None:
        self._signer = signer
        self._pool = signer.pool
        self._host = host
        self._round_s = round_s
        self._task: asyncio.Task[None] | None = None
        self._refused: str | None = None
        self._is_behind = False
        """There is more to take in than there was time for."""
        self.problem: str | None = None
        """Why the trees do not grow or are not signed, None while they are; anybody may read it, so it names nobody."""
        self.lag = 0
        """How many events the operator's tree lacked when it was last looked at."""
        self.signed_size = 0
        """How many events the newest checkpoint holds."""

    async def __aenter__(self) -> Self:
        """Start keeping them."""
        self._task = asyncio.create_task(self._run(), name="trees")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, after what this process appended last is signed, if the database is quick."""
        await stopped(self._task)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_ROUND_S):
                await self._try(at_once=True)

    async def _run(self) -> None:
        while True:
            await self._try(at_once=False)
            await asyncio.sleep(0 if self._is_behind else self._round_s)

    async def _try(self, *, at_once: bool) -> None:
        problem: str | None = None
        try:
            await self._round(at_once=at_once)
            problem = self._refused
        except TreesStoppedError as error:
            problem = f"the trees of the log do not grow: {error}"
        except NotSignedError as error:
            problem = str(error)
        except HostCheckpointError:
            problem = "the database is not the one that this data directory belongs to"
        except AWAY as error:
            problem = f"the trees of the log cannot be kept ({type(error).__name__})"
        except Exception:
            problem = "the trees of the log cannot be kept, for a defect that the log of the process shows"
            if problem != self.problem:
                log.exception("trees_defect")
        if problem is not None and problem != self.problem:
            log.warning("trees_not_kept", problem=problem)
        elif problem is None and self.problem is not None:
            log.info("trees_kept_again")
        self.problem = problem

    async def _round(self, *, at_once: bool) -> None:
        """Do what there is to do: one statement where there is nothing."""
        self._is_behind = False
        status = await self._status()
        if await self._is_restored(status):
            status = await self._status()
        if status.size != status.head:
            await self._grow(status.head)
            status = await self._status()
        newest = status.newest
        is_due = at_once or newest is None or not 0 <= status.signed_s_ago < OF_A_ROUND * self._round_s
        if is_due and status.size > 0 and not self._signer.is_signed(status):
            newest = await self._sign(status)
        await self._keep(newest)

    async def _status(self) -> TreeStatus:
        status = await self._signer.status()
        if status is None:
            raise AssertionError("the operator's tree has no row")
        self.lag = status.head - status.size
        await self._signer.follow_generation(status.generation)
        return status

    async def _grow(self, head: int) -> None:
        """Grow to what the head was, for it may never stand still, and no longer than a round: that much is signed."""
        began = time.monotonic()
        while (grown := await grow(self._pool)) is not None and grown.size < head:
            self.lag = grown.head - grown.size
            if time.monotonic() - began >= self._round_s:
                self._is_behind = True
                return

    async def _sign(self, status: TreeStatus) -> SignedCheckpoint | None:
        if status.unsafe == "may_not_see_standbys":  # it will not pass, so there is no point in waiting
            raise NotSignedError(f"no checkpoint is signed: {REASONS[status.unsafe]}")
        return await self._signer.sign()

    async def _is_restored(self, status: TreeStatus) -> bool:
        """Look whether the log is still the one that this host knows; where it is not, another generation is begun."""
        known, origin = self._host.known, self._host.origin
        if known is None or origin is None or origin.generation < status.generation:
            return False
        if origin.generation == status.generation and status.head >= known.size:
            return False
        self._signer.go_on_as(await settled(self._pool, self._host))
        return True

    async def _keep(self, newest: SignedCheckpoint | None) -> None:
        """Keep a newer checkpoint outside the database, after a look whether it goes on from the one before."""
        if newest is None:
            return
        self.signed_size = newest.size
        known, origin = self._host.known, self._host.origin
        generation = self._signer.installation.generation
        if known is not None and origin is not None and origin.generation == generation:
            if newest.size <= known.size:
                return
            if await root_at(self._pool, OPERATOR, known.size) != known.root:
                self._signer.go_on_as(await settled(self._pool, self._host))
                return
        await asyncio.to_thread(self._write, newest.text)

    def _write(self, text: str) -> None:
        try:
            self._host.keep(text)
            self._refused = None
        except OSError as error:
            self._refused = f"{FILE_NAME} in the data directory cannot be written: {error.strerror}"
