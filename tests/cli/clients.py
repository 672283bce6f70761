"""Clients that keep on asking a service, each in its way, and say what did not succeed."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession


@dataclass(slots=True, kw_only=True)
class Clients:
    """Some clients of one URL; a request is never tried again, so whatever goes wrong counts."""

    url: str
    key: str
    answered: int = 0
    connections: int = 0
    failures: list[str] = field(default_factory=list)
    _enough: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def asking(self, *clients: Coroutine[object, object, None]) -> AsyncIterator[None]:
        """Let them ask while the block runs, and finish what they have begun when it ends."""
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client)
            try:
                yield
            finally:
                self._enough.set()

    async def keeps_alive(self, pause_s: float) -> None:
        """Ask over one connection for as long as the service keeps it, then over another."""
        while not self._enough.is_set():
            async with self._connected() as (reader, writer):
                while await self._ask(reader, writer) and not await self._has_enough(pause_s):
                    pass

    async def connects_anew(self, pause_s: float) -> None:
        """Ask over a new connection each time."""
        while not await self._has_enough(pause_s):
            async with self._connected() as (reader, writer):
                await self._ask(reader, writer)

    async def posts(self, session: ClientSession, pause_s: float) -> None:
        """Ask with aiohttp, which keeps its connections and does not repeat a POST."""
        while not await self._has_enough(pause_s):
            try:
                async with session.post(f"{self.url}/verify", headers={"X-API-Key": self.key}) as response:
                    self._count(response.status, "aiohttp")
            except (ClientError, OSError) as error:
                self.failures.append(f"aiohttp: {error!r}")

    async def _has_enough(self, pause_s: float) -> bool:
        try:
            async with asyncio.timeout(pause_s):
                return await self._enough.wait()
        except TimeoutError:
            return False

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        port = urlsplit(self.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.connections += 1
        try:
            yield reader, writer
        finally:
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send a request and read its answer; tells whether the connection may be used again."""
        try:
            writer.write(
                f"POST /verify HTTP/1.1\r\nHost: x\r\nX-API-Key: {self.key}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            await reader.readexactly(int(fields["content-length"]))
        except (OSError, EOFError) as error:
            self.failures.append(f"socket: {error!r}")
            return False
        self._count(int(head.split()[1]), "socket")
        return fields.get("connection") != "close"

    def _count(self, status: int, client: str) -> None:
        self.answered += 1
        if status != 200:
            self.failures.append(f"{client}: {status}")
