"""How fast keys that are not good are answered: a flood of them must not hold up those that are.

Every answer costs the one event loop some of its time. Denials are spread out beyond a number a second: whoever floods
waits, and beyond a second's worth is turned away. Must never be asked about a key that is good.
"""

import asyncio
from collections.abc import Callable
from typing import Final

BURST_S: Final = 0.2
"""How much of a second's denials may come at once after a pause."""
LONGEST_DELAY_S: Final = 0.5


class DenialsOverloadError(Exception):
    """More keys that are not good were presented than are answered: it says nothing about the last one."""


class Pace:
    """When the next denial is due: the generic cell rate algorithm (ITU-T I.371), for one event loop."""

    def __init__(self, a_second: float, clock: Callable[[], float]) -> None:
        self._interval_s = 1 / a_second
        self._clock = clock
        self._due_s = float("-inf")

    async def wait(self) -> None:
        """Wait for a denial's turn: not at all as long as they come slowly. Raises DenialsOverloadError."""
        now_s = self._clock()
        due_s = max(self._due_s + self._interval_s, now_s - BURST_S)
        if due_s - now_s > LONGEST_DELAY_S:
            raise DenialsOverloadError("too many keys that are not good are presented")
        self._due_s = due_s
        if due_s > now_s:
            await asyncio.sleep(due_s - now_s)
