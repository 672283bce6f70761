"""What the supervisor and a worker say to each other: lines of JSON over a pair of sockets. Must never carry a secret.

That one of them is gone, however it ended, the other reads off the channel: the kernel closes it.
"""

import asyncio
import itertools
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

LONGEST_LINE: Final = 2**24
Answer = Callable[[str], Awaitable[str]]
"""Does what a word asks for, and says what came of it."""

log = structlog.get_logger(__name__)


class ChannelError(Exception):
    """The other side is gone."""


class Channel:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[str]] = {}

    async def ask(self, word: str, *, within_s: float) -> str:
        """Ask for something and wait for the answer. Raises ChannelError or TimeoutError."""
        number = next(self._numbers)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._send({"ask": number, "word": word})
            async with asyncio.timeout(within_s):
                return await answer
        finally:
            del self._asked[number]

    def close(self) -> None:
        """Stop using this end."""
        self._writer.close()

    async def run(self, answer: Answer) -> None:
        """Answer what is asked until the other side is gone."""
        async with asyncio.TaskGroup() as group:
            while line := await self._read():
                message = json.loads(line)
                if "ask" in message:
                    group.create_task(self._reply(message, answer))
                elif (asked := self._asked.get(message["reply"])) is not None and not asked.done():
                    asked.set_result(message["text"])
            self._writer.close()
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(ChannelError())

    async def _read(self) -> bytes:
        try:
            return await self._reader.readline()
        except ConnectionError:  # it went away before it had read everything
            return b""

    async def _reply(self, message: dict[str, Any], answer: Answer) -> None:
        try:
            text = await answer(message["word"])
        except Exception as error:  # noqa: BLE001 -- whatever it was, the channel is still needed
            log.warning("not_answered", word=message["word"], error=type(error).__name__)
        else:
            with_text = {"reply": message["ask"], "text": text}
            if not self._writer.is_closing():
                self._send(with_text)

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer.is_closing():
            raise ChannelError
        self._writer.write(json.dumps(message).encode() + b"\n")


async def open_channel(end: socket.socket) -> Channel:
    """Begin to use one end of a pair of sockets."""
    return Channel(*await asyncio.open_unix_connection(sock=end, limit=LONGEST_LINE))
