"""The barrier of one restricting change: whose acknowledgement its answer waits for, and until when at most.

Sans-I/O, like `service.lease`. A registry must be given to it that was read after the change was committed; a node that
joins later has the change in its first renewal. Must never let go of a node that may still hold a lease and has not
acknowledged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.lease import DRIFT, longest_wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node's row in the registry as it was read."""

    incarnation: str
    lease_s: float
    renewals: int
    """How often it has renewed: a row with more is not the row that was waited for."""
    applied: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """How a restriction reached every process."""

    processes: int
    acknowledged: int
    waited_out: int
    """Those that did not answer and cannot hold a lease any more, or have left."""
    took_ms: float


class Barrier:
    """What one change still waits for."""

    def __init__(
        self, position: int, registry: Sequence[Member], *, committed_s: float, read_s: float, drift: float = DRIFT
    ) -> None:
        """Begin to wait; `read_s` is the time right after the registry was read.

        Not before: the change may have been committed, and a lease renewed, while the read was under way.
        """
        self.position = position
        self._processes = len(registry)
        self._committed_s = committed_s
        self._waiting = {member.incarnation: member for member in registry if member.applied < position}
        self._gone = 0
        self._read_s = read_s
        self._drift = drift

    @property
    def ends_s(self) -> float:
        """When none of those still waited for can hold a lease any more: who has acknowledged prolongs nothing."""
        return self._read_s + longest_wait_s([member.lease_s for member in self._waiting.values()], self._drift)

    def acknowledged(self, incarnation: str, applied: int) -> None:
        """Note how far a node has got."""
        if applied >= self.position:
            self._waiting.pop(incarnation, None)

    def polled(self, registry: Sequence[Member]) -> None:
        """Note how far the nodes have got by the registry read again; who left it holds no lease any more."""
        there = {member.incarnation: member for member in registry}
        for incarnation in tuple(self._waiting):
            if incarnation not in there:
                del self._waiting[incarnation]
                self._gone += 1
            else:
                self.acknowledged(incarnation, there[incarnation].applied)

    def is_done(self, now_s: float) -> bool:
        """Say whether no node can accept what the change restricted any more."""
        return not self._waiting or now_s >= self.ends_s

    def waited_out(self) -> list[Member]:
        """List the nodes that never acknowledged, to be evicted unless they have renewed since."""
        return list(self._waiting.values())

    def fence(self, now_s: float) -> Fence:
        """Say how it was reached."""
        return Fence(
            processes=self._processes,
            acknowledged=self._processes - len(self._waiting) - self._gone,
            waited_out=len(self._waiting) + self._gone,
            took_ms=round((now_s - self._committed_s) * 1000, 3),
        )
