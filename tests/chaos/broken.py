"""`python -m tests.chaos.broken R1 serve …`: the service without one rule of the protocol, to show that chaos notices.

The rules are those of `tests/model/protocol.py`; the classes are the service's own, each with one thing left out. There
is no switch for any of it in the service.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from service import cli, enforcement, lease, lease_keeper
from service.barrier import Barrier
from service.issuing import Done, Issuing
from service.lease import Node, Renewal, RenewalAnswer, Renewed


def without_r1() -> None:
    """Wait for nobody."""

    def is_done(_barrier: Barrier, _now_s: float) -> bool:
        return True

    put(Barrier, "is_done", is_done)


def without_r2() -> None:
    """Rely on the cache without a lease."""

    def recall(node: "Node[Any]", digest: bytes) -> object:
        entry = node._cache.get(digest)
        return None if entry is None or node._clock.steady() >= entry.deadline_s else entry.proved

    put(Node, "recall", recall)


def without_r3() -> None:
    """Count the lease from the answer to a renewal."""
    renewed = Node.renewed

    def renewed_now(node: "Node[Any]", renewal: Renewal, answer: RenewalAnswer) -> Renewed:
        clock = lease_keeper.CLOCK
        return renewed(node, replace(renewal, sent_s=clock.steady(), sent_wall_s=clock.wall()), answer)

    put(Node, "renewed", renewed_now)


def without_r4() -> None:
    """Take whatever was read for current."""

    def is_current(_node: "Node[Any]", _epoch: int, _sent_s: float, _incarnation: str | None) -> bool:
        return True

    put(Node, "is_current", is_current)


def without_r9() -> None:
    """Evict whoever was waited for, whether or not it has renewed."""
    statement = enforcement.CLOSE_BARRIERS
    condition = " and n.renewals = w.renewals"
    assert condition in statement.text
    object.__setattr__(statement, "text", statement.text.replace(condition, ""))


def without_r13() -> None:
    """Answer at once where an earlier attempt has done it."""
    enforced = Issuing._enforced

    async def enforced_if_new(issuing: Issuing, done: Done, command: Any) -> Done:  # noqa: ANN401 -- any command
        return done if done.position is None else await enforced(issuing, done, command)

    put(Issuing, "_enforced", enforced_if_new)


def put(owner: type, name: str, function: object) -> None:
    """Put a function in the place of a method."""
    assert callable(getattr(owner, name))
    setattr(owner, name, function)


WITHOUT: Final[dict[str, Callable[[], None]]] = {
    "R1": without_r1,
    "R2": without_r2,
    "R3": without_r3,
    "R4": without_r4,
    "R9": without_r9,
    "R13": without_r13,
}

if __name__ == "__main__":
    WITHOUT[sys.argv.pop(1)]()
    assert lease.Node is Node
    cli.main()
