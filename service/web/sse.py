"""GraphQL over server-sent events, one operation a connection ("distinct connections mode").

https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md . Lines end with LF alone, since clients of note split
at it. A stream that the client is to resume ends without `complete` and without the end of its body, so that nobody
takes it for whole. Must never send anything of a key that is not good any more.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from aiohttp import HttpVersion11, web
from graphql import OperationType

from projections.runner import happens
from service.api.errors import FormattedError, formatted
from service.api.execution import Execution, GraphQLRequest
from service.sessions import Session
from service.web.answers import SERVER
from service.web.outlet import Departure, Outlet
from service.web.streaming import Streaming

EVENT_STREAM: Final = "text/event-stream"
HEADERS: Final = {
    "Content-Type": f"{EVENT_STREAM}; charset=utf-8",
    "Cache-Control": "no-store",
    "Server": SERVER,
    "X-Accel-Buffering": "no",  # nginx would hold events back
}
NEXT: Final = b"event: next\ndata: "
COMPLETE: Final = b"event: complete\ndata:\n\n"
COMMENT: Final = b":\n\n"
TOLD_BY_STATUS: Final = frozenset({"UNAVAILABLE", "UNAUTHENTICATED", "INTERNAL"})


class EventStream:
    """Where the results of the one subscription go, once the head of the response is written."""

    def __init__(self, request: web.Request) -> None:
        self.is_over = asyncio.Event()
        self._is_chunked = request.version >= HttpVersion11
        self._outlet: Outlet | None = None
        self._is_open = asyncio.Event()

    def open(self, outlet: Outlet) -> None:
        """Begin to send."""
        self._outlet = outlet
        self._is_open.set()

    def is_ready(self) -> bool:
        """Say whether one more can be taken now."""
        return self._outlet is not None and self._outlet.is_ready()

    async def wait_ready(self) -> None:
        """Wait until one more can be taken, or the client is gone."""
        await self._is_open.wait()
        if self._outlet is not None:
            await self._outlet.wait_ready()

    def push(self, *payloads: bytes) -> None:
        """Send results, in one piece."""
        self._write(b"".join([part for one in payloads for part in (NEXT, one, b"\n\n")]))

    def finish(self, errors: Sequence[FormattedError] | None) -> None:
        """End it: by what went wrong, or because there is no more."""
        if errors is not None:
            self.push(orjson.dumps({"errors": errors}))
        self._write(COMPLETE)
        self._write(b"")  # the last chunk
        self.is_over.set()

    def revoke(self, _code: int, _reason: str) -> None:
        """End it: the key is not good any more, and the client need not come back with it."""
        self.finish([formatted("UNAUTHENTICATED", "Unauthorized")])

    def beat(self) -> None:
        """Use the connection, so that nothing on the way takes it for dead."""
        if self.is_ready():
            self._write(COMMENT)

    def _write(self, data: bytes) -> None:
        if self._outlet is not None and not self.is_over.is_set():
            self._outlet.write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)


async def answer_events(
    streaming: Streaming, request: web.Request, asked: GraphQLRequest, *, session: Session, headers: Mapping[str, str]
) -> web.StreamResponse | Execution:
    """Answer with events, or say what is better told by a status: the client may try again, or has no good key."""
    request_id = headers["X-Request-Id"]
    if streaming.executor.kind_of(asked) is not OperationType.SUBSCRIPTION:
        return whole(await streaming.streams.execute(session, asked, request_id), headers)
    events = EventStream(request)
    opened = await streaming.streams.subscribe(session, asked, events, request_id=request_id)
    if isinstance(opened, Execution):
        return whole(opened, headers)
    session.on_end(events.revoke)
    response = web.StreamResponse(headers={**HEADERS, **headers})
    response.force_close()
    try:
        await send(streaming, request, response, events)
    finally:
        opened.cancel()
    return response


def whole(execution: Execution, headers: Mapping[str, str]) -> web.Response | Execution:
    """Answer with one event and the end."""
    codes = {error["extensions"]["code"] for error in execution.errors}
    if not execution.executed and codes & TOLD_BY_STATUS:
        return execution
    body = NEXT + orjson.dumps(execution.payload()) + b"\n\n" + COMPLETE
    return web.Response(body=body, headers={**HEADERS, **headers})


async def send(streaming: Streaming, request: web.Request, response: web.StreamResponse, events: EventStream) -> None:
    """Send events until they end, or the client goes away, or this process does."""
    try:
        writer = await response.prepare(request)
        outlet = None if writer is None else Outlet(request, writer)
    except ConnectionError:
        outlet = None
    if outlet is None:  # the client is gone already
        return
    Departure(request, events.is_over.set)
    events.open(outlet)
    with streaming.requests.endless(events.is_over.set):
        while not events.is_over.is_set():
            await happens(events.is_over, within_s=streaming.rhythm.beat_s)
            events.beat()
    outlet.close(streaming.rhythm.closing_s)
