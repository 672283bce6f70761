"""The requests on their way. Must never keep an end waiting longer than it is told to."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any


class Requests:
    """Counts the requests on their way, so that an end can wait for the last."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()
        self.hurry = asyncio.Event()
        self._ends: set[Callable[[], None]] = set()
        self._is_closing = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one for as long as it is on its way."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    @contextmanager
    def endless(self, end: Callable[[], None]) -> Iterator[None]:
        """Tell one that has no end of its own to end, once no more are taken."""
        self._ends.add(end)
        if self._is_closing:
            end()
        try:
            yield
        finally:
            self._ends.discard(end)

    def close(self) -> None:
        """Tell those that have no end of their own to end."""
        self._is_closing = True
        for end in tuple(self._ends):
            end()

    async def end(self, within_s: float) -> None:
        """Wait until none is on its way, but no longer than that, or until told to hurry."""
        await first_of(self._none.wait(), self.hurry.wait(), within_s=within_s)


async def first_of(*waits: Coroutine[Any, Any, object], within_s: float) -> None:
    """Wait until one of them has come to pass, but no longer than that."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
