"""The web server on the sockets that were bound for it: served last. Must never drop a request that is on its way."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from service.requests import Requests

BACKLOG: Final = 1024
LINGER_S: Final = 1.0
"""How long an answered client may take to read its answer, and an unanswered one's request to end, at the last."""
LOOK_EVERY_S: Final = 0.05


class Door:
    """What listens: where connections come in, and how they are let go."""

    def __init__(self, runner: web.AppRunner, requests: Requests) -> None:
        self._runner = runner
        self._requests = requests

    def hurry(self) -> None:
        """Wait at the end for no request any more."""
        self._requests.hurry.set()

    async def close(self) -> None:
        """Take no more connections; those that are there go on."""
        for site in self._runner.sites:
            await site.stop()
        self._requests.close()

    async def empty(self) -> None:
        """Wait until the last connection has ended."""
        while self._runner.server is not None and self._runner.server.connections:  # noqa: ASYNC110 -- no event tells
            await asyncio.sleep(LOOK_EVERY_S)


@asynccontextmanager
async def listening(
    sockets: Sequence[socket.socket], app: web.Application, requests: Requests, *, idle_s: float, drain_s: float
) -> AsyncIterator[Door]:
    """Answer requests; when left, take no more and wait for those on their way, up to `drain_s`."""
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=idle_s, shutdown_timeout=LINGER_S, handle_signals=False
    )
    await runner.setup()
    try:
        for bound in sockets:
            await web.SockSite(runner, bound, backlog=BACKLOG).start()
        door = Door(runner, requests)
        yield door
        await door.close()
        await requests.end(drain_s)  # before aiohttp's own end, which takes no more of a body that is on its way
    finally:
        await runner.cleanup()
