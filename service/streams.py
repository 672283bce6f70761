"""Streams: the history as it goes on, to every subscriber, whole and in order. Must never hold one up for another.

A stream first catches up: it reads the organization's history page by page, as fast as its client takes it. At the head
it joins a group (`service.groups`), and gets each event as it comes. A client that does not take one at once leaves the
group and catches up again, at its own pace; nothing is kept for it meanwhile. So memory is bounded, nothing is left out
and nothing comes twice.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from events.archive import archived_usage
from events.entry import RecordedEvent
from events.log import HistoryQuery, kinds_of, read_history, read_organization_head
from events.statement import Pool
from service.api.context import Context, Services
from service.api.errors import ApiError, FormattedError, formatted, internal_error, told_as
from service.api.execution import Execution, Executor, GraphQLRequest, Way
from service.api.selections import Selection
from service.api.subscriptions import Following
from service.authorization import Caller
from service.availability import is_unavailable
from service.cursors import Cursors, ExpiredCursorError
from service.groups import AT_A_TIME, Group, View
from service.sessions import Session
from service.tail import Tail

FIRST_PAGE: Final = 32
LARGEST_PAGE: Final = 512
LONGEST_SEARCH: Final = 20_000
"""Positions that are looked through at once for events that a filter lets through."""
PAGES_AT_ONCE: Final = 3
PATIENCE_S: Final = 1.0
"""How long the rest of a page is kept for a client that does not take it."""
RETRY_PAUSE_S: Final = 0.2
PIECE_BYTES: Final = 16_384
"""What is sent in one piece, or one result where that is larger."""


class Sink(Protocol):
    """Where a stream's results go: one operation of one connection."""

    def is_ready(self) -> bool:
        """Say whether one more can be taken now, without being kept for long."""

    async def wait_ready(self) -> None:
        """Wait until one more can be taken."""

    def push(self, *payloads: bytes) -> None:
        """Send results, which are written already."""

    def finish(self, errors: Sequence[FormattedError] | None) -> None:
        """End it: by what went wrong, or because there is no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client asked for."""

    following: Following
    selection: Selection
    request_id: str


@dataclass(frozen=True, slots=True)
class Goal:
    """How far there is to catch up, and what the group had taken before that was looked up."""

    head: int
    taken: int


class Streams:
    """The streams of this process."""

    def __init__(self, executor: Executor, services: Services, *, pool: Pool, tail: Tail) -> None:
        self.pool = pool
        self.reading = asyncio.Semaphore(PAGES_AT_ONCE)
        self.running: set[Stream] = set()
        self._executor = executor
        self._services = services
        self._tail = tail
        self._groups: dict[object, Group] = {}

    async def execute(self, session: Session, request: GraphQLRequest, request_id: str) -> Execution:
        """Answer a query or a mutation; nothing is told on the word of a key that is not good any more."""
        context = self._context(session, request_id)
        execution = await self._executor.execute(request, context=context, request_id=request_id, way=Way.STREAM)
        if execution.executed and not execution.is_mutation and not await session.confirmed():
            return Execution(executed=False, errors=(formatted("UNAUTHENTICATED", "Unauthorized"),))
        return execution

    async def subscribe(
        self, session: Session, request: GraphQLRequest, sink: Sink, *, request_id: str
    ) -> "Stream | Execution":
        """Begin a stream, or say why it is refused."""
        opened = await self._executor.open(request, context=self._context(session, request_id), request_id=request_id)
        if isinstance(opened, Execution):
            return opened
        asked = Asked(following=opened[0], selection=opened[1], request_id=request_id)
        stream = Stream(self, session, sink, asked)
        stream.restart()
        return stream

    def group(self, session: Session, asked: Asked) -> Group:
        """Find, or make, the group of those that ask the same with the same authority. Raises ForbiddenError."""
        principal = session.principal
        view = View(
            following=asked.following,
            selection=asked.selection,
            query=self._services.queries.of_history(principal, asked.following.query),
            principal=principal,
            services=self._services,
            cursors=Cursors(installation=self._services.installation, organization=principal.organization),
        )
        key = (principal.organization, principal.view, asked.selection.shared_key)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(view, self._tail, on_empty=lambda: self._groups.pop(key))
        return group

    def _context(self, session: Session, request_id: str) -> Context:
        session.on_use()
        caller = Caller(principal=session.principal, address=session.address, request_id=request_id)
        return Context(caller=caller, services=self._services)


class Stream:
    """One subscription: where it is in the history, and the task that catches up while it is not live."""

    def __init__(self, streams: Streams, session: Session, sink: Sink, asked: Asked) -> None:
        self._streams = streams
        self._session = session
        self._sink = sink
        self._asked = asked
        self._position: int | None = None
        """Everything up to here was sent, or is not asked for."""
        self._page = FIRST_PAGE
        self._group: Group | None = None
        self._goal: Goal | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_over = False
        session.streams.add(self)
        streams.running.add(self)

    def restart(self) -> None:
        """Go on by what the key may do now."""
        if self._is_over:
            return
        self._leave()
        if self._task is not None:
            self._task.cancel()  # it may wait for the group that was left, in which nothing comes any more
        self._task = asyncio.create_task(self._catch_up(), name="stream")

    def fall_back(self) -> None:
        """Catch up alone."""
        self._goal = None
        if self._task is None and not self._is_over:
            self._task = asyncio.create_task(self._catch_up(), name="stream")

    def cancel(self) -> None:
        """End without a word: the client has."""
        self._is_over = True
        self._leave()
        self._session.streams.discard(self)
        self._streams.running.discard(self)
        if self._task is not None:
            self._task.cancel()

    def fail(self, error: Exception) -> None:
        """End, and say why as far as that may be told."""
        if self._is_over:
            return
        self.cancel()
        told = told_as(error)
        if told is None:
            self._sink.finish([internal_error(error, self._asked.request_id)])
        else:
            self._sink.finish([formatted(told.code, told.message)])

    def send(self, position: int, payload: bytes) -> bool:
        """Send an event's result, unless it was sent already; False when that cannot be done now."""
        if self._position is not None and position <= self._position:
            return True
        if not (self._sink.is_ready() and self._session.is_good()):
            return False
        self._sink.push(payload)
        self._position = position
        return True

    async def _catch_up(self) -> None:
        try:
            while not await self._took_turn():
                pass
        except Exception as error:  # noqa: BLE001 -- a stream ends by whatever went wrong, and says so
            self._task = None
            self.fail(error)
        else:
            self._task = None

    async def _took_turn(self) -> bool:
        """Send a page; True when there is no more to catch up with."""
        await self._sink.wait_ready()
        if not await self._session.confirmed():
            return True
        try:
            return await self._read_on(await self._entered())
        except Exception as error:
            if not is_unavailable(error):
                raise
            await asyncio.sleep(RETRY_PAUSE_S)
            return False

    async def _entered(self) -> Group:
        if self._group is None:
            self._group = self._streams.group(self._session, self._asked)
            self._group.enter(self)
            self._goal = None
        await self._group.placed()
        return self._group

    async def _read_on(self, group: Group) -> bool:
        if self._goal is None:
            taken = group.taken
            self._goal = Goal(await read_organization_head(self._streams.pool, group.view.query.organization), taken)
        goal = self._goal
        if self._position is None:
            self._position = self._begin(goal.head)
        until = min(goal.head, self._position + LONGEST_SEARCH)
        query = replace(group.view.query, after=self._position, before=until + 1, limit=self._page)
        page = await self._read(query) if until > self._position else []
        if not await self._sent(page, group):
            self._page = FIRST_PAGE
            return False
        if len(page) < query.limit:
            self._position = max(until, self._position)
        self._page = min(2 * self._page, LARGEST_PAGE)
        if self._position < goal.head:
            return False
        self._goal = None
        return group is self._group and group.join(self, goal.taken)

    async def _read(self, query: HistoryQuery) -> list[RecordedEvent]:
        async with self._streams.reading:
            page = await read_history(self._streams.pool, query)
            # Asked after the page: what was archived while it was read is missing there.
            if kinds_of(query.types)[1] and query.after < await archived_usage(self._streams.pool, query.organization):
                raise ExpiredCursorError("uses after this place were archived: begin later, or filter for decisions")
            return page

    def _begin(self, head: int) -> int:
        """Say after which position to begin. Raises ExpiredCursorError or ApiError where that is not in the history."""
        begin = self._asked.following.begin
        if begin is None:
            return head
        if begin <= head:
            return begin
        if self._asked.following.is_sealed:
            raise ExpiredCursorError("the history ends before this cursor: the log was restored, read from the start")
        raise ApiError("BAD_USER_INPUT", f"afterPosition is beyond the history, which ends at {head}")

    async def _sent(self, page: Sequence[RecordedEvent], group: Group) -> bool:
        for begin in range(0, len(page), AT_A_TIME):
            events = page[begin : begin + AT_A_TIME]
            payloads = await group.view.write(events)
            await asyncio.sleep(0)  # others have a turn
            for first, end in pieces(payloads):
                if not self._sink.is_ready() and not await self._is_ready_soon():
                    return False
                # What was written for an authority that is no more is not sent: the group is left then.
                if group is not self._group or not self._session.is_good():
                    return False
                self._sink.push(*payloads[first:end])
                self._position = events[end - 1].organization_position
        return True

    async def _is_ready_soon(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._sink.wait_ready()
        return self._sink.is_ready()

    def _leave(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            group.leave(self)


def pieces(payloads: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Divide results into what is sent in one piece: where each begins, and ends."""
    first = size = 0
    for number, payload in enumerate(payloads):
        if number > first and size + len(payload) > PIECE_BYTES:
            yield first, number
            first, size = number, 0
        size += len(payload)
    if payloads:
        yield first, len(payloads)
