"""The lease of one process: when it may accept a key from memory, as `docs/explanation/revocation.md` tells.

A process that verifies keys is a node. It is in the registry (a row of its own), follows the log of changes to what it
may remember, and renews a lease; only inside the lease may an entry of its cache be accepted. Whoever restricts a token
waits until each node of the registry has acknowledged that it forgot, or cannot hold a lease any more: that is the
barrier (`service.barrier`).

Sans-I/O: inputs are readings of the clock, messages and what the database answered; outputs are decisions. The same
code runs in the service (`service.lease_keeper`) and in the simulation of its tests. Must never read a clock that can
be set, except to end a lease sooner.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Generic, TypeVar

from service.verified_cache import Entry, VerifiedCache

Proved = TypeVar("Proved")

DRIFT: Final = 0.01
"""How much faster or slower than true any node's clock may run, at most."""
MARGIN_S: Final = 0.02
ENDED: Final = float("-inf")
MOST_CHANGES: Final = 10_000
"""Further behind than that a node forgets everything instead of reading what changed."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A process's clocks, read in seconds."""

    steady: Callable[[], float]
    """Runs at an even rate, through a suspended host too; says nothing about the time of day."""
    wall: Callable[[], float]
    """The time of day: it may jump, and only ever ends a lease sooner."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change to what nodes may remember: its place in their log, and the token it is about."""

    position: int
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalidation:
    """A message that changes were committed; without the subjects where they were too many to say."""

    first: int
    last: int
    subjects: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """A renewal on its way: when it was sent, and what the node had applied by then."""

    incarnation: str
    sent_s: float
    sent_wall_s: float
    applied: int
    history: str
    """Which history of the database that is of: in another one the row must not be touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalAnswer:
    """What the database answered to a renewal, all as of one instant after it was sent."""

    is_registered: bool
    """It found and renewed the node's own row."""
    epoch: int
    """How many changes there are."""
    history: str
    """Which history of the database this is: another after a failover."""
    changes: tuple[Change, ...]
    """Those after what the node had applied; cut short where they are too many."""


class Renewed(Enum):
    """How a renewal ended."""

    HELD = auto()
    STALE = auto()
    """It was an earlier incarnation's: nothing follows from it."""
    EVICTED = auto()
    """The node is not in the registry any more: it has to join anew."""
    HISTORY_LOST = auto()
    """The database has forgotten changes that were applied, or has another history: join anew, and tell somebody."""


class Heard(Enum):
    """What to do about a message."""

    NOTHING = auto()
    ACKNOWLEDGE = auto()
    RENEW = auto()
    """Changes before it are missing: the renewal brings them, and nothing is acknowledged before."""


class Node(Generic[Proved]):
    """What one process remembers, how far it has followed the changes, and until when it may rely on both."""

    def __init__(self, cache: VerifiedCache[Proved], clock: Clock, *, lease_s: float, drift: float = DRIFT) -> None:
        self._cache = cache
        self._clock = clock
        self.on_forgotten: Callable[[str | None], None] = lambda _: None
        """Called with each token whose entries were just forgotten, since it changed; with None for all of them."""
        self._lease_s = lease_s
        self._held_s = lease_s * (1 - drift)
        self._until_s = self._until_wall_s = ENDED
        self._history = ""
        self._is_connected = False
        self.incarnation: str | None = None
        """Names this membership of the registry; None outside of it. Never used again."""
        self.applied = 0
        """The last change that is reflected in the cache, with all before it."""

    @property
    def holds_lease(self) -> bool:
        """Say whether the cache may be relied on now."""
        return self._clock.steady() < self._until_s and self._clock.wall() < self._until_wall_s

    def joined(self, incarnation: str, epoch: int, history: str) -> None:
        """Begin anew, as a row of the registry that is committed; the lease comes with the first renewal."""
        self.leave()
        self.incarnation, self.applied, self._history = incarnation, epoch, history
        self._is_connected = True

    def leave(self) -> None:
        """Give up the lease and all that is remembered."""
        self._until_s = self._until_wall_s = ENDED
        self._forget(None)
        self.incarnation = None

    def reconnected(self) -> None:
        """Note that messages come over a new connection: maybe of another history, which the next renewal shows."""
        self._is_connected = False

    def begin_renewal(self) -> Renewal:
        """Note what a renewal that is sent after this stands on. Needs a membership."""
        if self.incarnation is None:
            raise RuntimeError("only a node of the registry renews")
        sent_s, sent_wall_s = self._clock.steady(), self._clock.wall()
        return Renewal(
            incarnation=self.incarnation,
            sent_s=sent_s,
            sent_wall_s=sent_wall_s,
            applied=self.applied,
            history=self._history,
        )

    def renewed(self, renewal: Renewal, answer: RenewalAnswer) -> Renewed:
        """Apply what a renewal brought, and only then extend the lease, which counts from when it was sent."""
        if renewal.incarnation != self.incarnation:
            return Renewed.STALE
        if answer.epoch < renewal.applied or answer.history != renewal.history:
            self.leave()
            return Renewed.HISTORY_LOST
        if not answer.is_registered:
            self.leave()
            return Renewed.EVICTED
        if len(answer.changes) == answer.epoch - renewal.applied:
            for change in answer.changes:
                self._forget(change.subject)
        else:
            self._forget(None)
        self.applied = max(self.applied, answer.epoch)
        self._is_connected = True
        self._until_s = renewal.sent_s + self._held_s
        self._until_wall_s = renewal.sent_wall_s + self._held_s
        return Renewed.HELD

    def heard(self, message: Invalidation) -> Heard:
        """Apply a message if nothing before it is missing."""
        if self.incarnation is None:
            return Heard.NOTHING
        if not self._is_connected:
            return Heard.RENEW
        if message.last <= self.applied:
            return Heard.ACKNOWLEDGE
        if message.first > self.applied + 1 or message.subjects is None:
            return Heard.RENEW
        for subject in message.subjects:
            self._forget(subject)
        self.applied = message.last
        return Heard.ACKNOWLEDGE

    def _forget(self, subject: str | None) -> None:
        if subject is None:
            self._cache.clear()
        else:
            self._cache.evict(subject)
        self.on_forgotten(subject)

    def ends_s(self, digest: bytes) -> float:
        """Say when what is remembered of a secret ends by itself, on the steady clock; at once where nothing is."""
        entry = self._cache.get(digest)
        return ENDED if entry is None else entry.deadline_s

    def recall(self, digest: bytes) -> Proved | None:
        """Answer what was proved of a secret, if that may be relied on now."""
        entry = self._cache.get(digest)
        if entry is None:
            return None
        # The clock is read after the look-up: a process stopped in between wakes up too late to accept.
        now_s = self._clock.steady()
        if now_s >= self._until_s or now_s >= entry.deadline_s or self._clock.wall() >= self._until_wall_s:
            return None
        return entry.proved

    def is_current(self, epoch: int, sent_s: float, incarnation: str | None) -> bool:
        """Say whether what was read from the database, as of an epoch, may be decided on now.

        Not when changes were applied meanwhile that it does not show, nor when it is older than a lease, nor when the
        node was another incarnation when it was asked: epochs of different histories do not compare.
        """
        is_same, is_young = incarnation == self.incarnation, self._clock.steady() - sent_s <= self._lease_s
        return is_same and is_young and epoch >= self.applied

    def remember(self, digest: bytes, entry: Entry[Proved]) -> None:
        """Keep what was proved, if a lease is held; what it was read from must be current, with no wait since."""
        if self.holds_lease:
            self._cache.put(digest, entry)

    def remember_too(self, digest: bytes, new_digest: bytes) -> None:
        """Keep under another digest of the same secret what is remembered under one, if anything is."""
        entry = self._cache.get(digest)
        if entry is not None:
            self._cache.put(new_digest, Entry(entry.subject, entry.proved, entry.deadline_s))


def longest_wait_s(leases_s: Sequence[float], drift: float = DRIFT) -> float:
    """Say how long after reading the registry no node with one of these leases can accept from memory any more."""
    return max(leases_s) * (1 + 2 * drift) + MARGIN_S if leases_s else 0.0
