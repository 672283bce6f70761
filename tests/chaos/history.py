"""The history of a run: what was asked when and answered how, and what of it must not have been.

One host's clock is read for all of it, which the processes cannot change. What is kept of a verification are a few
numbers in arrays, so that millions fit. Must never be told a secret.
"""

import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

NEVER: Final = 2**63 - 1
NO_ANSWER: Final = 0
ACCEPTED: Final = 200
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
REFUSED: Final = frozenset({UNAUTHORIZED, FORBIDDEN})
NS: Final = 1_000_000_000


def now_ns() -> int:
    """Read the clock of the run."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offence:
    """An answer that must not have been given."""

    what: str
    node: int
    begin_ns: int
    end_ns: int
    claim: str
    restricting_ns: int
    restricted_ns: int

    def __str__(self) -> str:
        """Tell it in a line; times are in milliseconds after the restriction's answer, or its beginning."""
        since = self.restricted_ns if self.restricted_ns != NEVER else self.restricting_ns
        begin_ms, end_ms = ((at_ns - since) / 1e6 for at_ns in (self.begin_ns, self.end_ns))
        return f"{self.what}: {self.claim} at process {self.node}, begun {begin_ms:+.3f} ms, answered {end_ms:+.3f} ms"


class History:
    """What was said of claims; a claim is one secret held against one question."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._restricting_ns = array("q")
        """When the first request was sent that could restrict a claim: before it the claim is good."""
        self._restricted_ns = array("q")
        """When such a request was answered: what begins after it must not be accepted."""
        self._claims = array("I")
        self._nodes = array("B")
        self._statuses = array("H")
        self._begins_ns = array("q")
        self._ends_ns = array("q")
        self._answered = 0

    def __len__(self) -> int:
        """Count the verifications that were answered."""
        return self._answered

    def claim(self, name: str) -> int:
        """Enter a claim that is good from now on."""
        self._names.append(name)
        self._restricting_ns.append(NEVER)
        self._restricted_ns.append(NEVER)
        return len(self._names) - 1

    def restricting(self, claim: int, at_ns: int) -> None:
        """Note that a claim may stop being good from now on."""
        self._restricting_ns[claim] = min(at_ns, self._restricting_ns[claim])

    def restricted(self, claim: int, at_ns: int) -> None:
        """Note that it has been answered that a claim is not good."""
        self._restricted_ns[claim] = min(at_ns, self._restricted_ns[claim])

    def is_restricted(self, claim: int) -> bool:
        """Say whether a claim is known not to be good any more."""
        return self._restricted_ns[claim] <= now_ns()

    def verified(self, claim: int, node: int, status: int, *, begin_ns: int, end_ns: int) -> None:
        """Note how a verification was answered."""
        self._claims.append(claim)
        self._nodes.append(node)
        self._statuses.append(status)
        self._begins_ns.append(begin_ns)
        self._ends_ns.append(end_ns)
        self._answered += status != NO_ANSWER

    def statuses(self) -> Counter[int]:
        """Count the verifications by how they were answered."""
        return Counter(self._statuses)

    def after_restriction(self) -> int:
        """Count the answered verifications that began after the answer which ended their claim."""
        columns = zip(self._claims, self._statuses, self._begins_ns, strict=True)
        return sum(status != NO_ANSWER and begin_ns > self._restricted_ns[claim] for claim, status, begin_ns in columns)

    def offences(self) -> Iterator[Offence]:
        """Find what was accepted after a restriction's answer, and what was refused before one was asked for."""
        columns = zip(self._claims, self._statuses, self._begins_ns, self._ends_ns, strict=True)
        for number, (claim, status, begin_ns, end_ns) in enumerate(columns):
            if status == ACCEPTED and begin_ns > self._restricted_ns[claim]:
                yield self._offence("accepted after it ended", number)
            elif status in REFUSED and end_ns < self._restricting_ns[claim]:
                yield self._offence("refused before it ended", number)

    def _offence(self, what: str, number: int) -> Offence:
        claim = self._claims[number]
        return Offence(
            what=what,
            node=self._nodes[number],
            begin_ns=self._begins_ns[number],
            end_ns=self._ends_ns[number],
            claim=self._names[claim],
            restricting_ns=self._restricting_ns[claim],
            restricted_ns=self._restricted_ns[claim],
        )
