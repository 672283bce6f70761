"""The simulation notices when a rule is left out, and finds nothing in another thousand seeds where none is.

The first thousand are in `test_simulation.py`.
"""

import re

import pytest

from tests.model.simulation import COVERED, main, run, run_all
from tests.model.simulation_kernel import ViolationError
from tests.model.simulation_without import WITHOUT

CAUGHT = {  # the first seed that shows it
    "R1": 0,
    "R2": 10,
    "R3": 103,
    "R4": 3,
    "R5": 0,
    "R6": 14,
    "R7": 0,
    "R8": 64,
    "R9": 32,
    "R10": 192,
    "R11": 25,
    "R12": 33,
    "R13": 6,
    "R15": 101,
    "R16": 0,
}
MORE = 600
"""How many seeds after that are tried where the code was changed and that one does not show it any more."""


@pytest.mark.parametrize("first", range(1000, 2000, 250))
def test_no_seed_breaks_the_promise(first: int) -> None:
    """Nothing is accepted after the answer or the acknowledgement, all heals, and everything hard came about."""
    counts = run_all(range(first, first + 250))
    assert [what for what in COVERED if counts[what] == 0] == []


def stale_accept(without: str) -> tuple[int, str]:
    """Find a seed where a token is accepted that must not be."""
    for seed in range(CAUGHT[without], CAUGHT[without] + MORE):
        try:
            run(seed, without, fails_over=without == "R16")
        except ViolationError as violation:
            if re.match(r"G[12]: ", str(violation)):
                return seed, str(violation)
    pytest.fail(f"no seed shows that {without} is needed")


@pytest.mark.parametrize("without", WITHOUT)
def test_each_rule_is_needed(without: str) -> None:
    """Without any one rule a seed shows a stale accept, where there is none with all of them."""
    seed, violation = stale_accept(without)
    assert f"--seed {seed} --without {without}" in violation
    run(seed, fails_over=without == "R16")


def test_a_violation_is_told_with_the_command_that_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The command fails at the first violation and says how to see it again, with all that led to it."""
    seed, violation = stale_accept("R1")
    assert main(["--seeds", f"{seed}-{seed + 5}", "--without", "R1"]) == 1
    assert capsys.readouterr().out == f"violation: {violation}\n"
    assert main(["--seed", str(seed), "--without", "R1", "-v"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"violation: {violation}"
    assert any("joins as" in line for line in printed)


def test_what_came_about_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """The command succeeds where nothing goes wrong, and says how often what is worth testing for came about."""
    assert main(["--seeds", "0-3"]) == 0
    assert re.search(r"^ +\d+ barrier acknowledged$", capsys.readouterr().out, re.MULTILINE)
