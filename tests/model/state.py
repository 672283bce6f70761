"""What the model of the revocation protocol consists of, as values. Must hold no step: those are in `protocol.py`.

One node that verifies from its cache, the database, and two tokens, each with a process that revokes it. The two tokens
are exactly alike, so that states in which they have changed places are the same (`search.py` uses that). Times are
ticks.
"""

from enum import IntEnum
from typing import NamedTuple

NO_LEASE = -1
NO_DEADLINE = -1


class Row(NamedTuple):
    """The node's row in the registry; `renew_seq` counts on across incarnations and so stands for both."""

    is_present: bool = False
    renew_seq: int = 0
    applied: int = 0  # what the node had applied when it last wrote, if rows tell (`Model.registry_is_polled`)


class RenewalAnswer(NamedTuple):
    """What the database says to a renewal: whether it hit the row, and where the log that it carries ends."""

    hit_row: bool
    epoch: int


class Renewal(NamedTuple):
    """A renewal in flight: to the database until it has an answer, then back to the node."""

    sent_at: int
    applied: int = 0
    answer: RenewalAnswer | None = None


class Node(NamedTuple):
    """The process that verifies: whether it runs as a registered incarnation, what it has applied, its lease."""

    has_joined: bool = False
    applied: int = 0
    lease_until: int = NO_LEASE
    renewal: Renewal | None = None


class FillAnswer(NamedTuple):
    """What a read of the database shows: whether the token was live, and the epoch of that snapshot."""

    is_live: bool
    epoch: int


class Fill(NamedTuple):
    """A read of the database after a cache miss, in flight: there until it has an answer, then back to the node."""

    answer: FillAnswer | None = None


class Phase(IntEnum):
    """How far a token's revocation is."""

    BEGUN = 0
    COMMITTED = 1
    WAITING = 2
    ANSWERED = 3


class Token(NamedTuple):
    """A token: whether the node's cache holds it, the fill that may put it there, and how its revocation stands."""

    is_cached: bool = False
    fill: Fill | None = None
    phase: Phase = Phase.BEGUN
    position: int = 0  # the epoch that its revocation made; 0 until that has committed
    deadline: int = NO_DEADLINE  # when its revoker stops waiting
    wait_set: Row | None = None  # the node's row as its revoker read it from the registry

    def after_log(self, after: int, epoch: int) -> "Token":
        """Drop the cache's entry if the log after `after` and up to `epoch` revokes it."""
        return self._replace(is_cached=False) if after < self.position <= epoch else self


class State(NamedTuple):
    """Everything there is."""

    time: int = 0
    epoch: int = 0
    row: Row = Row()
    node: Node = Node()
    notifications: tuple[int, ...] = ()  # epochs on their way to the node, oldest first
    acknowledged: int = 0  # the highest epoch that the node has acknowledged
    tokens: tuple[Token, Token] = (Token(), Token())

    def with_token(self, index: int, token: Token) -> "State":
        """Change one of the two tokens."""
        first, second = self.tokens
        return self._replace(tokens=(token, second) if index == 0 else (first, token))

    @property
    def is_filling(self) -> bool:
        """Whether a fill is in flight; there is one at a time."""
        first, second = self.tokens
        return first.fill is not None or second.fill is not None
