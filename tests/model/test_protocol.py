"""The revocation protocol keeps its promise in every state of the model, and would not without any one of its rules.

Safety says little within bounds that are too tight for anything to go wrong. So each rule's violation is looked for
inside the bounds within which the protocol is searched: what happens within narrower bounds happens within wider ones.
Two ticks, one lease's length, and two writes of the node's row are enough for every violation, and many need no time at
all. The protocol is searched with a third write, so that a node that was evicted can hold a lease again.

`ENTRI_MODEL_FULL=1` (`make model`) searches five ticks, which is two and a half leases, and every violation there: so
each is the shortest of all. That the number of states is known shows that no step went missing.
"""

import os

import pytest

from tests.model.protocol import Model, Rule, stale_accept, steps
from tests.model.search import Outcome, main, search
from tests.model.state import State

IS_FULL = "ENTRI_MODEL_FULL" in os.environ

SPACES = [
    (Model(2), 489_431),
    (Model(1, renewals=2, fills_survive=True, connections_break=True, registry_is_polled=True), 97_070),
]
if IS_FULL:
    SPACES = [
        (Model(5), 5_210_388),
        (Model(5, fills_survive=True), 5_229_956),
        (Model(3, fills_survive=True, connections_break=True, registry_is_polled=True), 3_432_240),
    ]

VIOLATIONS = {  # the steps of the shortest, the stale accept included, and the ticks that it takes
    Rule.BARRIER: (11, 0),
    Rule.LEASE_AT_VERIFY: (10, 2),
    Rule.LEASE_FROM_SEND: (13, 2),
    Rule.FENCED_FILL: (11, 0),
    Rule.APPLY_BEFORE_ACKNOWLEDGEMENT: (12, 0),
    Rule.NO_GAP: (14, 0),
    Rule.RENEWAL_CARRIES_LOG: (13, 2),
    Rule.RENEWAL_HITS_ROW: (16, 2),
    Rule.EVICTION_COMPARES: (16, 2),
    Rule.REGISTRY_AFTER_COMMIT: (12, 0),
    Rule.WAIT_AFTER_COMMIT: (14, 2),
    Rule.ROW_BEFORE_LEASE: (8, 0),
    Rule.RETRY_WAITS: (10, 0),
}
if IS_FULL:  # its search takes half as long as those of all others together
    VIOLATIONS[Rule.WAIT_AFTER_REGISTRY] = (18, 2)


@pytest.mark.parametrize(("model", "states"), SPACES)
def test_the_protocol_never_accepts_after_the_answer(model: Model, states: int) -> None:
    """In no state that can be reached is a token accepted whose revocation was answered."""
    assert search(model) == Outcome(states, ())


@pytest.mark.parametrize("rule", VIOLATIONS, ids=lambda rule: rule.value)
def test_each_rule_is_needed(rule: Rule) -> None:
    """Without any one rule there is a way to a stale accept, and the shortest has as many steps as is known."""
    length, ticks = VIOLATIONS[rule]
    model = Model(5, without=rule) if IS_FULL else Model(ticks, renewals=2, without=rule)
    assert len(search(model).violation) == length


def test_exchanging_the_tokens_leaves_no_state_out() -> None:
    """Counting a state twice if it has a mirror image gives what a search without that finds."""
    model = Model(0, renewals=2)
    seen = {State()}
    frontier = [State()]
    while frontier:
        reached = {step.state for state in frontier for step in steps(model, state)} - seen
        seen |= reached
        frontier = list(reached)
    assert not any(stale_accept(model, state) for state in seen)
    assert search(model).states == len(seen)


def test_a_violation_is_told_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the way to a stale accept, and that it was found where it should be is its exit code."""
    assert main(["--horizon", "0", "--without", "R12"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "without R12 (ROW_BEFORE_LEASE), horizon 0, 3 renewals"
    assert printed[1].startswith("VIOLATED in 8 steps")
    assert printed[2] == "   1  time 0  node: takes its first lease"
    assert printed[9] == "   8  time 0  node: accepts token 1, whose revocation was answered"


def test_a_rule_whose_need_is_not_seen_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """The command fails where the bounds are too tight for a rule's violation, and not where the protocol holds."""
    assert main(["--horizon", "0", "--renewals", "2", "--without", "R9"]) == 1
    assert main(["--horizon", "0", "--renewals", "2"]) == 0
    assert "SAFE in all of" in capsys.readouterr().out
