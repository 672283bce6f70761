"""The load of a run: keys verified at every process all the time, and tokens restricted in every way there is.

Whatever a token is restricted by, its keys are verified at every process from before the mutation is sent until after
its answer has come, so that the edge between the two is where most is asked.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos import graph
from tests.chaos.figures import Figures
from tests.chaos.fleet import Fleet, Node
from tests.chaos.history import History, now_ns
from tests.chaos.keep_alive import Answer, get

QUESTIONS: Final = {"": "/verify", "orders:write": "/verify?scope=orders:write"}
STOCK: Final = 24
LATELY: Final = 64
MOST_AT_ONE_NODE: Final = 48
OVER_GRAPHQL: Final = 0.02
LONGEST_PAUSE_S: Final = 0.1
RETRY_S: Final = 0.02
ISSUED_WITHIN_S: Final = 5.0
ANSWERED_WITHIN_S: Final = 30.0


@dataclass(slots=True, kw_only=True)
class Token:
    """A token with one of its secrets, and the claims on that secret by the question it is held against."""

    token_id: str
    secret: str
    claims: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restricted:
    """How a restriction was answered."""

    ms: float
    payload: dict[str, Any]
    attempts: int

    @property
    def waited_out(self) -> int:
        """Count the processes that did not answer."""
        return int((self.payload["enforcement"] or {"waitedOut": 0})["waitedOut"])

    @property
    def processes(self) -> int:
        """Count the processes that were in the registry."""
        return int((self.payload["enforcement"] or {"processes": 0})["processes"])


@dataclass(slots=True, kw_only=True)
class Traffic:
    """Owns the tasks of the load."""

    fleet: Fleet
    history: History
    figures: Figures
    rng: random.Random
    circumstance: str = "nothing wrong"
    """What is going on, for the times of what is restricted meanwhile."""
    stock: "asyncio.Queue[Token]" = field(default_factory=lambda: asyncio.Queue(STOCK))
    lately: "deque[Token]" = field(default_factory=lambda: deque(maxlen=LATELY))
    """Tokens that are being restricted or were a moment ago: the ones to ask for."""
    may_change: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing is issued or restricted beside what is measured while this is clear."""
    _group: asyncio.TaskGroup | None = None
    _tasks: "set[asyncio.Task[Any]]" = field(default_factory=set)
    _made: int = 0

    @asynccontextmanager
    async def going(self, *, rate: int, restricting: int) -> AsyncIterator[None]:
        """Keep so many verifications a second and so many tasks that restrict going."""
        asking = 3 * len(self.fleet.nodes)
        work = [self._keep_stocked(), self._keep_stocked()]
        work += [self._keep_asking(node, asking / rate) for node in self.fleet.nodes for _ in range(3)]
        work += [self._keep_restricting() for _ in range(restricting)]
        async with asyncio.TaskGroup() as group:  # whatever fails ends the run
            self._group = group
            self.may_change.set()
            going = [group.create_task(one) for one in work]
            yield
            for task in going:
                task.cancel()
            await self.settle()

    async def settle(self) -> None:
        """Wait until everything that was asked beside is answered. Raises TimeoutError."""
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            while self._tasks:
                await asyncio.wait(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something beside."""
        assert self._group is not None
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What is asked

    async def verify(self, token: Token, node: Node, question: str = "") -> Answer:
        """Verify a token's secret at a process, and enter it in the history."""
        if self.rng.random() < OVER_GRAPHQL:
            scopes = [question] if question else []
            variables = {"secret": token.secret, "scopes": scopes}
            answer = await node.client.ask(graph.request(self.fleet.key, graph.VERIFY, variables))
            return self._noted(token, node, question, answer, graph.status_of(answer))
        return await self.present(token, node, question)

    async def present(self, token: Token, node: Node, question: str = "") -> Answer:
        """Verify a token's secret at a process as gateways do, and enter it in the history."""
        answer = await node.client.ask(get(QUESTIONS[question], token.secret))
        return self._noted(token, node, question, answer, answer.status)

    def _noted(self, token: Token, node: Node, question: str, answer: Answer, status: int) -> Answer:
        claim = token.claims[question]
        self.history.verified(claim, node.number, status, begin_ns=answer.begin_ns, end_ns=answer.end_ns)
        return answer

    def probe(self, token: Token) -> None:
        """Verify a token at every process, the stopped among them; nobody waits for the answers."""
        for node in self.fleet.nodes:
            if node.client.busy < MOST_AT_ONE_NODE:
                self.spawn(self.verify(token, node, self.rng.choice(list(token.claims))))

    async def warm(self, token: Token, nodes: Sequence[Node] | None = None) -> None:
        """Have a token remembered by the processes that answer."""
        asked = self.fleet.reachable if nodes is None else nodes
        await asyncio.gather(*(self.verify(token, node, question) for node in asked for question in token.claims))

    async def issue(self) -> Token:
        """Issue a token at any process that answers."""
        while True:
            self._made += 1
            node = self.rng.choice(self.fleet.reachable or self.fleet.nodes)
            payload = None
            with suppress(TimeoutError):  # it was stopped meanwhile; who stopped it may wait for a token
                async with asyncio.timeout(ISSUED_WITHIN_S):
                    _, payload = await graph.run(node, self.fleet.key, graph.CREATE, name=f"token {self._made}")
            if payload is not None:
                assert not payload["userErrors"], payload
                return self._token(payload["token"]["id"], payload["secret"])
            await asyncio.sleep(RETRY_S)

    def _token(self, token_id: str, secret: str) -> Token:
        claims = {question: self.history.claim(f"{token_id} for {question or 'anything'}") for question in QUESTIONS}
        return Token(token_id=token_id, secret=secret, claims=claims)

    # What is restricted

    async def restrict(
        self,
        token: Token,
        node: Node,
        document: str = graph.REVOKE,
        /,
        *,
        claims: Sequence[int] | None = None,
        **variables: object,
    ) -> Restricted:
        """Restrict a token and insist until it is answered, at another process if need be; verify it all the while."""
        ended = list(token.claims.values()) if claims is None else claims
        self.lately.append(token)
        done = asyncio.Event()
        for other in self.fleet.reachable:
            self.spawn(self._hammer(token, other, done))
        begin_ns, attempts = now_ns(), 0
        for claim in ended:
            self.history.restricting(claim, begin_ns)
        try:
            while True:
                attempts += 1
                answer, payload = await graph.run(node, self.fleet.key, document, id=token.token_id, **variables)
                if payload is not None:
                    break
                node = self.rng.choice(self._on_time() or self.fleet.nodes)
                await asyncio.sleep(RETRY_S)
        finally:
            done.set()
        if "expiresAt" not in variables:  # that ends nothing yet, or is refused for coming too late
            assert not payload["userErrors"], payload
            for claim in ended:
                self.history.restricted(claim, answer.end_ns)
        self.probe(token)
        return Restricted(ms=(answer.end_ns - begin_ns) / 1e6, payload=payload, attempts=attempts)

    async def revoke(self, token: Token, node: Node, name: str | None = None) -> Restricted:
        """Revoke a token, and note how long it took."""
        restricted = await self.restrict(token, node)
        self.figures.kinds["revoked"] += 1
        if name is not None:
            self.figures.took(name, restricted.ms)
        return restricted

    async def _hammer(self, token: Token, node: Node, done: asyncio.Event) -> None:
        pause_s = 0.003
        while not done.is_set() and node.client.busy < MOST_AT_ONE_NODE:
            await self.verify(token, node, self.rng.choice(list(token.claims)))
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, LONGEST_PAUSE_S)

    async def _rotate(self, token: Token, node: Node) -> None:
        """Rotate a token, at once or with an overlap that is then ended; its new secret is revoked like any other."""
        overlap = self.rng.choice((0, 0, 60))
        claims: list[int] | None = [] if overlap else None
        key = f"{token.token_id} {self.rng.random()}"
        rotated = await self.restrict(token, node, graph.ROTATE, claims=claims, overlap=overlap, key=key)
        if overlap:
            await self.restrict(token, node, graph.END_OVERLAP)
        self.figures.kinds["rotated with an overlap that was ended" if overlap else "rotated"] += 1
        fresh = self._token(token.token_id, rotated.payload["secret"])
        await self.warm(fresh)
        await self.revoke(fresh, node)

    async def _narrow(self, token: Token, node: Node) -> None:
        lost = [token.claims["orders:write"]]
        await self.restrict(token, node, graph.NARROW, claims=lost)
        self.figures.kinds["narrowed"] += 1

    async def expire(self, token: Token, node: Node, in_s: float) -> int:
        """Shorten a token's life to so many seconds from now, and return when that is on the clock of the history."""
        at_s, at_ns = time.time() + in_s, now_ns() + round(in_s * 1e9)
        at_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s)) + f"{at_s % 1:.6f}"[1:] + "Z"
        restricted = await self.restrict(token, node, graph.EXPIRE, expiresAt=at_text)
        if restricted.payload["userErrors"]:
            return at_ns
        for claim in token.claims.values():
            self.history.restricted(claim, max(at_ns, now_ns()) + EXPIRY_MARGIN_NS)
        self.figures.kinds["expiry shortened"] += 1
        return at_ns

    def _on_time(self) -> list[Node]:
        """List the processes that answer and whose wall clock is right: they decide when an overlap or a token ends."""
        return [node for node in self.fleet.reachable if node.clock is None]

    # What goes on all the time

    async def _keep_stocked(self) -> None:
        while True:
            await self.may_change.wait()
            token = await self.issue()
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.warm(token)
            await self.stock.put(token)

    async def _keep_asking(self, node: Node, pause_s: float) -> None:
        token = await self.issue()
        while True:
            asked = self.rng.choice(self.lately) if self.lately and self.rng.random() < 0.7 else token
            await self.verify(asked, node, self.rng.choice(list(asked.claims)))
            await asyncio.sleep(pause_s)

    async def _keep_restricting(self) -> None:
        while True:
            await self.may_change.wait()
            token, node = await self.stock.get(), self.rng.choice(self.fleet.reachable or self.fleet.nodes)
            chance, circumstance = self.rng.random(), f"meanwhile: {self.circumstance}"
            on_time = self.rng.choice(self._on_time() or self.fleet.nodes)
            if chance < 0.05:
                await self._rotate(token, on_time)
            else:
                if chance < 0.10:
                    await self._narrow(token, on_time)
                elif chance < 0.15:
                    await self.expire(token, on_time, self.rng.uniform(0.5, 1.5))
                await self.revoke(token, node, circumstance)
            await asyncio.sleep(self.rng.expovariate(1 / 0.15))


EXPIRY_MARGIN_NS: Final = 10_000_000
"""How far the wall clock, by which an expiry is asked for, may drift from the steady one meanwhile."""
