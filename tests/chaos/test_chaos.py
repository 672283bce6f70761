"""Revocation under faults, shortly: every fault once, at real processes under load. `make chaos` does it for long.

`ENTRI_CHAOS_SEED` repeats the draws of a run that failed. How long things take is reported and, on a machine that does
other things too, not judged; that nothing is accepted too long is.
"""

import os
import random
from collections.abc import Sequence
from typing import Final

import pytest

from tests.chaos import clocks, lines, outages, stalls
from tests.chaos.broken import WITHOUT
from tests.chaos.fleet import faketime
from tests.chaos.report import report
from tests.chaos.run import EPISODES, Episode, Goal, healthy, run
from tests.chaos.teeth import CAUGHT_BY

SEED: Final = int(os.environ.get("ENTRI_CHAOS_SEED", random.SystemRandom().randrange(2**32)))
GOAL: Final = Goal(rate=200, restricting=2)
ORDER: Final[Sequence[Episode]] = (
    healthy,
    stalls.stopped,
    lines.unlistened,
    lines.deaf,
    lines.cut,
    lines.terminated,
    stalls.killed,
    lines.black_hole,
    lines.slow_reads,
    lines.slow,
    stalls.revoker_killed,
    outages.blocked,
    clocks.skewed,
    outages.restarted,
)


async def test_nothing_is_accepted_after_the_answer_that_ended_it() -> None:
    """Whatever befalls processes, lines, PostgreSQL and clocks: a key is good until it is ended, and never after."""
    ended = await run(SEED, GOAL, order=ORDER)
    print(f"ENTRI_CHAOS_SEED={SEED}\n{report(ended)}")  # noqa: T201 -- shown when it fails
    assert ended.problems == []
    assert ended.history.after_restriction() > 100
    clock_faults = 0 if faketime() is None else 2
    assert ended.figures.faults.total() >= len(ORDER) + clock_faults  # two befall one episode, and none the healthy one
    if faketime() is None:
        pytest.skip("without libfaketime (Debian: faketime) no clock was wrong; all else holds")


def test_what_shows_that_a_rule_is_needed_is_in_a_run() -> None:
    """A long run has every episode of the short one, and those that catch a rule that is left out."""
    assert set(ORDER) < set(EPISODES)
    assert {episode for episodes in CAUGHT_BY.values() for episode in episodes} < set(EPISODES)
    assert set(CAUGHT_BY) == set(WITHOUT)
