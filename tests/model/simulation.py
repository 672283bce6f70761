"""A seeded simulation of the revocation protocol: the service's lease, barrier and cache under faults, in virtual time.

    python -m tests.model.simulation --seed N [--without R9] [--fail-over] [-v]     one run; -v prints it
    python -m tests.model.simulation --seeds A-B [--without R9] [--fail-over]       many, up to the first violation

Three processes verify and revoke at once on one database. After a while the faults end, and everything has to be well
again. Must never depend on anything but the seed and the code.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from tests.model.simulation_clients import Clients
from tests.model.simulation_database import Database
from tests.model.simulation_faults import break_things, fail_over
from tests.model.simulation_kernel import Process, ViolationError, World
from tests.model.simulation_node import Revoker
from tests.model.simulation_truth import Truth
from tests.model.simulation_without import WITHOUT

NODES = 3
FAULTS_S = 3.0
CALM_S = 4.0
LAST_S = 1.5
LOOK_EVERY_S = 0.1
COVERED = (
    "accepted before the answer what was restricted",
    "accepted from memory",
    "accepted from the database",
    "barrier acknowledged",
    "barrier waited out",
    "changes cut short",
    "denied from memory",
    "evicted",
    "found fenced",
    "found not to listen",
    "gap",
    "held up",
    "late statement",
    "message lost",
    "not evicted, since it had renewed",
    "orphan swept",
    "read across a re-join discarded",
    "renewal EVICTED",
    "renewal HELD",
    "replayed",
    "retry waited again",
    "sent while cut off",
    "stale read discarded",
    "stalled inside a step",
    "started before a late commit",
    "stopped at a renewal",
    "unavailable",
    "unknown outcome tried again",
)
"""What has to come about in some hundred seeds: a simulation in which nothing is hard shows nothing."""


class Simulation:
    """One run."""

    def __init__(
        self, seed: int, build: type[Revoker] = Revoker, *, fails_over: bool = False, is_verbose: bool = False
    ) -> None:
        self.world = World(seed, is_verbose=is_verbose)
        self.truth = Truth(self.world)
        self.database = Database(self.world, self.truth)
        self.build = build
        self.lease_s = self.world.random.choice((0.5, 0.5, 1.0))
        self.processes = [Process(self.world, f"node{number}") for number in range(NODES)]
        self.nodes: dict[str, Revoker] = {}
        if fails_over:
            self.world.after(self.world.random.uniform(0.5, 2.0), lambda: fail_over(self))
        self.clients = Clients(self.truth, self.database, self.processes, self.nodes)

    def start(self, process: Process) -> None:
        """Start a process, with nothing in its memory."""
        process.is_alive = True
        lease_s = self.world.random.choice((0.5, self.lease_s))
        node = self.nodes[process.name] = self.build(process, self.database, lease_s=lease_s)
        self.world.after(0.0, node.start, process)

    def leave(self, process: Process) -> None:
        """Have a process leave the registry."""
        self.nodes[process.name].leave()

    def run(self) -> Counter[str]:
        """Run it to the end. Raises ViolationError."""
        for process in self.processes:
            self.start(process)
        self.clients.begin(FAULTS_S)
        break_things(self, self.processes, FAULTS_S)
        self.world.run_until(FAULTS_S)
        self._calm_down()
        self._expect_well()
        return self.world.counts

    def _calm_down(self) -> None:
        self.world.say("the faults end")
        self.world.slow_until_s = 0.0
        self.world.is_calm = True
        for process in self.processes:
            process.stall_s = 0.0
            process.cut_until_s = process.deaf_until_s = process.held_up_until_s = process.stops_at_renewal_s = 0.0

    def _expect_well(self) -> None:
        """Expect that all becomes well, and that a revocation then needs no more than to be acknowledged."""
        self._expect(lambda: not self._what_is_wrong(), CALM_S)
        # The first may still have to wait for the row of a process that died, be it one that is entered late.
        for _ in range(5):
            waited_out = self.world.counts["barrier waited out"]
            self.clients.change("rotate now")
            self._expect(lambda: not self.clients.unanswered, LAST_S)
            if self.world.counts["barrier waited out"] == waited_out:
                return
        raise ViolationError("each revocation waits in vain for somebody")

    def _expect(self, is_so: Callable[[], bool], limit_s: float) -> None:
        ends_s = self.world.now_s + limit_s
        while not is_so():
            if self.world.now_s >= ends_s:
                raise ViolationError(f"after {limit_s} s without a fault: {self._what_is_wrong()}")
            self.world.run_until(self.world.now_s + LOOK_EVERY_S)

    def _what_is_wrong(self) -> list[str]:
        wrong = [f"{name} holds no lease" for name, node in self.nodes.items() if not node.node.holds_lease]
        wrong += [f"{name} waits for others" for name, node in self.nodes.items() if node.guarded]
        wrong += [f"{key} is not answered" for key in sorted(self.clients.unanswered)]
        return wrong + [f"{subject} has a restriction that is not fenced" for subject in self.database.unfenced(0.0)]


def run(seed: int, without: str | None = None, *, fails_over: bool = False, is_verbose: bool = False) -> Counter[str]:
    """Run one seed, with all the rules or without one. Raises ViolationError, which names the seed, whatever fails."""
    build = Revoker if without is None else WITHOUT[without]
    try:
        return Simulation(seed, build, fails_over=fails_over, is_verbose=is_verbose).run()
    except Exception as error:
        what = str(error) if isinstance(error, ViolationError) else f"{type(error).__name__}: {error}"
        again = f"--seed {seed}" + (f" --without {without}" if without else "") + " --fail-over" * fails_over
        raise ViolationError(f"{what} [python -m tests.model.simulation {again} -v]") from error


def run_all(seeds: Iterable[int], without: str | None = None, *, fails_over: bool = False) -> Counter[str]:
    """Run many and count what came about in all. Raises ViolationError at the first that goes wrong."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        counts.update(run(seed, without, fails_over=fails_over))
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description="Simulate the revocation protocol.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="run one seed")
    which.add_argument("--seeds", help="run many: first-last")
    parser.add_argument("--without", choices=sorted(WITHOUT), help="leave out a rule of the protocol")
    parser.add_argument("--fail-over", dest="fails_over", action="store_true", help="lose the primary once")
    parser.add_argument("-v", dest="is_verbose", action="store_true", help="print all that happens")
    asked = parser.parse_args(arguments)
    first, _, last = (asked.seeds or "").partition("-")
    try:
        if asked.seed is not None:
            counts = run(asked.seed, asked.without, fails_over=asked.fails_over, is_verbose=asked.is_verbose)
        else:
            counts = run_all(range(int(first), int(last or first) + 1), asked.without, fails_over=asked.fails_over)
    except ViolationError as violation:
        print(f"violation: {violation}")  # noqa: T201 -- the command's output
        return 1
    for what, count in sorted(counts.items()):
        print(f"{count:9} {what}")  # noqa: T201 -- the command's output
    return 0


if __name__ == "__main__":
    sys.exit(main())
