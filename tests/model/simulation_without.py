"""Processes that leave out one rule of the protocol each, to show that the simulation notices.

R1 to R13 are the rules whose need the model shows as well (`protocol.py`). R14, that an incarnation is never used
again, is kept by construction. R15 is about when a wait begins, and R16 about a primary that was lost. Must never be
needed by a run of the protocol itself.
"""

from dataclasses import replace
from functools import partial

from service.barrier import Barrier, Member
from service.lease import Heard, Invalidation, Node, Renewal, RenewalAnswer, Renewed
from tests.model.simulation_connection import Connection
from tests.model.simulation_database import Committed, Database, Mutation, Reading
from tests.model.simulation_keeper import LIMIT_S
from tests.model.simulation_kernel import Process
from tests.model.simulation_node import Revoker


class NoBarrier(Barrier):
    """Waits for nobody."""

    def is_done(self, now_s: float) -> bool:
        """Let go at once."""
        return now_s == now_s  # noqa: PLR0124 -- whatever the time


class WithoutR1(Revoker):
    """A message is sent, and nobody waits for its acknowledgement or a lease's end."""

    barrier_type = NoBarrier


class ForeverNode(Node[int]):
    """Relies on its cache whether or not a lease is held."""

    def recall(self, digest: bytes) -> int | None:
        """Look an entry up."""
        entry = self._cache.get(digest)
        return None if entry is None or self._clock.steady() >= entry.deadline_s else entry.proved


class WithoutR2(Revoker):
    """The lease is not looked at when a key is verified."""

    node_type = ForeverNode


class WithoutR3(Revoker):
    """The lease counts from when the answer to a renewal came."""

    def renewed(self, renewal: Renewal, answer: RenewalAnswer) -> Renewed:
        """Pretend that the renewal was sent just now."""
        now = replace(renewal, sent_s=self.clock.steady(), sent_wall_s=self.clock.wall())
        return self.node.renewed(now, answer)


class TrustingNode(Node[int]):
    """Takes whatever was read from the database for current."""

    def is_current(self, epoch: int, sent_s: float, incarnation: str | None) -> bool:
        """Look at the age alone."""
        return super().is_current(max(epoch, self.applied), sent_s, incarnation)


class WithoutR4(Revoker):
    """What was read is remembered though changes were applied meanwhile that it does not show."""

    node_type = TrustingNode


class WithoutR5(Revoker):
    """A change is acknowledged before it is applied."""

    def heard(self, message: Invalidation) -> Heard:
        """Acknowledge, and apply in a while."""
        incarnation = self.node.incarnation
        if incarnation is None or self.acknowledging is None or message.first > self.node.applied + 1:
            return self.node.heard(message)
        self.said = max(self.said, message.last)
        self.acknowledging.execute(lambda: self.database.acknowledge(incarnation, message.last), LIMIT_S)
        self.process.after(self.world.latency_s(), lambda: self._apply(message))
        return Heard.NOTHING

    def _apply(self, message: Invalidation) -> None:
        self.node.heard(message)


class LeapingNode(Node[int]):
    """Takes a message for all that has happened."""

    def heard(self, message: Invalidation) -> Heard:
        """Apply it though changes before it are missing."""
        return super().heard(replace(message, first=min(message.first, self.applied + 1)))


class WithoutR6(Revoker):
    """Changes are acknowledged though some before them are missing."""

    node_type = LeapingNode


class WithoutR7(Revoker):
    """A renewal extends the lease and does not bring what changed."""

    def renewed(self, renewal: Renewal, answer: RenewalAnswer) -> Renewed:
        """Drop the changes it brought."""
        return self.node.renewed(renewal, replace(answer, epoch=renewal.applied, changes=()))


class WithoutR8(Revoker):
    """A renewal extends the lease though the node is not in the registry any more."""

    def renewed(self, renewal: Renewal, answer: RenewalAnswer) -> Renewed:
        """Take the row for granted."""
        return self.node.renewed(renewal, replace(answer, is_registered=True))


class WithoutR9(Revoker):
    """A node is evicted though it has renewed since the registry was read."""

    def evict(self, members: list[Member]) -> None:
        """Delete its row whatever it says."""
        for member in members:
            self.database.leave(member.incarnation)


class WithoutR10(Revoker):
    """The registry is read before the change is committed."""

    def __init__(self, process: Process, database: Database, *, lease_s: float) -> None:
        super().__init__(process, database, lease_s=lease_s)
        self.early: dict[str, Reading] = {}

    async def commit(self, mutation: Mutation) -> Committed:
        """Read, then commit."""
        early = await self.database.ask(self.process, lambda: list(self.database.registry.values()), LIMIT_S)
        committed = await super().commit(mutation)
        reading = Reading(position=committed.last, is_fenced=False, registry=early)
        self.early.update(dict.fromkeys(mutation.subjects, reading))
        return committed

    async def read_first(self, subject: str, connection: Connection) -> tuple[Reading, float]:
        """Go by what was read before."""
        if subject in self.early:
            return self.early.pop(subject), self.clock.steady()
        return await super().read_first(subject, connection)


class WithoutR11(Revoker):
    """The wait counts from before the commit."""

    def __init__(self, process: Process, database: Database, *, lease_s: float) -> None:
        super().__init__(process, database, lease_s=lease_s)
        self.began_s: dict[str, float] = {}

    async def commit(self, mutation: Mutation) -> Committed:
        """Note the time, then commit."""
        began_s = self.clock.steady()
        committed = await super().commit(mutation)
        self.began_s.update(dict.fromkeys(mutation.subjects, began_s))
        return committed

    async def read_first(self, subject: str, connection: Connection) -> tuple[Reading, float]:
        """Go by the time that was noted."""
        reading, read_s = await super().read_first(subject, connection)
        return reading, self.began_s.pop(subject, read_s)


class WithoutR12(Revoker):
    """A lease begins before the row in the registry is committed."""

    async def join(self, connection: Connection) -> None:
        """Read how far the changes are, begin, and enter the registry after that."""
        incarnation = self.new_incarnation()
        sent_s, sent_wall_s = self.clock.steady(), self.clock.wall()
        read = partial(self.database.renew, incarnation, self.database.epoch, self.database.history, connection)
        answer, _ = await connection.execute(read, LIMIT_S)
        self.has_joined(incarnation, answer.epoch, answer.history)
        renewal = Renewal(
            incarnation=incarnation,
            sent_s=sent_s,
            sent_wall_s=sent_wall_s,
            applied=answer.epoch,
            history=answer.history,
        )
        self.node.renewed(renewal, replace(answer, is_registered=True, changes=()))
        held_up_s = self.database.held_up_s(self.process)
        enter = partial(self.database.join, incarnation, self.lease_s, None)
        await connection.execute(enter, LIMIT_S, held_up_s=held_up_s)


class WithoutR13(Revoker):
    """A change that was committed before is answered at once when it is asked for again."""

    async def enforce_asked(self, subject: str, *, is_new: bool) -> None:
        """Wait for new ones only."""
        if is_new:
            await super().enforce_asked(subject, is_new=is_new)


class WithoutR15(Revoker):
    """The wait counts from before the registry was read, though after the commit."""

    async def read_first(self, subject: str, connection: Connection) -> tuple[Reading, float]:
        """Note the time, then read."""
        began_s = self.clock.steady()
        reading, _ = await super().read_first(subject, connection)
        return reading, began_s


class CredulousNode(Node[int]):
    """Takes every history for the one it knows."""

    def renewed(self, renewal: Renewal, answer: RenewalAnswer) -> Renewed:
        """Pretend that nothing was lost."""
        epoch = max(answer.epoch, renewal.applied)
        return super().renewed(renewal, replace(answer, history=renewal.history, epoch=epoch))


class WithoutR16(Revoker):
    """A history that was lost is not noticed. It takes a run in which the primary is lost to show."""

    node_type = CredulousNode

    def asked(self, renewal: Renewal, connection: Connection) -> tuple[RenewalAnswer, bool]:
        """Renew in whatever history there is."""
        return self.database.renew(renewal.incarnation, renewal.applied, self.database.history, connection)


WITHOUT: dict[str, type[Revoker]] = {
    kind.__name__.removeprefix("Without"): kind
    for kind in (
        WithoutR1,
        WithoutR2,
        WithoutR3,
        WithoutR4,
        WithoutR5,
        WithoutR6,
        WithoutR7,
        WithoutR8,
        WithoutR9,
        WithoutR10,
        WithoutR11,
        WithoutR12,
        WithoutR13,
        WithoutR15,
        WithoutR16,
    )
}
