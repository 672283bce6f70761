"""The writing side of a connection that stays open. Must never keep more of what a slow client does not take."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

if TYPE_CHECKING:
    from aiohttp.http_websocket import WebSocketReader

BOUND_BYTES: Final = 65_536
"""Nothing more is written while this much waits to be sent."""
UNSENT_BYTES: Final = 131_072
"""What the kernel holds at most of what the network has not taken yet."""


class Outlet:
    """Writes to a client at once; what it does not take yet is kept up to a bound that others look at."""

    def __init__(self, request: web.Request, writer: AbstractStreamWriter) -> None:
        """Raise ConnectionResetError where the client is gone."""
        if request.transport is None:
            raise ConnectionResetError("the client is gone")
        self._transport = request.transport
        self._transport.set_write_buffer_limits(high=BOUND_BYTES)
        bound_kernel(self._transport)
        self._protocol = request.protocol
        self._writer = writer
        self._draining: asyncio.Task[None] | None = None

    def write(self, data: bytes) -> None:
        """Send it, or keep it to be sent; nothing happens where the client is gone."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def is_ready(self) -> bool:
        """Say whether less than the bound waits to be sent."""
        return not self._protocol.writing_paused

    async def wait_ready(self) -> None:
        """Wait until less than the bound waits to be sent, or the client is gone."""
        while self._protocol.writing_paused and not self._transport.is_closing():
            if self._draining is None or self._draining.done():
                self._draining = asyncio.create_task(self._drain(), name="drain")
            # All who wait here share one future of aiohttp's, which no one of them may cancel.
            await asyncio.wait([self._draining])

    async def _drain(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def close(self, within_s: float) -> None:
        """Close the connection once what was written is sent, but no later than that."""
        self._transport.close()
        asyncio.get_running_loop().call_later(within_s, self._transport.abort)

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()


def bound_kernel(transport: asyncio.Transport) -> None:
    """Keep the kernel from taking megabytes for a client that does not read: it need not hold more than is unsent."""
    connected = transport.get_extra_info("socket")
    if connected is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


class Departure:
    """Notices that the client of an answer goes away; what it still sends is thrown away.

    aiohttp tells a handler nothing of it, but tells the parser of whoever took over the connection.
    """

    def __init__(self, request: web.Request, gone: Callable[[], None]) -> None:
        self._gone = gone
        request.protocol.set_parser(cast("WebSocketReader", self))

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take what the client sends."""
        del data
        return False, b""

    def feed_eof(self) -> None:
        """Take that it is gone."""
        self._gone()
