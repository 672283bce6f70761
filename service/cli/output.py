"""Standard output of commands that print much. Must never wait for a reader so that a signal to stop is not heard.

A write to a full pipe blocks a whole process, so nothing is written to one before it says that it has room, and then no
more than it takes at once: PIPE_BUF bytes.
"""

import asyncio
import os
import select
import stat
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import click

from service.cli.running import tell_signals


class ReaderGoneError(Exception):
    """Whoever reads the output has seen enough."""


class Output:
    """Writes to a file descriptor that is somebody else's: a terminal, a pipe, a file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.is_terminal = os.isatty(descriptor)
        mode = os.fstat(descriptor).st_mode
        self._may_block = self.is_terminal or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)

    async def write(self, content: bytes) -> None:
        """Write everything. Raises ReaderGoneError, or ClickException where it cannot be written."""
        rest = memoryview(content)
        while rest:
            if self._may_block:
                await self._has_room()
            try:
                written = os.write(self._descriptor, rest[: select.PIPE_BUF] if self._may_block else rest)
            except BlockingIOError:
                continue
            except ConnectionError:
                raise ReaderGoneError from None
            except OSError as error:
                raise click.ClickException(f"standard output: {error.strerror}") from None
            rest = rest[written:]

    def check(self) -> None:
        """Notice between writes that nobody reads any more. Raises ReaderGoneError."""
        if self._may_block and any(happened & (select.POLLERR | select.POLLHUP) for _, happened in self._room.poll(0)):
            raise ReaderGoneError

    async def _has_room(self) -> None:
        if self._room.poll(0):
            return
        loop, has_room = asyncio.get_running_loop(), asyncio.Event()
        loop.add_writer(self._descriptor, has_room.set)
        try:
            await has_room.wait()
        finally:
            loop.remove_writer(self._descriptor)


async def until_told(work: Coroutine[Any, Any, None]) -> int:
    """Do the work, but end it quietly at a signal to stop or when nobody reads what it prints.

    Answers the exit code: 0, or for a signal 128 and its number, as shells have it.
    """
    working, told = asyncio.ensure_future(work), tell_signals()
    either: set[asyncio.Future[Any]] = {working, told}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    stopped_by = None if working.done() else told.result()
    if stopped_by is not None:
        working.cancel()
    with suppress(ReaderGoneError, *([] if stopped_by is None else [asyncio.CancelledError])):
        await working
    return 0 if stopped_by is None else 128 + stopped_by
