"""The group-committing writer: one per process, the only way into the log. Must never append outside its batches.

A lock taken per event costs one flush to disk per event, so callers queue and the writer sends what has queued while
its previous commit ran as one call of `append_events`: one commit, one flush, no client round trip while the log's lock
is held. A connection that dies after the send is replaced and the identical batch sent again: event ids are checked
before versions, so either copy wins once.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import asyncpg
import orjson

from events.entry import NewEvent
from events.envelope import OrganizationPosition, Position, StreamId, Version
from events.statement import Connection, load

Connect = Callable[[], Awaitable[Connection]]

APPEND: Final = load("events.statements", "append")
ENSURE_PARTITIONS: Final = load("events.statements", "ensure_partitions")
MOST_EVENTS_IN_BATCH: Final = 128
MOST_COMMANDS_QUEUED: Final = 10_000
RECONNECT_PAUSE_S: Final = 0.1
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
class Append:
    """Events that are appended together or not at all, and the rows that go with them."""

    events: tuple[NewEvent, ...]
    expected: tuple[StreamId, Version] | None
    """The stream decided on and the version it was decided at; None for what is observed, not decided."""
    acting: str | None = None
    """The id of the principal whose authority this needs, checked again within the append."""
    restricts: frozenset[str] = frozenset()
    """Ids of principals that may do less afterwards: nothing of theirs shares a batch behind this."""
    companions: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Rows for each companion by name, written in the same transaction if the events are."""

    def __post_init__(self) -> None:
        """Refuse what no batch could carry. Raises ValueError."""
        if not self.events:
            raise ValueError("an append holds at least one event")
        if self.expected is not None and len({event.organization for event in self.events}) > 1:
            raise ValueError("what is decided together belongs to one organization")
        for number, event in enumerate(self.events, start=1):
            place = (event.stream, None) if self.expected is None else (self.expected[0], self.expected[1] + number)
            if (event.stream, event.version) != place:
                raise ValueError(f"event {number} is not placed where it is expected: at {place[1]} of {place[0]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """The events are in the log, durably; the positions are the last one's.

    Of a replay of what several organizations' tokens were seen doing, `organization_position` says nothing.
    """

    position: Position
    organization_position: OrganizationPosition
    is_replay: bool
    """The first event's id was in the log before: an earlier attempt won."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionConflict:
    """The stream has moved on: decide again."""

    version: Version


@dataclass(frozen=True, slots=True)
class ActorRestricted:
    """The acting principal may no longer act."""


Outcome = Appended | VersionConflict | ActorRestricted


@dataclass(slots=True)
class Pending:
    """A caller's append and where its answer goes."""

    append: Append
    answer: asyncio.Future[Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterCounts:
    """What the writer has done so far, for metrics."""

    batches: int
    events: int
    queued: int


class LogWriter:
    """Owns one connection and the task that commits batches on it."""

    def __init__(self, connect: Connect, *, partition_size: int = 16_000_000) -> None:
        self._connect = connect
        self._partition_size = partition_size
        self._partitions_end = 0
        self._connection: Connection | None = None
        self._queue: deque[Pending] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
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
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        pending = Pending(append, answer)
        self._queue.append(pending)
        self._wake.set()
        try:
            async with asyncio.timeout(deadline_s):
                return await answer
        except TimeoutError:
            with contextlib.suppress(ValueError):
                self._queue.remove(pending)
                raise LogUnavailableError("the log did not take the command in time") from None
            raise OutcomeUnknownError("the log did not answer in time; the command may have been carried out") from None

    async def _run(self) -> None:
        while not (self._closing and not self._queue):
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = take_batch(self._queue)
            if batch:
                await self._commit(batch)

    async def _commit(self, batch: list[Pending], *, may_be_done: bool = False) -> None:
        while any(not pending.answer.done() for pending in batch):
            try:
                connection = await self._ensure_connection()
            except Exception as error:  # noqa: BLE001 -- whatever it was, there is no connection
                await self._drop_connection()
                if not may_be_done:
                    fail(batch, LogUnavailableError(f"the database cannot be reached: {type(error).__name__}"))
                    return
                await self._pause()
                continue
            try:
                row = await connection.fetchrow(APPEND.text, *batch_arguments([pending.append for pending in batch]))
            except CONNECTION_LOST:
                may_be_done = True
                await self._drop_connection()
                await self._pause()
            except Exception as error:  # noqa: BLE001 -- told to its caller, and never the end of the writer
                await self._reject(batch, error, may_be_done=may_be_done)
                return
            else:
                self._answer(batch, row)
                return

    async def _pause(self) -> None:
        fail(self._queue, LogUnavailableError("the database connection was lost"))
        await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _reject(self, batch: list[Pending], error: Exception, *, may_be_done: bool) -> None:
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

    def _answer(self, batch: list[Pending], row: asyncpg.Record | None) -> None:
        if row is None:
            raise AssertionError("append_events answers one row")
        self._batches += 1
        for number, pending in enumerate(batch):
            outcome = outcome_of(row, number, pending.append)
            if isinstance(outcome, Appended) and not outcome.is_replay:
                self._events += len(pending.append.events)
            if not pending.answer.done():
                pending.answer.set_result(outcome)
        head = max((position for position in row["position"] if position is not None), default=0)
        if head > self._partitions_end - self._partition_size // 2:
            self._partitions_end = 0

    async def _ensure_connection(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
        if not self._partitions_end:
            self._partitions_end = await self._connection.fetchval(ENSURE_PARTITIONS.text, self._partition_size)
        return self._connection

    async def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None


def take_batch(queue: deque[Pending]) -> list[Pending]:
    """Take what can share a batch, in order: one command a stream and event id, none whose actor an earlier restricts.

    What cannot share it stays at the front of the queue; what nobody waits for any more is dropped unsent.
    """
    batch: list[Pending] = []
    held_back: list[Pending] = []
    taken: set[str] = set()
    restricted: set[str] = set()
    events = 0
    while queue and events < MOST_EVENTS_IN_BATCH:
        pending = queue.popleft()
        if pending.answer.done():
            continue
        append = pending.append
        keys = {append.events[0].event_id} | ({append.expected[0]} if append.expected else set())
        if keys & taken or append.acting in restricted:
            held_back.append(pending)
        else:
            batch.append(pending)
            events += len(append.events)
        taken |= keys
        restricted |= append.restricts
    queue.extendleft(reversed(held_back))
    return batch


def batch_arguments(batch: Sequence[Append]) -> list[object]:
    """Lay a batch out as the arguments of `append_events`: columns of commands, columns of events, companion rows."""
    events = [(number, event) for number, append in enumerate(batch, start=1) for event in append.events]
    companions: dict[str, list[dict[str, Any]]] = {}
    for number, append in enumerate(batch, start=1):
        for name, rows in append.companions.items():
            companions.setdefault(name, []).extend({**row, "command": number} for row in rows)
    return [
        [append.events[0].event_id for append in batch],
        [append.expected[0] if append.expected else None for append in batch],
        [append.expected[1] if append.expected else None for append in batch],
        [append.acting for append in batch],
        [number for number, _ in events],
        [event.event_id for _, event in events],
        [event.is_usage for _, event in events],
        [event.stream for _, event in events],
        [event.version for _, event in events],
        [event.type for _, event in events],
        [event.organization for _, event in events],
        [event.subject for _, event in events],
        [event.actor for _, event in events],
        [event.occurred_at for _, event in events],
        [event.entry for _, event in events],
        sorted(companions),  # in a fixed order, which the companions may rely on
        [orjson.dumps(companions[name]).decode() for name in sorted(companions)],
    ]


def outcome_of(row: asyncpg.Record, number: int, append: Append) -> Outcome:
    """Read one command's outcome from the answer's arrays."""
    match row["outcome"][number]:
        case 0 | 1 as replay:
            behind = len(append.events) - 1 if replay else 0  # a replay is found by its first event; the rest follow it
            return Appended(
                position=Position(row["position"][number] + behind),
                organization_position=OrganizationPosition(row["organization_position"][number] + behind),
                is_replay=bool(replay),
            )
        case 2:
            return VersionConflict(version=Version(row["version"][number]))
        case _:
            return ActorRestricted()


def reason_of(error: Exception) -> str:
    """Say why the database refused, without the detail that quotes the row: it may hold a verifier."""
    message = str(error.args[0] if isinstance(error, asyncpg.PostgresError) and error.args else error)
    return f"{type(error).__name__}: {message[:LONGEST_REASON]}"


def fail(batch: Iterable[Pending], error: Exception) -> None:
    """Give every caller of a batch the same error."""
    for pending in batch:
        if not pending.answer.done():
            pending.answer.set_exception(error)
