"""One process of the simulation: the hands of `service.verify` and `service.enforcement`, in virtual time.

Everything that is decided is decided by the service's own `Node` and `Barrier`. Each rule of the protocol that is in
the hands is a method of its own, so that a test can build a process without it.
"""

import math
from functools import partial

from service.barrier import Barrier, Member
from service.lease import longest_wait_s
from service.verified_cache import Entry
from tests.model.simulation_connection import Connection
from tests.model.simulation_database import Committed, Mutation, Reading
from tests.model.simulation_keeper import LIMIT_S, RECONNECT_PAUSE_S, Guarded, Keeper
from tests.model.simulation_kernel import LostError, ViolationError, Waiting
from tests.model.simulation_truth import SCOPES, Request, Row

POLL_S = 0.1
SWEEP_EVERY_S = 0.4
ORPHANED_AFTER_S = 1.0
MOST_READS = 3
MOST_COMMITS = 3
OVER = 1 << SCOPES
"""What is remembered of a secret that is no good any more."""


class Verifier(Keeper):
    """Verifies keys, from memory and from the database."""

    def verify(self, request: Request) -> None:
        """Decide on a request: at once from memory, where that can tell."""
        scopes = self.node.recall(request.digest)
        if scopes == OVER:
            self.world.counts["denied from memory"] += 1
        elif scopes is not None and scopes >> request.scope & 1:
            self.world.counts["accepted from memory"] += 1
            self._accept(request, "memory of")
        else:
            self.process.spawn(self._look_up(request))

    async def _look_up(self, request: Request) -> None:
        for _ in range(MOST_READS):
            incarnation, sent_s = self.node.incarnation, self.clock.steady()
            try:
                row = await self.database.ask(self.process, lambda: self.database.find(request.digest), LIMIT_S)
            except LostError:
                self.world.counts["unavailable"] += 1
                return
            if self.world.chance(0.4):
                await self.process.sleep(self.world.latency_s())
            if not self.node.is_current(row.epoch, sent_s, incarnation):
                self.world.counts["stale read discarded"] += 1
                self.world.counts["read across a re-join discarded"] += incarnation != self.node.incarnation
                continue
            self._decide(request, row, sent_s + row.left_s)
            return

    def _decide(self, request: Request, row: Row, deadline_s: float) -> None:
        if row.left_s <= 0:
            self.node.remember(request.digest, Entry(row.subject, OVER, math.inf))
        elif self.clock.steady() < deadline_s:
            self.node.remember(request.digest, Entry(row.subject, row.scopes, deadline_s))
            if row.scopes >> request.scope & 1:
                self.world.counts["accepted from the database"] += 1
                self._accept(request, "database for")

    def _accept(self, request: Request, source: str) -> None:
        registered = self.node.incarnation is not None
        self.database.truth.accepted(request, f"{source} {self.name}", self.said if registered else None)


class Revoker(Verifier):
    """Changes tokens, and answers when no process accepts more than that leaves."""

    barrier_type = Barrier

    async def change(self, mutation: Mutation) -> int:
        """Make a change and answer with the position up to which it holds everywhere. Raises LostError."""
        committed = await self.commit(mutation)
        self.world.counts["unknown outcome tried again"] += not committed.is_new
        if mutation.kind != "widen":
            for subject in mutation.subjects:
                await self.enforce_asked(subject, is_new=committed.is_new)
        return committed.last

    async def commit(self, mutation: Mutation) -> Committed:
        """Send a change until it is known to be committed."""
        for _ in range(MOST_COMMITS):
            try:
                return await self.database.ask_to_commit(self.process, mutation, LIMIT_S)
            except LostError:
                await self.process.sleep(RECONNECT_PAUSE_S)
        raise LostError

    async def read(self, subject: str, connection: Connection) -> tuple[Reading, float]:
        """Read the registry, and when the wait begins: not before it was read, or a renewal may slip in between."""
        held_up_s = self.database.held_up_s(self.process)
        reading = await connection.execute(partial(self.database.read_barrier, subject), LIMIT_S, held_up_s=held_up_s)
        return reading, self.clock.steady()

    async def read_first(self, subject: str, connection: Connection) -> tuple[Reading, float]:
        """Read the registry to begin a wait."""
        return await self.read(subject, connection)

    def evict(self, members: list[Member]) -> None:
        """Evict who was waited out."""
        self.database.evict(members)

    async def enforce_asked(self, subject: str, *, is_new: bool) -> None:
        """Enforce what somebody waits for, be it committed just now or when it was asked for before."""
        self.world.counts["retry waited again"] += not is_new
        await self.enforce(subject)

    async def enforce(self, subject: str) -> None:
        """Wait until a token's last restriction holds everywhere, be it of this change or of an earlier one.

        All on one connection: where that breaks, what was waited for may be lost.
        """
        connection = self.database.pooled(self.process)
        try:
            await self._enforce(subject, connection)
        finally:
            connection.terminate()

    async def _enforce(self, subject: str, connection: Connection) -> None:
        committed_s = self.process.true_steady_s()
        reading, read_s = await self.read_first(subject, connection)
        if reading.is_fenced:
            self.world.counts["found fenced"] += 1
            return
        stops, known_s = self.process.stops, self.process.true_steady_s()
        barrier = self.barrier_type(reading.position, reading.registry, committed_s=committed_s, read_s=read_s)
        await self._wait(barrier, subject, connection)
        took_s = self.process.true_steady_s() - known_s
        longest_s = longest_wait_s([member.lease_s for member in reading.registry])
        if stops == self.process.stops and took_s > longest_s + 0.001:
            raise ViolationError(f"G4: {self.name} waited {took_s:.4f} s for {reading.position}, not {longest_s:.4f} s")
        waited_out = barrier.waited_out()
        self.world.counts["barrier waited out" if waited_out else "barrier acknowledged"] += 1
        self.world.say(f"{self.name} done at {reading.position}: {[m.incarnation for m in waited_out]} waited out")

        def close() -> None:
            self.evict(waited_out)
            self.database.fence(subject, reading.position)

        await connection.execute(close, LIMIT_S)

    async def _wait(self, barrier: Barrier, subject: str, connection: Connection) -> None:
        for incarnation, applied in self.heard_of.items():
            barrier.acknowledged(incarnation, applied)
        guarded = Guarded(barrier, Waiting())
        self.guarded.append(guarded)
        while not barrier.is_done(now_s := self.clock.steady()):
            guarded.wake = Waiting()
            self.process.after(min(POLL_S, barrier.ends_s - now_s) + 1e-6, partial(guarded.wake.succeed, None))
            await guarded.wake
            if not barrier.is_done(-math.inf):
                self.process.spawn(self._poll(guarded, subject, connection))
        self.guarded.remove(guarded)

    async def _poll(self, guarded: Guarded, subject: str, connection: Connection) -> None:
        try:
            reading, _ = await self.read(subject, connection)
        except LostError:
            return
        guarded.barrier.polled(reading.registry)
        if guarded.barrier.is_done(-math.inf):
            guarded.wake.succeed(None)

    def start(self) -> None:
        """Begin to take part, and to finish what dead processes left."""
        super().start()
        self.process.spawn(self._sweep())

    async def _sweep(self) -> None:
        while True:
            await self.process.sleep(SWEEP_EVERY_S * self.world.random.uniform(0.5, 1.5))
            try:
                subjects = await self.database.ask(
                    self.process, lambda: self.database.unfenced(ORPHANED_AFTER_S), LIMIT_S
                )
                for subject in subjects:
                    self.world.counts["orphan swept"] += 1
                    await self.enforce(subject)
            except LostError:
                continue
