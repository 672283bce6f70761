"""Those who use the service in a simulation: they present keys, change tokens, and look again after an answer.

A client whose change is not answered asks for the same change again, elsewhere. Must never know more than a client
does, but for where it looks.
"""

from dataclasses import dataclass, field
from functools import partial

from tests.model.simulation_database import Database, Mutation
from tests.model.simulation_kernel import LostError, Process, World
from tests.model.simulation_node import Revoker
from tests.model.simulation_truth import SCOPES, Request, Token, Truth

TOKENS = 4
VERIFY_EVERY_S = 0.018
CHANGE_EVERY_S = 0.35
KINDS = ("revoke", "revoke", "narrow", "widen", "shorten", "extend", "rotate", "rotate", "rotate now")


@dataclass(slots=True)
class Clients:
    """All clients."""

    truth: Truth
    database: Database
    processes: list[Process]
    nodes: dict[str, Revoker]
    unanswered: set[str] = field(default_factory=set)
    _changes: int = 0
    _last: Token | None = None

    @property
    def world(self) -> World:
        """Give them something to draw from."""
        return self.truth.world

    def begin(self, until_s: float) -> None:
        """Use the service until a time."""
        for _ in range(TOKENS):
            self.truth.create()
        self._keep_verifying(until_s)
        self.world.after(0.2, partial(self._keep_changing, until_s))

    def _keep_verifying(self, until_s: float) -> None:
        token = self._last
        if token is None or self.world.chance(0.5):
            token = self.world.random.choice(self.truth.live())
        delay_s = self.world.random.expovariate(1 / VERIFY_EVERY_S)
        if self.world.now_s + delay_s < until_s:
            self.world.after(delay_s, partial(self._keep_verifying, until_s))
        self.verify(self.world.random.choice(self.processes), token)

    def _keep_changing(self, until_s: float) -> None:
        self.change(self.world.random.choice(KINDS))
        delay_s = self.world.random.expovariate(1 / CHANGE_EVERY_S)
        if self.world.now_s + delay_s < until_s:
            self.world.after(delay_s, partial(self._keep_changing, until_s))

    def verify(self, process: Process, token: Token, digest: bytes | None = None) -> None:
        """Present a secret of a token to a process: it is read when the process runs."""
        if not process.is_alive:
            return
        request = Request(
            token=token,
            digest=digest or self.world.random.choice(token.digests[-2:]),
            scope=self.world.random.randrange(SCOPES),
            begun_s=self.world.now_s,
            settled=token.settled,
        )
        self.world.step(lambda: self.nodes[process.name].verify(request), process)

    def change(self, kind: str) -> None:
        """Ask for a change of a token, or of two at once."""
        live = self.truth.live()
        chosen = self.world.random.sample(live, 2 if kind == "revoke" and self.world.chance(0.2) else 1)
        if self._last in live and self.world.chance(0.3):
            chosen = [self._last]
        self._last = chosen[0]
        if kind == "revoke":
            for _ in chosen:
                self.truth.create()
        self._changes += 1
        mutation = Mutation(
            key=f"c{self._changes}", kind=kind, subjects=tuple(sorted(token.subject for token in chosen))
        )
        self.unanswered.add(mutation.key)
        self._ask(mutation)

    def _ask(self, mutation: Mutation) -> None:
        if mutation.key not in self.unanswered:
            return
        alive = [process for process in self.processes if process.is_alive]
        if alive:
            process = self.world.random.choice(alive)
            self.world.say(f"{process.name} is asked for {mutation.key} {mutation.kind} {','.join(mutation.subjects)}")
            self.world.after(0.0, partial(self._handle, process, mutation), process)
        self.world.after(self.world.random.uniform(0.1, 1.5), partial(self._ask, mutation))

    def _handle(self, process: Process, mutation: Mutation) -> None:
        process.spawn(self._answer(self.nodes[process.name], mutation))

    async def _answer(self, node: Revoker, mutation: Mutation) -> None:
        try:
            position = await node.change(mutation)
        except LostError:
            return
        self.world.say(f"{node.name} answers {mutation.key}")
        self.unanswered.discard(mutation.key)
        if not self.database.remembers(mutation):
            self.world.counts["answered what is lost"] += 1
            return
        for subject in mutation.subjects:
            if mutation.kind != "widen":
                self.truth.settle(subject, position)
            self._look_again(self.truth.tokens[subject])
        if not self.world.is_calm and self.world.chance(0.3):
            self.world.after(self.world.random.uniform(0, 0.1), partial(self.change, "revoke"))

    def _look_again(self, token: Token) -> None:
        """Present a token's keys everywhere, now and for a while."""
        for process in self.processes:
            for delay_s in (0.0, *(self.world.random.uniform(0, 0.3) for _ in range(2))):
                self.world.after(delay_s, partial(self._look, process, token))

    def _look(self, process: Process, token: Token) -> None:
        for digest in token.digests[-2:]:
            self.verify(process, token, digest)
