"""HTTP/1.1 on kept connections, as little of it as asking a service needs. Must never ask twice by itself.

A request is bytes, made once and sent often; there is one at a time on a connection.
"""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Final, cast

from tests.chaos.history import NO_ANSWER, now_ns

LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HOST: Final = "127.0.0.1"
HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back and when; the status is 0 where nothing did."""

    status: int
    head: bytes
    body: bytes
    begin_ns: int
    end_ns: int

    @property
    def ms(self) -> float:
        """Tell how long it took."""
        return (self.end_ns - self.begin_ns) / 1e6


def get(target: str, key: str) -> bytes:
    """Write a request that presents a key."""
    return f"GET {target} HTTP/1.1\r\nHost: chaos\r\nX-API-Key: {key}\r\n\r\n".encode("ascii")


def post(target: str, key: str, body: bytes) -> bytes:
    """Write a request that sends JSON."""
    head = f"POST {target} HTTP/1.1\r\nHost: chaos\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    head += f"Accept: application/graphql-response+json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._received = b""
        self._begin_ns = 0
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport, self.is_open = cast("asyncio.Transport", transport), True  # uvloop's is one by nature alone

    def data_received(self, data: bytes) -> None:
        """Answer as soon as the whole of a response is there."""
        self._received += data
        head, end, rest = self._received.partition(HEAD_END)
        if not end:
            return
        length = LENGTH.search(head)
        assert length is not None, head
        if len(rest) >= int(length[1]):
            self._received = b""
            if b"\r\nConnection: close" in head:
                self.close()
            self._finish(int(head[9:12]), head, rest)

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell whoever waits that nothing will come."""
        self.is_open = False
        self._finish(NO_ANSWER, b"", b"")

    def _finish(self, status: int, head: bytes, body: bytes) -> None:
        waiting, self._answer = self._answer, None
        if waiting is not None and not waiting.done():
            waiting.set_result(Answer(status, head, body, self._begin_ns, now_ns()))

    async def ask(self, request: bytes) -> Answer:
        """Send a request and wait for its answer, however long that takes."""
        assert self._transport is not None
        assert self._answer is None
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._begin_ns = now_ns()
        self._transport.write(request)
        return await answer

    def close(self) -> None:
        """End it."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()


@dataclass(slots=True)
class Client:
    """Connections to one process, opened when they are needed."""

    port: int
    busy: int = 0
    """Requests that are on their way."""
    _idle: list[Connection] = field(default_factory=list)

    async def ask(self, request: bytes) -> Answer:
        """Ask on any connection."""
        begin_ns = now_ns()
        self.busy += 1
        connection: Connection | None = None
        try:
            connection = await self._connection()
            answer = await connection.ask(request)
        except OSError:
            return Answer(NO_ANSWER, b"", b"", begin_ns, now_ns())
        finally:
            self.busy -= 1
            if connection is not None and connection.is_open:
                self._idle.append(connection) if connection._answer is None else connection.close()
        return answer

    async def _connection(self) -> Connection:
        while self._idle:
            if (connection := self._idle.pop()).is_open:
                return connection
        _, made = await asyncio.get_running_loop().create_connection(Connection, HOST, self.port)
        return made

    def close(self) -> None:
        """End all that is idle."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
