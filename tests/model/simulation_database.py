"""The virtual database: tokens, the log of changes, the registry, and who listens.

Each statement is a method and takes effect at one instant. Must stay as the service's statements are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from service.barrier import Member
from service.lease import Change, Invalidation, RenewalAnswer
from tests.model.simulation_connection import Connection
from tests.model.simulation_kernel import Action, Process, World
from tests.model.simulation_truth import Row, Truth

Answer = TypeVar("Answer")

MOST_CHANGES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A change somebody asks for, under a key that makes it happen once."""

    key: str
    kind: str
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What became of it: the positions it took, for it or for an earlier request for it."""

    first: int
    last: int
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The last restriction of a token and the registry, as of one instant."""

    position: int
    is_fenced: bool
    registry: list[Member]


@dataclass(slots=True)
class Logged:
    """A row of the log of changes."""

    subject: str
    is_restricting: bool
    committed_s: float
    is_fenced: bool = False


class Database:
    """The primary."""

    def __init__(self, world: World, truth: Truth) -> None:
        self.world = world
        self.truth = truth
        self.is_up = True
        self.history = "first"
        self.registry: dict[str, Member] = {}
        self.log: list[Logged] = []
        self.connections: dict[Connection, None] = {}
        self.listeners: dict[Connection, None] = {}
        self.starts: list[Action] = []
        """What begins when a change is held up the next time."""
        self._commits: dict[str, Committed] = {}

    @property
    def epoch(self) -> int:
        """Count the changes."""
        return len(self.log)

    async def connect(self, process: Process) -> Connection:
        """Open a connection. Raises LostError."""
        connection = self.pooled(process)
        await connection.execute(lambda: None, 1.5)
        return connection

    def pooled(self, process: Process) -> Connection:
        """Take a connection that was opened before."""
        connection = Connection(self, process)
        self.connections[connection] = None
        return connection

    async def ask(self, process: Process, statement: Callable[[], Answer], limit_s: float) -> Answer:
        """Send a statement on a connection of its own, as from a pool. Raises LostError."""
        connection = self.pooled(process)
        try:
            return await connection.execute(statement, limit_s, held_up_s=self.held_up_s(process))
        finally:
            connection.terminate()

    def held_up_s(self, process: Process) -> float:
        """Draw how much longer a statement of a process is on its way."""
        if self.world.now_s >= process.held_up_until_s or self.world.chance(0.3):
            return 0.0
        self.world.counts["held up"] += 1
        return self.world.random.uniform(0.05, 0.5)

    async def ask_to_commit(self, process: Process, mutation: Mutation, limit_s: float) -> Committed:
        """Send a change. Raises LostError."""
        if self.starts and self.world.now_s < process.held_up_until_s:
            self.world.counts["started before a late commit"] += 1
            self.world.after(self.world.random.uniform(0, 0.03), self.starts.pop())
        return await self.ask(process, lambda: self.commit(mutation), limit_s)

    def forget(self, connection: Connection) -> None:
        """Know a connection no more."""
        self.connections.pop(connection, None)
        self.listeners.pop(connection, None)

    def restart(self, down_s: float) -> None:
        """Lose every connection and be away for a while."""
        self.is_up = False
        for connection in tuple(self.connections):
            connection.lose()

        def start() -> None:
            self.is_up = True

        self.world.after(down_s, start)

    def fail_over(self, kept: int, down_s: float) -> None:
        """Have a standby take over that never got the last changes, nor what was done because of them."""
        del self.log[kept:]
        self._commits = {key: committed for key, committed in self._commits.items() if committed.last <= kept}
        self.registry = {
            name: replace(member, applied=min(member.applied, kept)) for name, member in self.registry.items()
        }
        self.history = f"after {self.history}"
        self.truth.forget(kept)
        self.world.say(f"a standby takes over at {kept}")
        self.restart(down_s)

    def listen(self, connection: Connection) -> None:
        """LISTEN on both channels."""
        if not connection.is_broken:
            self.listeners[connection] = None

    def join(self, incarnation: str, lease_s: float, earlier: str | None) -> tuple[int, str]:
        """Enter the registry, in place of an earlier incarnation."""
        self.registry.pop(earlier or "", None)
        row = Member(incarnation=incarnation, lease_s=lease_s, renewals=0, applied=self.epoch)
        self.registry[incarnation] = row
        return self.epoch, self.history

    def leave(self, incarnation: str) -> None:
        """Leave the registry."""
        self.registry.pop(incarnation, None)

    def renew(self, incarnation: str, applied: int, history: str, connection: Connection) -> tuple[RenewalAnswer, bool]:
        """Renew a row and read what changed, and whether the connection listens."""
        row = self.registry.get(incarnation) if history == self.history else None
        if connection.process.stops_at_renewal_s:
            connection.process.stop_soon()
        if row is not None:
            self.registry[incarnation] = Member(
                incarnation=incarnation, lease_s=row.lease_s, renewals=row.renewals + 1, applied=applied
            )
        changed = enumerate(self.log[applied : applied + MOST_CHANGES], applied + 1)
        answer = RenewalAnswer(
            is_registered=row is not None,
            epoch=self.epoch,
            history=self.history,
            changes=tuple(Change(position, logged.subject) for position, logged in changed),
        )
        return answer, connection in self.listeners

    def acknowledge(self, incarnation: str, applied: int) -> None:
        """Tell everybody how far a node has got."""
        for listener in self.listeners:
            if listener.on_acknowledgement is not None:
                listener.tell(partial(listener.on_acknowledgement, incarnation, applied))

    def find(self, digest: bytes) -> Row:
        """Read what a secret is good for."""
        token = self.truth.owners[digest]
        newest = token.versions[-1]
        left_s = newest.secrets.get(digest, -math.inf) - self.world.now_s
        return Row(subject=token.subject, scopes=newest.scopes, left_s=left_s, epoch=self.epoch)

    def commit(self, mutation: Mutation) -> Committed:
        """Make a change once, log it and tell everybody."""
        if mutation.key in self._commits:
            self.world.counts["replayed"] += 1
            before = self._commits[mutation.key]
            return Committed(first=before.first, last=before.last, is_new=False)
        first = self.epoch + 1
        for subject in mutation.subjects:
            token = self.truth.tokens[subject]
            version = self.truth.changed(token, mutation.kind, self.epoch + 1)
            token.versions.append(version)
            self.log.append(Logged(subject, version.is_restricting, self.world.now_s))
        committed = self._commits[mutation.key] = Committed(first=first, last=self.epoch, is_new=True)
        self.world.say(f"committed {first}:{self.epoch} {mutation.kind} {','.join(mutation.subjects)}")
        said = None if self.world.chance(0.1) else mutation.subjects
        message = Invalidation(first=first, last=self.epoch, subjects=said)
        for listener in self.listeners:
            if listener.on_change is not None:
                listener.tell(partial(listener.on_change, message))
        return committed

    def remembers(self, mutation: Mutation) -> bool:
        """Say whether a change was committed and not lost since."""
        return mutation.key in self._commits

    def read_barrier(self, subject: str) -> Reading:
        """Find a token's last restriction and who is in the registry."""
        restrictions = [n for n, row in enumerate(self.log, 1) if row.subject == subject and row.is_restricting]
        position = max(restrictions, default=0)
        is_fenced = position == 0 or self.log[position - 1].is_fenced
        return Reading(position=position, is_fenced=is_fenced, registry=list(self.registry.values()))

    def evict(self, members: list[Member]) -> None:
        """Evict nodes unless they have renewed since they were counted."""
        for member in members:
            row = self.registry.get(member.incarnation)
            if row is not None and row.renewals == member.renewals:
                del self.registry[member.incarnation]
                self.world.counts["evicted"] += 1
                self.world.say(f"evicted {member.incarnation}")
            elif row is not None:
                self.world.counts["not evicted, since it had renewed"] += 1

    def fence(self, subject: str, position: int) -> None:
        """Say to everybody that a token's restrictions hold everywhere."""
        for row in self.log[:position]:
            if row.subject == subject and row.is_restricting:
                row.is_fenced = True
        self.truth.settle(subject, position)
        self.world.say(f"fenced {subject} up to {position}")

    def unfenced(self, age_s: float) -> list[str]:
        """Find tokens with a restriction that nobody has fenced for some time."""
        before_s = self.world.now_s - age_s
        old = [row for row in self.log if row.committed_s < before_s and row.is_restricting and not row.is_fenced]
        return list(dict.fromkeys(row.subject for row in old))
