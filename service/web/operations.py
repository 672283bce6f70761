"""The operations on one WebSocket: how each is run and where its results go. Must never send one after its end."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import orjson
from graphql import OperationType

from service.api.errors import FormattedError, internal_error
from service.api.execution import Execution, GraphQLRequest
from service.sessions import Session
from service.web.frames import TEXT, frame, frame_head
from service.web.outlet import Outlet
from service.web.streaming import Streaming
from service.web.transport_ws import Conversation, Operation, Start, complete_message, error_message, next_head

if TYPE_CHECKING:
    from service.streams import Stream

SINGLE_RESULT: Final = frozenset({OperationType.QUERY, OperationType.MUTATION})
MUTATIONS: Final = frozenset({OperationType.MUTATION})


class Answer:
    """Where the results of one operation go."""

    __slots__ = ("_head", "_on_over", "_outlet", "_overhead", "is_over", "is_running", "kind", "operation", "stream")

    def __init__(self, operation: Operation, outlet: Outlet, on_over: "Callable[[Answer], None]") -> None:
        self.operation = operation
        self.kind: OperationType | None = None
        self.stream: Stream | None = None
        self.is_running = True
        self.is_over = False
        self._outlet = outlet
        self._on_over = on_over
        self._head = next_head(operation.id)
        self._overhead = len(self._head) + 1

    def is_ready(self) -> bool:
        """Say whether one more can be taken now."""
        return self._outlet.is_ready()

    async def wait_ready(self) -> None:
        """Wait until one more can be taken, or the client is gone."""
        await self._outlet.wait_ready()

    def push(self, *payloads: bytes) -> None:
        """Send results, in one piece."""
        if not self.is_over:
            head, overhead = self._head, self._overhead
            parts = [part for one in payloads for part in (frame_head(TEXT, overhead + len(one)), head, one, b"}")]
            self._outlet.write(b"".join(parts))

    def finish(self, errors: Sequence[FormattedError] | None) -> None:
        """End it: by what went wrong, or because there is no more."""
        if not self.is_over:
            id_ = self.operation.id
            self._outlet.write(frame(TEXT, complete_message(id_) if errors is None else error_message(id_, errors)))
            self.drop()

    def drop(self) -> None:
        """End it without a word."""
        if not self.is_over:
            self.is_over = True
            self._on_over(self)


class Operations:
    """Owns the tasks that answer, within the task group of the socket."""

    def __init__(
        self, streaming: Streaming, conversation: Conversation, outlet: Outlet, *, on_idle: Callable[[], None]
    ) -> None:
        """Call `on_idle` whenever there is no operation any more whose results anybody waits for."""
        self._streaming = streaming
        self._conversation = conversation
        self._outlet = outlet
        self._on_idle = on_idle
        self._answers: dict[Operation, Answer] = {}

    @property
    def is_idle(self) -> bool:
        """Say whether nobody waits for a result."""
        return not self._answers

    def start(self, start: Start, session: Session, tasks: asyncio.TaskGroup) -> None:
        """Run an operation."""
        answer = self._answers[start.operation] = Answer(start.operation, self._outlet, self._ended)
        tasks.create_task(self._run(answer, start.request, session), name="operation")

    def stop(self, operation: Operation) -> None:
        """Send nothing more of an operation; what it does is done all the same."""
        self._answers[operation].drop()

    def keep(self, kinds: frozenset[OperationType]) -> None:
        """Stop all but those of these kinds."""
        for answer in tuple(self._answers.values()):
            if answer.kind not in kinds:
                answer.drop()

    def _ended(self, answer: Answer) -> None:
        del self._answers[answer.operation]
        self._conversation.finish(answer.operation)
        if answer.stream is not None:
            answer.stream.cancel()
        if not answer.is_running:
            self._conversation.release(answer.operation)
        if not self._answers:
            self._on_idle()

    async def _run(self, answer: Answer, request: GraphQLRequest, session: Session) -> None:
        request_id = self._streaming.new_request_id()
        try:
            answer.kind = self._streaming.executor.kind_of(request)
            if answer.is_over:
                return
            if answer.kind is OperationType.SUBSCRIPTION:
                await self._subscribe(answer, request, session, request_id)
            else:
                await self._execute(answer, request, session, request_id)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the client learns the request's id and no more
            answer.finish([internal_error(error, request_id)])
        finally:
            answer.is_running = False
            if answer.is_over:
                self._conversation.release(answer.operation)

    async def _subscribe(self, answer: Answer, request: GraphQLRequest, session: Session, request_id: str) -> None:
        opened = await self._streaming.streams.subscribe(session, request, answer, request_id=request_id)
        if isinstance(opened, Execution):
            answer.finish(opened.errors)
        elif answer.is_over:
            opened.cancel()
        else:
            answer.stream = opened

    async def _execute(self, answer: Answer, request: GraphQLRequest, session: Session, request_id: str) -> None:
        execution = await self._streaming.streams.execute(session, request, request_id)
        await answer.wait_ready()  # results that a client does not take are at most as many as its operations
        if not execution.executed:
            answer.finish(execution.errors)
        elif not execution.is_mutation and not await session.confirmed():
            answer.drop()  # nothing is told on the word of a key that was revoked meanwhile
        else:
            answer.push(orjson.dumps(execution.payload()))
            answer.finish(None)
