"""The verified cache: what was proved of secrets, by their full digest. Must never decide that an entry still holds.

Whether an entry may be relied on now is the lease's to say (`service.lease`). Entries are found by token as well, so
that a change of a token evicts what is remembered of it. Bounded by count: past that, those not used lately go first,
by the second-chance rule (F. J. Corbató, "A Paging Experiment with the Multics System", MIT Project MAC, 1968), which
takes a flag an entry where an exact order takes a list of all.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Proved = TypeVar("Proved")

MOST_ENTRIES: Final = 1_000_000
SLACK: Final = 1_000


@dataclass(slots=True)
class Entry(Generic[Proved]):
    """What was proved of one secret, and until when it can hold at most."""

    subject: str
    """The token it belongs to."""
    proved: Proved
    deadline_s: float
    """When it ends by itself, on the clock of `service.lease`; infinite when it does not."""
    was_used: bool = False
    """Since it came, or since its last chance."""


class VerifiedCache(Generic[Proved]):
    """Entries by digest and by token, for one event loop."""

    def __init__(self, *, capacity: int = MOST_ENTRIES) -> None:
        self._capacity = capacity
        self._entries: dict[bytes, Entry[Proved]] = {}
        self._digests: dict[str, bytes | tuple[bytes, ...]] = {}
        """Those of each token: almost always one, which then stands for itself."""
        self._order: deque[bytes] = deque()
        """The digests in the order in which they may have to go, some of which have gone already."""
        self.additions = 0
        """How many entries were ever put."""

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._entries)

    def get(self, digest: bytes) -> Entry[Proved] | None:
        """Find an entry, and keep it longer."""
        entry = self._entries.get(digest)
        if entry is not None:
            entry.was_used = True
        return entry

    def put(self, digest: bytes, entry: Entry[Proved]) -> None:
        """Remember what was proved of a secret, in place of what was known of it before."""
        self._forget(digest)
        while len(self._entries) >= self._capacity:
            self._make_room()
        self._entries[digest] = entry
        self._order.append(digest)
        self.additions += 1
        others = self._of(entry.subject)
        self._digests[entry.subject] = (*others, digest) if others else digest
        if len(self._order) > 2 * len(self._entries) + SLACK:
            self._order = deque(self._entries)

    def evict(self, subject: str) -> None:
        """Forget all that is remembered of a token."""
        for digest in self._of(subject):
            del self._entries[digest]
        self._digests.pop(subject, None)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._digests.clear()
        self._order.clear()

    def _of(self, subject: str) -> tuple[bytes, ...]:
        held = self._digests.get(subject, ())
        return (held,) if isinstance(held, bytes) else held

    def _make_room(self) -> None:
        digest = self._order.popleft()
        entry = self._entries.get(digest)
        if entry is not None and entry.was_used:
            entry.was_used = False
            self._order.append(digest)
        else:
            self._forget(digest)

    def _forget(self, digest: bytes) -> None:
        entry = self._entries.pop(digest, None)
        if entry is None:
            return
        left = tuple(other for other in self._of(entry.subject) if other != digest)
        if left:
            self._digests[entry.subject] = left if len(left) > 1 else left[0]
        else:
            del self._digests[entry.subject]
