"""`python -m tests.chaos.teeth`: leaves out one rule of the protocol after the other, and shows that each is missed."""

import argparse
import random
import sys
from typing import Final

from tests.chaos import lines, stalls
from tests.chaos.broken import WITHOUT
from tests.chaos.run import Episode, Goal, Run, main_loop, name_of, run

ROUNDS: Final = 4
CAUGHT_BY: Final[dict[str, tuple[Episode, ...]]] = {
    "R1": (lines.deaf, stalls.stopped),
    "R2": (lines.black_hole, stalls.stopped),
    "R3": (lines.black_hole,) * 3,
    "R4": (lines.slow_reads,),
    "R9": (stalls.late_renewal,),
    "R13": (stalls.revoker_killed,),
}
"""By what each is most likely to be caught; a run of everything has all of them."""


def bite(rule: str, seed: int) -> Run:
    """Run without a rule."""
    goal = Goal(rate=200, restricting=1)
    return main_loop(run(seed, goal, order=CAUGHT_BY[rule], without=rule))


def main() -> int:
    """Try every rule, or those that are named, a few times each."""
    asked = argparse.ArgumentParser(prog="python -m tests.chaos.teeth", description=__doc__)
    asked.add_argument("rules", nargs="*", choices=[[], *WITHOUT], help="all if none is named")
    asked.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = asked.parse_args()
    missed: list[str] = []
    for rule in given.rules or WITHOUT:
        episodes = ", ".join(dict.fromkeys(name_of(episode) for episode in CAUGHT_BY[rule]))
        for attempt in range(ROUNDS):
            ended = bite(rule, given.seed + attempt)
            if ended.offences:
                said = f"caught by {episodes}: {len(ended.offences)} times, e.g. {ended.offences[0]}"
                break
        else:
            said = "NOT CAUGHT"
            missed.append(rule)
        sys.stdout.write(f"without {rule} (seed {given.seed + attempt}): {said}\n")
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
