"""Virtual time for the simulation: a heap of events, processes with clocks of their own, and coroutines that wait.

One seed decides everything that happens. A process that is stopped does no step until it is woken: whatever comes for
it waits, in order, while its clocks go on. A process that died does no step any more. Must never read a real clock.
"""

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from typing import Generic, TypeVar

from service.lease import Clock

Value = TypeVar("Value")
Action = Callable[[], None]


class ViolationError(AssertionError):
    """Something happened that must not."""


class LostError(Exception):
    """A connection broke or a limit passed: whether the statement took effect is unknown."""


class DiedError(BaseException):
    """Ends a step of a process that was killed in the middle of it."""


class Waiting(Generic[Value]):
    """An answer that is yet to come; one coroutine may await it."""

    __slots__ = ("_error", "_resume", "_values", "is_done")

    def __init__(self) -> None:
        self.is_done = False
        self._values: list[Value] = []
        self._error: Exception | None = None
        self._resume: Action | None = None

    def succeed(self, value: Value) -> None:
        """Answer, unless that has happened."""
        if not self.is_done:
            self._values.append(value)
            self._end()

    def fail(self, error: Exception) -> None:
        """End without an answer, unless there is one."""
        if not self.is_done:
            self._error = error
            self._end()

    def resumes(self, step: Action) -> None:
        """Have a step done once this has ended."""
        self._resume = step

    def _end(self) -> None:
        self.is_done = True
        if self._resume is not None:
            self._resume()

    def __await__(self) -> Generator["Waiting[Value]", None, Value]:
        """Wait for the answer."""
        if not self.is_done:
            yield self
        if self._error is not None:
            raise self._error
        return self._values[0]


class World:
    """What happens next, and when."""

    def __init__(self, seed: int, *, is_verbose: bool = False) -> None:
        self.random = random.Random(seed)
        self.now_s = 0.0
        self.counts: Counter[str] = Counter()
        """How often something worth testing for came about."""
        self.is_verbose = is_verbose
        self.slow_until_s = 0.0
        self.is_calm = False
        self._heap: list[tuple[float, int, Process | None, int, Action]] = []
        self._events = 0
        self.is_inside_a_step = False

    def say(self, what: str) -> None:
        """Note what happened, where somebody reads along."""
        if self.is_verbose:
            print(f"{self.now_s:9.4f} {what}")  # noqa: T201 -- the trace that was asked for

    def after(
        self, delay_s: float, action: Action, process: "Process | None" = None, *, life: int | None = None
    ) -> None:
        """Have something done later, as a step of a process if it is one's, in its present life or the one given."""
        self._events += 1
        if life is None:
            life = 0 if process is None else process.life
        heappush(self._heap, (self.now_s + delay_s, self._events, process, life, action))

    def step(self, action: Action, process: "Process") -> None:
        """Have a process do a step: now if it runs, or when it does."""
        if process.stopped_until_s > self.now_s:
            self.after(0.0, action, process)
            return
        try:
            action()
        except DiedError:
            self.say("… in the middle of a step")

    def run_until(self, end_s: float) -> None:
        """Do everything that is due before a time, and let it become that time."""
        heap = self._heap
        while heap and heap[0][0] < end_s:
            due_s, number, process, life, action = heappop(heap)
            self.now_s = max(self.now_s, due_s)
            if process is not None:
                if process.life != life:
                    continue
                if process.stopped_until_s > self.now_s:
                    heappush(heap, (process.stopped_until_s, number, process, life, action))
                    continue
            try:
                action()
            except DiedError:
                self.say("… in the middle of a step")
        self.now_s = max(self.now_s, end_s)

    def chance(self, probability: float) -> bool:
        """Toss a coin."""
        return self.random.random() < probability

    def latency_s(self) -> float:
        """Say how long a message takes: mostly a moment, sometimes most of a lease."""
        toss = self.random.random()
        if (toss < 0.03 and not self.is_calm) or (self.now_s < self.slow_until_s and toss < 0.5):
            return self.random.uniform(0.02, 0.6)
        return 0.0005 + toss * 0.002


class Process:
    """An operating system's process: its clocks, and whether it runs."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.life = 0
        self.is_alive = False
        self.stopped_until_s = 0.0
        self.cut_until_s = 0.0
        """Until when nothing passes between it and the database; what was sent meanwhile arrives after that."""
        self.deaf_until_s = 0.0
        """Until when most messages to it get lost."""
        self.held_up_until_s = 0.0
        """Until when its statements take long to reach the database."""
        self.stops = 0
        self.stall_s = 0.0
        """How long to stop at the next reading of the clock, in the middle of a step."""
        self.stops_at_renewal_s = 0.0
        """How long to stop when a renewal has taken effect, before its answer is received."""
        self.rate = 1 + world.random.choice((-0.01, 0.0, 0.01, world.random.uniform(-0.01, 0.01)))
        self._began_s = world.random.uniform(0, 1000)
        self.wall_offset_s = world.random.uniform(0, 1000)
        self.clock = Clock(steady=self._steady_s, wall=self._wall_s)

    def true_steady_s(self) -> float:
        """Read the steady clock from outside."""
        return self._began_s + self.world.now_s * self.rate

    def stop(self, for_s: float) -> None:
        """Do no step for a while."""
        self.stops += 1
        self.stopped_until_s = max(self.stopped_until_s, self.world.now_s + for_s)

    def stop_soon(self) -> None:
        """Stop as was noted that it should."""
        self.stop(self.stops_at_renewal_s)
        self.stops_at_renewal_s = 0.0
        self.world.counts["stopped at a renewal"] += 1

    def die(self) -> None:
        """Do no step any more, in this life."""
        self.life += 1
        self.is_alive = False
        self.stopped_until_s = self.stall_s = self.stops_at_renewal_s = 0.0

    def after(self, delay_s: float, action: Action) -> None:
        """Do something after a time by the process's own clock."""
        self.world.after(delay_s / self.rate, action, self)

    def sleep(self, delay_s: float) -> Waiting[None]:
        """Wait for a time by the process's own clock."""
        waiting: Waiting[None] = Waiting()
        self.after(delay_s, lambda: waiting.succeed(None))
        return waiting

    def spawn(self, coroutine: Coroutine[Waiting[object], None, None]) -> None:
        """Begin a coroutine; each of its steps is one of the process's."""

        def step() -> None:
            try:
                coroutine.send(None).resumes(step)
            except StopIteration:
                return

        step()

    def _steady_s(self) -> float:
        if self.stall_s and not self.world.is_inside_a_step:
            self._stall()
        return self.true_steady_s()

    def _wall_s(self) -> float:
        return self.wall_offset_s + self.world.now_s * self.rate

    def _stall(self) -> None:
        """Stop right here; everybody else goes on."""
        world, life, for_s = self.world, self.life, self.stall_s
        self.stall_s = 0.0
        self.stop(for_s)
        world.counts["stalled inside a step"] += 1
        world.say(f"{self.name} stalls inside a step for {for_s:.3f} s")
        world.is_inside_a_step = True
        try:
            while self.life == life and world.now_s < self.stopped_until_s:
                world.run_until(self.stopped_until_s)
        finally:
            world.is_inside_a_step = False
        if self.life != life:
            raise DiedError
