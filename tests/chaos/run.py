"""A run: every episode in an order that a seed draws, until enough has happened; then the history is checked."""

import asyncio
import random
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.chaos import clocks, lines, outages, stalls
from tests.chaos.episodes import QUICK, circumstance, revoke
from tests.chaos.figures import Figures
from tests.chaos.fleet import fleet
from tests.chaos.history import History, Offence
from tests.chaos.traffic import Traffic

Episode = Callable[[Traffic], Awaitable[None]]

HEALTHY: Final = 20


async def healthy(traffic: Traffic) -> None:
    """P1: tokens are revoked one after another while every process verifies them."""
    async with circumstance(traffic, "nothing wrong"):
        tokens = [await traffic.stock.get() for _ in range(HEALTHY)]
        traffic.may_change.clear()
        try:
            for token in tokens:
                await revoke(traffic, token, traffic.rng.choice(traffic.fleet.nodes), "P1 nothing wrong", *QUICK)
        finally:
            traffic.may_change.set()


EPISODES: Final[dict[Episode, int]] = {
    healthy: 4,
    stalls.stopped: 2,
    stalls.paused: 4,
    stalls.killed: 2,
    stalls.revoker_killed: 2,
    stalls.late_renewal: 2,
    lines.unlistened: 5,
    lines.deaf: 4,
    lines.black_hole: 2,
    lines.cut: 5,
    lines.terminated: 5,
    lines.slow: 2,
    lines.slow_reads: 4,
    outages.restarted: 1,
    outages.bounced: 2,
    outages.blocked: 2,
    clocks.skewed: 2,
}
"""Each with how often it comes, for those that take long come less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """When a run has seen enough."""

    verifications: int = 1_000_000
    revocations: int = 10_000
    faults: int = 500
    minutes: float = 60.0
    rate: int = 1_000
    """Verifications a second, beside those that accompany each revocation."""
    restricting: int = 4
    """Tasks that restrict tokens all the time."""

    def is_reached(self, run: "Run") -> bool:
        """Say whether all there is to see was seen."""
        return (
            len(run.history) >= self.verifications
            and run.figures.kinds["revoked"] >= self.revocations
            and run.figures.faults.total() >= self.faults
        )


@dataclass(slots=True, kw_only=True)
class Run:
    """A run, going on or over."""

    seed: int
    goal: Goal
    history: History
    figures: Figures
    seconds: float = 0.0
    offences: Sequence[Offence] = ()

    @property
    def problems(self) -> list[str]:
        """List what must not be."""
        return [str(offence) for offence in self.offences] + self.figures.broken


async def run(
    seed: int, goal: Goal, *, order: Sequence[Episode] | None = None, without: str | None = None, is_told: bool = False
) -> Run:
    """Run episodes: those of an order, or as the seed draws them until the goal is reached or its time is up."""
    going = Run(seed=seed, goal=goal, history=History(), figures=Figures())
    began_s = time.monotonic()
    try:
        async with fleet(without=without) as together:
            traffic = Traffic(fleet=together, history=going.history, figures=going.figures, rng=random.Random(seed))
            async with traffic.going(rate=goal.rate, restricting=goal.restricting):
                for episode in order or ():
                    await one(traffic, episode, is_told=is_told)
                if order is None:
                    await draw(traffic, going, began_s)
    except Exception as error:  # noqa: BLE001 -- what there is by now is checked and reported all the same
        traceback.print_exc()
        going.figures.broken.append(f"the run ended early: {error!r}")
    going.seconds = time.monotonic() - began_s
    going.offences = list(going.history.offences())
    return going


async def draw(traffic: Traffic, going: Run, began_s: float) -> None:
    """Draw episodes: each once at first, then by chance."""
    first = list(EPISODES)
    traffic.rng.shuffle(first)
    while not going.goal.is_reached(going) and time.monotonic() - began_s < going.goal.minutes * 60:
        episode = first.pop() if first else traffic.rng.choices(list(EPISODES), list(EPISODES.values()))[0]
        await one(traffic, episode, is_told=True)


async def one(traffic: Traffic, episode: Episode, *, is_told: bool) -> None:
    """Run an episode, and tell what there is by now."""
    began_s = time.monotonic()
    try:
        await episode(traffic)
    except Exception as error:
        error.add_note(f"in the episode {name_of(episode)}")
        raise
    if is_told:
        figures = traffic.figures
        sys.stdout.write(
            f"{name_of(episode):>22} {time.monotonic() - began_s:5.1f} s; in all {len(traffic.history):,} "
            f"verifications, {figures.kinds['revoked']:,} revocations, {figures.faults.total()} faults, "
            f"{len(figures.broken)} broken\n"
        )
        sys.stdout.flush()


def name_of(episode: Episode) -> str:
    """Name an episode."""
    return str(getattr(episode, "__name__", episode))


def main_loop(work: Awaitable[Run]) -> Run:
    """Run on the loop that is fastest."""
    import uvloop  # noqa: PLC0415 -- tests run on their own

    async def doing() -> Run:
        return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(doing())
