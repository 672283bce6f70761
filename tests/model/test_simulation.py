"""The lease, the barrier and the cache keep the protocol's promise whatever a thousand seeds do to them.

Another thousand are in `test_simulation_rules.py`, so that two workers can share them. The message of a failure is the
command that shows it again, step by step. More seeds: `python -m tests.model.simulation --seeds 0-99999`.
"""

import pytest

from tests.model.simulation import COVERED, main, run_all


@pytest.mark.parametrize("first", range(0, 1000, 250))
def test_no_seed_breaks_the_promise(first: int) -> None:
    """Nothing is accepted after the answer or the acknowledgement, all heals, and everything hard came about."""
    counts = run_all(range(first, first + 250))
    assert [what for what in COVERED if counts[what] == 0] == []


def test_a_lost_history_is_noticed_and_nothing_of_it_kept() -> None:
    """Where a standby takes over without the last changes, every process begins anew and keeps the promise again."""
    counts = run_all(range(100), fails_over=True)
    assert counts["renewal HISTORY_LOST"] > 100
    assert counts["accepted before a lost history is over"] > 0


def test_a_seed_decides_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """The same seed does the same again, to the last step, and another does not."""
    printed = []
    for seed in ("11", "11", "12"):
        assert main(["--seed", seed, "-v"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert printed[0] != printed[2]
    assert "accepted from memory" in printed[0]
