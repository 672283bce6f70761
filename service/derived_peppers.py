"""The peppers as they are now, each replaced by a key that is derived from it for one purpose. Must never use old ones.

A ring of keys may be replaced while the process runs, so it is looked up each time; what is made of it stands as long
as that ring does.
"""

from collections.abc import Callable

from service.keyring import KeyRing
from service.sealing import derive


class DerivedPeppers:
    """Derives a ring from the peppers, and again when they are others."""

    def __init__(self, peppers: Callable[[], KeyRing], label: str) -> None:
        """Take what says the peppers now, and the purpose."""
        self._peppers = peppers
        self._label = label
        self._made_of = peppers()
        self._ring = self._derived()

    @property
    def ring(self) -> KeyRing:
        """The derived keys, the writing one first; the same ring as long as the peppers are the same."""
        if (now := self._peppers()) is not self._made_of:
            self._made_of = now
            self._ring = self._derived()
        return self._ring

    def _derived(self) -> KeyRing:
        return self._made_of.derived(lambda pepper: derive(pepper, self._label))
