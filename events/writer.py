"""The group-committing writer: one per process, the only way into the log. Must never append outside its batches.

A lock taken per event costs one flush to disk per event, so callers queue and the writer sends what has queued while
its previous commit ran as one call of `append_events`: one commit, one flush, no client round trip while the log's lock
is held. A connection that dies after the send is replaced and the identical batch sent again: event ids are checked
before versions, so either copy wins once. What has queued meanwhile waits for that, and is refused at once only when
there is no other connection to be had.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import asyncpg

from events.batch import (
    MOST_EVENTS_IN_BATCH,
    Append,
    Appended,
    Outcome,
    Pending,
    first_share,
    lay_out,
    outcomes_of,
    take_batch,
)
from events.statement import Connection, load

Connect = Callable[[], Awaitable[Connection]]

APPEND: Final = load("events.statements", "append")
ENSURE_PARTITIONS: Final = load("events.statements", "ensure_partitions")
MOST_COMMANDS_QUEUED: Final = 10_000
RECONNECT_PAUSE_S: Final = 0.1
SEND_LIMIT_S: Final = 3.0
"""A connection that has not answered for so long is taken for dead: the batch is sent again over another."""
CONNECTION_LOST: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a use meets that finds its connection in the middle of being ended
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,  # what a server says that was the primary and is not any more
)
LONGEST_REASON: Final = 300


class LogUnavailableError(Exception):
    """The database cannot be reached, or too much is queued; nothing was appended."""


class OutcomeUnknownError(Exception):
    """The deadline passed with the command on its way: it may have been appended or may yet be."""


class AppendRejectedError(Exception):
    """The database refused the batch for a reason that is a defect of ours; nothing was appended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterCounts:
    """What the writer has done so far, for metrics."""

    batches: int
    events: int
    queued: int


class LogWriter:
    """Owns one connection and the task that commits batches on it."""

    def __init__(
        self, connect: Connect, *, partition_size: int = 16_000_000, on_growth: Callable[[], None] = lambda: None
    ) -> None:
        """Call `on_growth` after each batch that made the log longer."""
        self._connect = connect
        self._partition_size = partition_size
        self._on_growth = on_growth
        self._partitions_end = 0
        self._connection: Connection | None = None
        self._queue: deque[Pending] = deque()
        self._on_its_way: Sequence[Pending] = ()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._closing = False
        self._batches = 0
        self._events = 0

    async def __aenter__(self) -> Self:
        """Connect, make the partitions needed next, and start committing."""
        await self._ensure_connection()
        self._task = asyncio.create_task(self._run(), name="log-writer")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commit what is queued, then stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._expiry is not None:
            self._expiry.cancel()
        if self._connection is not None:
            with contextlib.suppress(*CONNECTION_LOST):
                await self._connection.close(timeout=5)

    @property
    def counts(self) -> WriterCounts:
        """Say what was done so far and how much waits."""
        return WriterCounts(batches=self._batches, events=self._events, queued=len(self._queue))

    async def append(self, append: Append, *, deadline_s: float = 10.0) -> Outcome:
        """Append or say why not. Raises LogUnavailableError, OutcomeUnknownError or AppendRejectedError."""
        if self._closing or len(self._queue) >= MOST_COMMANDS_QUEUED:
            raise LogUnavailableError("the log takes no more at the moment")
        loop = asyncio.get_running_loop()
        pending = Pending(append, loop.create_future(), loop.time() + deadline_s)
        self._queue.append(pending)
        self._wake.set()
        if self._expiry is None or pending.deadline < self._expiry.when():
            self._expire_at(pending.deadline)
        return await pending.answer

    async def _run(self) -> None:
        most = MOST_EVENTS_IN_BATCH
        while not (self._closing and not self._queue):
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                most = first_share(len(self._queue))
                continue
            self._on_its_way, most = take_batch(self._queue, most), MOST_EVENTS_IN_BATCH
            await self._commit(self._on_its_way)
            self._on_its_way = ()

    def _expire_at(self, deadline: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_at(deadline, self._expire)

    def _expire(self) -> None:
        """Tell those who have waited too long, and look again when the next one will have."""
        now = asyncio.get_running_loop().time()
        too_late = "the log did not take the command in time"
        unknown = "the log did not answer in time; the command may have been carried out"
        fail((p for p in self._queue if p.deadline <= now), LogUnavailableError(too_late))
        fail((p for p in self._on_its_way if p.deadline <= now), OutcomeUnknownError(unknown))
        waiting = [pending for pending in self._queue if not pending.answer.done()]
        self._queue.clear()
        self._queue.extend(waiting)
        self._expiry = None
        deadlines = [p.deadline for p in (*waiting, *self._on_its_way) if not p.answer.done()]
        if deadlines:
            self._expire_at(min(deadlines))

    async def _commit(self, batch: Sequence[Pending], *, may_be_done: bool = False) -> None:
        while any(not pending.answer.done() for pending in batch):
            try:
                connection = await self._ensure_connection()
            except Exception as error:  # noqa: BLE001 -- whatever it was, there is no connection
                self._drop_connection()
                if not may_be_done:
                    fail(batch, LogUnavailableError(f"the database cannot be reached: {type(error).__name__}"))
                    return
                fail(self._queue, LogUnavailableError("the database connection was lost"))
                await asyncio.sleep(RECONNECT_PAUSE_S)
                continue
            try:
                self._answer(batch, await self._send(connection, [pending.append for pending in batch]))
            except CONNECTION_LOST:
                may_be_done = True
                self._drop_connection()
                await asyncio.sleep(RECONNECT_PAUSE_S)
            except Exception as error:  # noqa: BLE001 -- told to its caller, and never the end of the writer
                await self._reject(batch, error, may_be_done=may_be_done)
                return
            else:
                return

    async def _send(self, connection: Connection, appends: Sequence[Append]) -> Sequence[Outcome]:
        layout = lay_out(appends)
        async with asyncio.timeout(SEND_LIMIT_S):
            row = await connection.fetchrow(APPEND.text, *layout.arguments)
        if row is None:
            raise AssertionError("append_events answers one row")
        if row["head"] + layout.events > self._partitions_end - self._partition_size // 2:
            self._partitions_end = 0
        return outcomes_of(row, appends, layout)

    async def _reject(self, batch: Sequence[Pending], error: Exception, *, may_be_done: bool) -> None:
        if may_be_done and len(batch) == 1:
            fail(batch, OutcomeUnknownError("the command was sent twice; the first may have been carried out"))
        elif isinstance(error, asyncpg.InsufficientResourcesError) and not may_be_done:
            fail(batch, LogUnavailableError(f"the database cannot take more: {type(error).__name__}"))
        elif len(batch) == 1:
            fail(batch, AppendRejectedError(reason_of(error)))
        else:
            # What can fail is validated before it is queued. Should one slip through, its neighbours do not fail.
            for pending in batch:
                await self._commit([pending], may_be_done=may_be_done)

    def _answer(self, batch: Sequence[Pending], outcomes: Sequence[Outcome]) -> None:
        self._batches += 1
        before = self._events
        for pending, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Appended) and not outcome.is_replay:
                self._events += len(pending.append.events)
            if not pending.answer.done():
                pending.answer.set_result(outcome)
        if self._events > before:
            self._on_growth()

    async def _ensure_connection(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            async with asyncio.timeout(SEND_LIMIT_S):
                self._connection = await self._connect()
        if not self._partitions_end:
            self._partitions_end = await self._connection.fetchval(ENSURE_PARTITIONS.text, self._partition_size)
        return self._connection

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None


def reason_of(error: Exception) -> str:
    """Say why the database refused, without the detail that quotes the row: it may hold a verifier."""
    message = str(error.args[0] if isinstance(error, asyncpg.PostgresError) and error.args else error)
    return f"{type(error).__name__}: {message[:LONGEST_REASON]}"


def fail(batch: Iterable[Pending], error: Exception) -> None:
    """Give every caller of a batch the same error."""
    for pending in batch:
        if not pending.answer.done():
            pending.answer.set_exception(error)
