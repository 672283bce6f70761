"""A wire between a gateway and the service that keeps what runs over it. Must never change a byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

CHUNK_BYTES = 65536


@dataclass(slots=True, kw_only=True)
class Tap:
    """Where the wire begins and ends, how often it was taken, and what was asked over it."""

    to_port: int
    port: int = 0
    connections: int = 0
    asked: bytes = b""

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a gateway's connection to one of our own, until either ends."""
        self.connections += 1
        answers, questions = await asyncio.open_connection("127.0.0.1", self.to_port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self.pass_on(reader, questions, is_question=True))
                both.create_task(self.pass_on(answers, writer, is_question=False))
        finally:
            questions.close()
            writer.close()

    async def pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_question: bool) -> None:
        """Pass on what comes in one direction, and its end."""
        with suppress(ConnectionError):
            while chunk := await source.read(CHUNK_BYTES):
                self.asked += chunk if is_question else b""
                target.write(chunk)
                await target.drain()
            target.write_eof()


@asynccontextmanager
async def tapped(to_port: int) -> AsyncIterator[Tap]:
    """Lead a free port to another one until left."""
    tap = Tap(to_port=to_port)
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(tap.connect(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    tap.port = server.sockets[0].getsockname()[1]
    try:
        yield tap
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
