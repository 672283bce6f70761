"""Keys that nobody was given, remembered for a moment, so that repeating one costs no look-up.

A secret has 256 random bits: a key that is unknown was not issued since, whatever else has changed. Must never hold
anything that a change of a token could make untrue.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST_DENIALS: Final = 20_000
REMEMBERED_S: Final = 5.0


class Denials:
    """The digests of unknown keys and until when each is remembered; for one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until_s: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        """Count the digests held, those that are to be forgotten among them."""
        return len(self._until_s)

    def add(self, digest: bytes) -> None:
        """Remember a key as unknown."""
        self._until_s[digest] = self._clock() + REMEMBERED_S
        if len(self._until_s) > MOST_DENIALS:
            self._until_s.popitem(last=False)

    def holds(self, digest: bytes) -> bool:
        """Say whether a key was found to be unknown a moment ago."""
        until_s = self._until_s.get(digest)
        return until_s is not None and self._clock() < until_s
