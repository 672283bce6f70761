"""A connection of one process to the virtual database: statements, messages, and what becomes of them when it breaks.

A statement takes effect at one instant, somewhere between being sent and being answered. Whoever loses its connection
does not know whether it did, and it may still do so later. Messages of one connection arrive in the order of the
commits; how two connections' relate is open. Must not know what a statement does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tests.model.simulation_kernel import Action, LostError, Process, Waiting

if TYPE_CHECKING:
    from service.lease import Invalidation
    from tests.model.simulation_database import Database

Answer = TypeVar("Answer")


class Connection:
    """One process's connection; what is sent on it arrives in order."""

    def __init__(self, database: "Database", process: Process) -> None:
        self.database = database
        self.process = process
        self._life = process.life
        self.is_broken = False
        self.on_change: Callable[[Invalidation], None] | None = None
        self.on_acknowledgement: Callable[[str, int], None] | None = None
        self.on_break: Callable[[], None] | None = None
        self._pending: dict[object, Callable[[Exception], None]] = {}
        """How to fail what is not answered yet."""
        self._sent_s = self._told_s = 0.0

    def execute(self, statement: Callable[[], Answer], limit_s: float, *, held_up_s: float = 0.0) -> Waiting[Answer]:
        """Send a statement, which may be held up on its way.

        It fails when the limit has passed, but for one thing: an answer that came in time to a process that does not
        run is found when it does, as one that was received just before may be.
        """
        waiting: Waiting[Answer] = Waiting()
        if self.is_broken:
            waiting.fail(LostError())
            return waiting
        world = self.database.world
        self._pending[waiting] = waiting.fail
        self._sent_s = max(self._sent_s, self.arrives_s() + held_up_s)
        ends_s = world.now_s + limit_s / self.process.rate
        if self._sent_s >= ends_s:
            self._fail_at(ends_s, waiting)
        world.after(self._sent_s - world.now_s, lambda: self._arrive(statement, waiting, ends_s))
        return waiting

    def _fail_at(self, ends_s: float, waiting: Waiting[Answer]) -> None:
        world = self.database.world
        world.after(ends_s - world.now_s, lambda: waiting.fail(LostError()), self.process, life=self._life)

    def arrives_s(self) -> float:
        """Say when something that is sent now arrives on the other side."""
        world = self.database.world
        sent_s = world.now_s
        if self.process.cut_until_s > sent_s:
            sent_s = self.process.cut_until_s
            world.counts["sent while cut off"] += 1
        return sent_s + world.latency_s()

    def _arrive(self, statement: Callable[[], Answer], waiting: Waiting[Answer], ends_s: float) -> None:
        world = self.database.world
        if not self.database.is_up:
            self.lose()
            return
        if self.is_broken:
            if world.chance(0.5):
                return
            world.counts["late statement"] += 1
        value = statement()

        def reply() -> None:
            if not self.is_broken:
                self._pending.pop(waiting, None)
                waiting.succeed(value)

        answered_s = self.arrives_s()
        if not waiting.is_done and answered_s >= ends_s:
            self._fail_at(max(ends_s, world.now_s), waiting)
        world.after(answered_s - world.now_s, reply, self.process, life=self._life)

    def tell(self, deliver: Action) -> None:
        """Bring a message, after those before it, unless it gets lost."""
        world = self.database.world
        if world.now_s < self.process.deaf_until_s and world.chance(0.8):
            world.counts["message lost"] += 1
            return
        self._told_s = max(self._told_s, self.arrives_s())
        delay_s = self._told_s - world.now_s
        world.after(delay_s, lambda: None if self.is_broken else deliver(), self.process, life=self._life)

    def lose(self) -> None:
        """Break it: the process is told in a moment."""
        if not self.is_broken:
            self._close()
            world = self.database.world
            world.after(world.latency_s(), self._notice, self.process, life=self._life)

    def terminate(self) -> None:
        """End it from the process's side; what was sent may still arrive."""
        self._close()
        self._pending.clear()

    def _close(self) -> None:
        self.is_broken = True
        self.database.forget(self)

    def _notice(self) -> None:
        pending, self._pending = self._pending, {}
        for fail in pending.values():
            fail(LostError())
        if self.on_break is not None:
            self.on_break()
