"""`python -m tests.chaos`: runs until enough has happened, writes a report, and fails if anything must not have."""

import argparse
import random
import sys
from pathlib import Path

from tests.chaos.report import report
from tests.chaos.run import Goal, main_loop, run

REPORT = Path(__file__).parents[2] / "bench" / "CHAOS.md"


def main() -> int:
    """Run and report."""
    goal = Goal()
    asked = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    asked.add_argument("--minutes", type=float, default=goal.minutes, help="at most so long (%(default)s)")
    asked.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="repeats the draws")
    asked.add_argument("--rate", type=int, default=goal.rate, help="verifications a second (%(default)s)")
    asked.add_argument("--verifications", type=int, default=goal.verifications, help="at least (%(default)s)")
    asked.add_argument("--revocations", type=int, default=goal.revocations, help="at least (%(default)s)")
    asked.add_argument("--faults", type=int, default=goal.faults, help="at least (%(default)s)")
    asked.add_argument("--report", type=Path, default=REPORT, help="where to write it (%(default)s)")
    given = vars(asked.parse_args())
    seed, path = given.pop("seed"), given.pop("report")
    sys.stdout.write(f"seed {seed}\n")
    ended = main_loop(run(seed, Goal(**given), is_told=True))
    path.write_text(report(ended), encoding="utf-8")
    sys.stdout.write(f"{path} is written\n")
    sys.stdout.write("".join(f"{problem}\n" for problem in ended.problems[:100]))
    return 1 if ended.problems or not ended.goal.is_reached(ended) else 0


if __name__ == "__main__":
    sys.exit(main())
