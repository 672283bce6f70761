"""Searches the model's whole space, nearest states first, for an accept that comes after a revocation's answer.

`python -m tests.model.search --horizon 5` searches the protocol, `--without R9` what is left of it without a rule.
What it finds is a shortest way there, and it is printed step by step. If it finds nothing, it has seen every state
within the model's bounds. Must never leave a state out unless it is another one with the two tokens exchanged.
"""

import argparse
import sys
import time
from collections.abc import Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

from tests.model.protocol import Model, Rule, Step, stale_accept, steps
from tests.model.state import Node, Row, State, Token

Value = TypeVar("Value", bound=Hashable)
VARIATIONS = ("fills_survive", "connections_break", "registry_is_polled")
Surroundings = tuple[int, int, Row, Node, tuple[int, ...], int]  # all fields of a state but its tokens
BITS = 20


class Outcome(NamedTuple):
    """How many states there are, or were seen before a violation was; and the shortest way to that, if there is one."""

    states: int
    violation: tuple[Step, ...]


class Numbers(Generic[Value]):
    """Numbers values in the order in which they come."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._numbers: dict[Value, int] = {}

    def of(self, value: Value) -> int:
        """Look a value's number up, or give it the next one."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class Packing:
    """Packs states into integers: there are millions, of a few thousand surroundings and a few hundred tokens."""

    def __init__(self) -> None:
        self._surroundings: Numbers[Surroundings] = Numbers()
        self._tokens: Numbers[Token] = Numbers()

    def pack(self, state: State) -> int:
        """Name a state; with the two tokens exchanged it has the same name."""
        one, other = self._tokens.of(state.tokens[0]), self._tokens.of(state.tokens[1])
        if one > other:
            one, other = other, one
        return (self._surroundings.of(state[:-1]) << BITS | one) << BITS | other

    def unpack(self, packed: int) -> State:
        """Tell the state that a name stands for."""
        mask = (1 << BITS) - 1
        tokens = (self._tokens.values[packed >> BITS & mask], self._tokens.values[packed & mask])
        return State(*self._surroundings.values[packed >> 2 * BITS], tokens)

    @staticmethod
    def weight(packed: int) -> int:
        """Count the states that share a name."""
        mask = (1 << BITS) - 1
        return 1 if packed >> BITS & mask == packed & mask else 2


def search(model: Model) -> Outcome:
    """Visit every state that can be reached, nearest first, until one allows a stale accept."""
    packing = Packing()
    start = packing.pack(State())
    predecessors = {start: start}
    frontier = [start]
    while frontier:
        reached = []
        for packed in frontier:
            for step in steps(model, packing.unpack(packed)):
                successor = packing.pack(step.state)
                if successor in predecessors:
                    continue
                predecessors[successor] = packed
                reached.append(successor)
                if stale_accept(model, step.state) is not None:
                    return Outcome(len(predecessors), retraced(model, packing, path_to(successor, predecessors)))
        frontier = reached
    return Outcome(sum(map(Packing.weight, predecessors)), ())


def path_to(packed: int, predecessors: dict[int, int]) -> list[int]:
    """Walk back to the start; the path is in the order of its steps and begins after the start."""
    path = []
    while predecessors[packed] != packed:
        path.append(packed)
        packed = predecessors[packed]
    return path[::-1]


def retraced(model: Model, packing: Packing, path: Sequence[int]) -> tuple[Step, ...]:
    """Take a path's steps again, so that each token and revoker keeps its name all the way; the accept is the last."""
    taken: list[Step] = []
    state = State()
    for packed in path:
        step = next(step for step in steps(model, state) if packing.pack(step.state) == packed)
        taken.append(step)
        state = step.state
    accept = stale_accept(model, state)
    return (*taken, accept) if accept is not None else tuple(taken)


def report(model: Model, outcome: Outcome, elapsed_s: float) -> str:
    """Say what was searched and what was found; a violation line by line."""
    name = "the protocol" if model.without is None else f"without {model.without.value} ({model.without.name})"
    variations = "".join(f", {one}" for one in VARIATIONS if getattr(model, one))
    lines = [f"{name}, horizon {model.horizon}, {model.renewals} renewals{variations}"]
    if outcome.violation:
        found = f"VIOLATED in {len(outcome.violation)} steps, seen after {outcome.states:,} states"
    else:
        found = f"SAFE in all of {outcome.states:,} states"
    lines.append(f"{found}, {elapsed_s:.1f} s")
    lines += [f"{n:4}  time {step.state.time}  {step.what}" for n, step in enumerate(outcome.violation, 1)]
    return "\n".join(lines) + "\n"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.model.search", description="Search the revocation protocol.")
    parser.add_argument("--horizon", type=int, default=2, help="how many ticks time may go on; a lease lasts two")
    parser.add_argument("--renewals", type=int, default=3, help="how often the node's row may be written")
    parser.add_argument("--without", type=Rule, help="the rule to leave out: R1 to R13, R15")
    for variation in VARIATIONS:
        parser.add_argument(f"--{variation.replace('_', '-')}", action="store_true", help="see Model")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Search and print; answers 1 if the protocol is violated, or if it is not although a rule was left out."""
    model = Model(**vars(arguments(argv)))
    began_at = time.perf_counter()
    outcome = search(model)
    sys.stdout.write(report(model, outcome, time.perf_counter() - began_at))
    return 0 if bool(outcome.violation) == (model.without is not None) else 1


if __name__ == "__main__":
    sys.exit(main())
