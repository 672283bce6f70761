"""Lets a few in at a time: what waits for a hash waits here, before the database is asked anything for it.

Who comes when many wait is turned away, and not at once: who asks again as soon as there is an answer would keep the
event loop busy with answers. Must never keep more waiting than it is told to.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from service.hashing import HashingOverloadError

TURNED_AWAY_AFTER_S: Final = (0.5, 1.5)
"""Some time between: who came together does not come back together."""
MOST_TURNED_AWAY: Final = 1_000
"""How many may be on their way out; whoever comes then is told at once."""


class Turnstile:
    """As many at a time as there are places, in the order in which they came; for one event loop."""

    def __init__(self, *, places: int, most_waiting: int, wait_s: float) -> None:
        self._places = asyncio.Semaphore(places)
        self._most_waiting = most_waiting
        self._wait_s = wait_s
        self._waiting = 0
        self._leaving = 0

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Wait for a place and keep it for as long as the block runs. Raises HashingOverloadError."""
        if self._waiting >= self._most_waiting:
            await self._turn_away()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await self._places.acquire()
        except TimeoutError:
            raise HashingOverloadError("others signed in all the time") from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()

    async def _turn_away(self) -> None:
        if self._leaving < MOST_TURNED_AWAY:
            self._leaving += 1
            try:
                await asyncio.sleep(random.uniform(*TURNED_AWAY_AFTER_S))  # noqa: S311 -- nobody gains by guessing it
            finally:
                self._leaving -= 1
        raise HashingOverloadError("too many sign in at once")
