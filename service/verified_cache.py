"""The verified cache: what was proved of secrets, by their full digest. Must never decide that an entry still holds.

Whether an entry may be relied on now is the lease's to say (`service.lease`). Entries are found by token as well, so
that a change of a token evicts what is remembered of it. Bounded by count: the least recently used goes first.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Proved = TypeVar("Proved")

MOST_ENTRIES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry(Generic[Proved]):
    """What was proved of one secret, and until when it can hold at most."""

    subject: str
    """The token it belongs to."""
    proved: Proved
    deadline_s: float
    """When it ends by itself, on the clock of `service.lease`; infinite when it does not."""


class VerifiedCache(Generic[Proved]):
    """Entries by digest and by token, for one event loop."""

    def __init__(self, *, capacity: int = MOST_ENTRIES) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, Entry[Proved]] = OrderedDict()
        self._digests: dict[str, tuple[bytes, ...]] = {}

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._entries)

    def get(self, digest: bytes) -> Entry[Proved] | None:
        """Find an entry, and keep it longer."""
        entry = self._entries.get(digest)
        if entry is not None:
            self._entries.move_to_end(digest)
        return entry

    def put(self, digest: bytes, entry: Entry[Proved]) -> None:
        """Remember what was proved of a secret, in place of what was known of it before."""
        self._forget(digest)
        if len(self._entries) >= self._capacity:
            self._forget(next(iter(self._entries)))
        self._entries[digest] = entry
        self._digests[entry.subject] = (*self._digests.get(entry.subject, ()), digest)

    def evict(self, subject: str) -> None:
        """Forget all that is remembered of a token."""
        for digest in self._digests.pop(subject, ()):
            del self._entries[digest]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._digests.clear()

    def _forget(self, digest: bytes) -> None:
        entry = self._entries.pop(digest, None)
        if entry is None:
            return
        left = tuple(other for other in self._digests[entry.subject] if other != digest)
        if left:
            self._digests[entry.subject] = left
        else:
            del self._digests[entry.subject]
