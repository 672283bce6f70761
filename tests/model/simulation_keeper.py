"""One process's membership in the simulation: the hands of `service.lease_keeper`, in virtual time.

Everything that is decided is decided by the service's own `Node`. Each rule of the protocol that is in the hands is a
method of its own, so that a test can build a process without it.
"""

import math
from dataclasses import dataclass
from functools import partial

from service.barrier import Barrier
from service.lease import Heard, Invalidation, Node, Renewal, RenewalAnswer, Renewed
from service.verified_cache import VerifiedCache
from tests.model.simulation_connection import Connection
from tests.model.simulation_database import Database
from tests.model.simulation_kernel import LostError, Process, ViolationError, Waiting

LIMIT_S = 1.0
RECONNECT_PAUSE_S = 0.05
CAPACITY = 12


@dataclass(slots=True)
class Guarded:
    """A barrier somebody waits at, and the wait that an acknowledgement ends."""

    barrier: Barrier
    wake: Waiting[None]


class Keeper:
    """A membership: joins, renews, listens, acknowledges; in one life of a process."""

    node_type = Node[int]

    def __init__(self, process: Process, database: Database, *, lease_s: float) -> None:
        self.process = process
        self.database = database
        self.lease_s = lease_s
        self.name = f"{process.name}.{process.life}"
        self.world = process.world
        self.clock = process.clock
        self.cache = VerifiedCache[int](capacity=CAPACITY)
        self.node = self.node_type(self.cache, process.clock, lease_s=lease_s)
        self.guarded: list[Guarded] = []
        self.heard_of: dict[str, int] = {}
        """How far each node was heard to be: a message may come before its barrier is there."""
        self.acknowledging: Connection | None = None
        self.control: Connection | None = None
        self.said = -1
        """The furthest position that was ever said to be applied by this incarnation."""
        self.joins = 0
        self._due: Waiting[None] = Waiting()
        self._applied: Waiting[None] = Waiting()
        self._left: str | None = None
        self._limit_s = lease_s / 4

    def start(self) -> None:
        """Begin to take part."""
        self.process.spawn(self._keep())
        self.process.spawn(self._acknowledge())

    async def _keep(self) -> None:
        while True:
            connection = None
            try:
                self.control = connection = await self.database.connect(self.process)
                connection.on_change, connection.on_acknowledgement = self._hear_change, self._hear_acknowledgement
                connection.on_break = self._make_due
                await self._listen(connection)
                while True:
                    await self._renew(connection)
                    await self._until_due()
            except LostError:
                self.world.counts["connection lost"] += 1
            if connection is not None:
                connection.terminate()
            await self.process.sleep(RECONNECT_PAUSE_S)

    async def _listen(self, connection: Connection) -> None:
        self.node.reconnected()
        await connection.execute(lambda: self.database.listen(connection), LIMIT_S)

    async def _until_due(self) -> None:
        self.process.after(self._limit_s * self.world.random.uniform(0.8, 1.0), self._make_due)
        await self._due
        self._due = Waiting()

    def _make_due(self) -> None:
        self._due.succeed(None)

    async def _renew(self, connection: Connection) -> None:
        if self.node.incarnation is None:
            await self.join(connection)
        renewal = self.node.begin_renewal()
        self.said = max(self.said, renewal.applied)
        answer, listens = await connection.execute(partial(self.asked, renewal, connection), self._limit_s)
        if len(answer.changes) < answer.epoch - renewal.applied:
            self.world.counts["changes cut short"] += 1
        renewed = self.renewed(renewal, answer)
        self.world.say(f"{self.name} {renewed.name} sent {renewal.applied} now {self.node.applied}")
        self.world.counts[f"renewal {renewed.name}"] += 1
        match renewed:
            case Renewed.HELD:
                if answer.history != self.database.history:
                    self.world.counts["lease under a history that is lost since"] += 1
                self._has_applied()
            case Renewed.HISTORY_LOST:
                self._left = renewal.incarnation
                if len(self.cache) or self.node.holds_lease:
                    raise ViolationError(f"{self.name} relies on a history that is lost")
                self._make_due()
            case Renewed.EVICTED:
                self._make_due()
            case Renewed.STALE:
                raise AssertionError("there is one renewal at a time")
        if not listens:
            self.world.counts["found not to listen"] += 1
            await self._listen(connection)

    def asked(self, renewal: Renewal, connection: Connection) -> tuple[RenewalAnswer, bool]:
        """Carry a renewal out, at the database."""
        return self.database.renew(renewal.incarnation, renewal.applied, renewal.history, connection)

    def renewed(self, renewal: Renewal, answer: RenewalAnswer) -> Renewed:
        """Hand the node what a renewal brought."""
        return self.node.renewed(renewal, answer)

    def new_incarnation(self) -> str:
        """Name a membership."""
        self.joins += 1
        return f"{self.name}.{self.joins}"

    async def join(self, connection: Connection) -> None:
        """Enter the registry; the lease comes with a renewal after that."""
        incarnation = self.new_incarnation()
        held_up_s = self.database.held_up_s(self.process)
        enter = partial(self.database.join, incarnation, self.lease_s, self._left)
        epoch, history = await connection.execute(enter, LIMIT_S, held_up_s=held_up_s)
        self.has_joined(incarnation, epoch, history)

    def has_joined(self, incarnation: str, epoch: int, history: str) -> None:
        """Begin a membership."""
        self._left = None
        self.said = epoch
        self.node.joined(incarnation, epoch, history)
        self.world.say(f"{self.name} joins as {incarnation} at {epoch}")

    def leave(self) -> None:
        """Stop accepting from memory, then leave the registry."""
        incarnation = self.node.incarnation
        self.node.leave()
        if incarnation is not None and self.control is not None:
            self.control.execute(lambda: self.database.leave(incarnation), LIMIT_S)

    def _hear_change(self, message: Invalidation) -> None:
        heard = self.heard(message)
        self.world.say(f"{self.name} hears {message.first}:{message.last}: {heard.name} at {self.node.applied}")
        if heard is Heard.ACKNOWLEDGE:
            self._has_applied()
        elif heard is Heard.RENEW:
            self.world.counts["gap"] += message.subjects is not None
            self._make_due()

    def heard(self, message: Invalidation) -> Heard:
        """Hand the node a message."""
        return self.node.heard(message)

    def _hear_acknowledgement(self, incarnation: str, applied: int) -> None:
        self.heard_of[incarnation] = max(applied, self.heard_of.get(incarnation, 0))
        for guarded in self.guarded:
            guarded.barrier.acknowledged(incarnation, applied)
            if guarded.barrier.is_done(-math.inf):
                guarded.wake.succeed(None)

    def _has_applied(self) -> None:
        if self.node.incarnation is not None:
            self._hear_acknowledgement(self.node.incarnation, self.node.applied)
            self._applied.succeed(None)

    async def _acknowledge(self) -> None:
        told: tuple[str | None, int] = (None, 0)
        while True:
            connection = None
            try:
                self.acknowledging = connection = await self.database.connect(self.process)
                while True:
                    await self._applied
                    self._applied = Waiting()
                    reached = (self.node.incarnation, self.node.applied)
                    if reached[0] is not None and reached != told:
                        await self._say(connection, reached[0], reached[1])
                        told = reached
            except LostError:
                self._applied.succeed(None)
            if connection is not None:
                connection.terminate()
            await self.process.sleep(RECONNECT_PAUSE_S)

    async def _say(self, connection: Connection, incarnation: str, applied: int) -> None:
        self.said = max(self.said, applied)
        await connection.execute(lambda: self.database.acknowledge(incarnation, applied), self._limit_s)
