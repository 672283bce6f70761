"""Enforces restrictions: a mutation that restricts a token is answered when no process accepts more than it leaves.

Each process has one enforcer. It reads the registry after the commit, waits at a `service.barrier` for each change, and
marks the change as fenced. What nobody waits for any more is finished all the same; what a process that died left
behind is fenced by the others. Must never answer for a change before its barrier is done.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

import orjson
import structlog

from events.statement import Connection, Pool, load
from projections.runner import happens, stopped
from service.barrier import Barrier, Fence, Member
from service.lease_keeper import Connect, connected

READ_BARRIERS: Final = load("service.statements", "read_barriers")
CLOSE_BARRIERS: Final = load("service.statements", "close_barriers")
FIND_UNFENCED: Final = load("service.statements", "find_unfenced")
FIND_REVOKING: Final = load("service.statements", "find_revoking")
FORGET_OLD_CHANGES: Final = load("service.statements", "forget_old_changes")

POLL_S: Final = 0.1
PATIENCE_S: Final = 2.0
"""Without the database, how long a restriction that is committed is waited for."""
LIMIT_S: Final = 2.0
RECONNECT_PAUSE_S: Final = 0.1
SWEEP_EVERY_S: Final = 5.0
ORPHANED_AFTER: Final = timedelta(seconds=5)
MOST_SWEPT: Final = 1_000
MOST_REVOKING: Final = 10_000
REMEMBERED_FOR: Final = timedelta(days=1)

log = structlog.get_logger(__name__)


class NotEnforcedError(Exception):
    """A restriction is committed, but not known to have reached every process; repeating the command waits for it."""


@dataclass(slots=True, kw_only=True)
class Restriction:
    """A restriction of a token that is to be enforced, since when, and who waits for it."""

    subject: str
    since_s: float
    answer: asyncio.Future[Fence | None] | None
    """None where it was left behind by a process that is gone."""

    def finish(self, outcome: Fence | Exception | None) -> None:
        """Tell whoever waits."""
        if self.answer is None or self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class Enforcer:
    """Owns a connection and the barriers of this process."""

    def __init__(self, connect: Connect, clock: Callable[[], float]) -> None:
        self._connect = connect
        self._clock = clock
        self._new: list[Restriction] = []
        self._open: list[tuple[Restriction, Barrier]] = []
        self._heard: dict[str, int] = {}
        """How far each node was heard to be: a message may come before its barrier is there."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._read_s = self._swept_s = float("-inf")

    async def __aenter__(self) -> Self:
        """Begin to enforce."""
        self._task = asyncio.create_task(self._run(), name="enforcer")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; what is unfinished is fenced by another process, or by this one when it is back."""
        await stopped(self._task)
        self._give_up(before_s=math.inf)

    @property
    def waiting(self) -> int:
        """Count the restrictions that are not fenced yet."""
        return len(self._new) + len(self._open)

    async def enforce(self, subject: str) -> Fence | None:
        """Wait until the last restriction of a token has reached every process; None where there is none.

        Call after it is committed. Raises NotEnforcedError when the database goes away meanwhile.
        """
        answer: asyncio.Future[Fence | None] = asyncio.get_running_loop().create_future()
        self._new.append(Restriction(subject=subject, since_s=self._clock(), answer=answer))
        self._wake.set()
        return await answer

    def acknowledged(self, incarnation: str, applied: int) -> None:
        """Note how far a node has got."""
        self._heard[incarnation] = max(applied, self._heard.get(incarnation, 0))
        for _, barrier in self._open:
            barrier.acknowledged(incarnation, applied)
        if self._open:
            self._wake.set()

    async def _run(self) -> None:
        while True:
            try:
                # A fence or an eviction that a crash undoes is done again.
                async with connected(self._connect, synchronous_commit="off") as connection:
                    connection.add_termination_listener(lambda _: self._wake.set())
                    self._heard.clear()  # it may have been of another history of the database
                    while not connection.is_closed():
                        await happens(self._wake, within_s=self._pause_s())
                        self._wake.clear()
                        async with asyncio.timeout(LIMIT_S):
                            await self._step(connection)
            except Exception as error:  # noqa: BLE001 -- whatever it was, what waits is taken up again
                if self.waiting:
                    log.warning("enforcement_interrupted", error=type(error).__name__, waiting=self.waiting)
                self._give_up(before_s=self._clock() - PATIENCE_S)
            await asyncio.sleep(RECONNECT_PAUSE_S)

    def _pause_s(self) -> float:
        if not self._open:
            return SWEEP_EVERY_S
        return max(0.0, min(POLL_S, min(barrier.ends_s for _, barrier in self._open) - self._clock()))

    async def _step(self, connection: Connection) -> None:
        if self._swept_s + SWEEP_EVERY_S <= self._clock():
            await self._sweep(connection)
        if self._new or (self._open and self._read_s + POLL_S <= self._clock()):
            await self._read(connection)
        now_s = self._clock()
        if done := [(restriction, barrier) for restriction, barrier in self._open if barrier.is_done(now_s)]:
            await self._close(connection, done)

    async def _read(self, connection: Connection) -> None:
        """Read the registry, for what is new and for what still waits."""
        new = list(self._new)
        row = await connection.fetchrow(READ_BARRIERS.text, [restriction.subject for restriction in new])
        self._read_s = self._clock()  # after the answer: what it shows may have come about while it was on its way
        if row is None:
            raise AssertionError("read_barriers answers one row")
        registry = [member_of(node) for node in orjson.loads(row["nodes"])]
        self._heard = {member.incarnation: self._heard.get(member.incarnation, 0) for member in registry}
        for _, barrier in self._open:
            barrier.polled(registry)
        changes = {change["subject"]: change for change in orjson.loads(row["changes"])}
        del self._new[: len(new)]
        for restriction in new:
            change = changes.get(restriction.subject)
            if change is None or change["fence"] is not None:
                restriction.finish(None if change is None else Fence(**change["fence"]))
            else:
                self._open.append((restriction, self._barrier(restriction, change["position"], registry)))

    def _barrier(self, restriction: Restriction, position: int, registry: Sequence[Member]) -> Barrier:
        barrier = Barrier(position, registry, committed_s=restriction.since_s, read_s=self._read_s)
        for incarnation, applied in self._heard.items():
            barrier.acknowledged(incarnation, applied)
        return barrier

    async def _close(self, connection: Connection, done: Sequence[tuple[Restriction, Barrier]]) -> None:
        """Evict who did not answer, mark what is fenced, and tell who waits."""
        silent = {member.incarnation: member.renewals for _, barrier in done for member in barrier.waited_out()}
        fences = [barrier.fence(self._clock()) for _, barrier in done]
        await connection.execute(
            CLOSE_BARRIERS.text,
            list(silent),
            list(silent.values()),
            [restriction.subject for restriction, _ in done],
            [barrier.position for _, barrier in done],
            [orjson.dumps(fence).decode() for fence in fences],
        )
        if silent:
            log.warning("nodes_waited_out", nodes=len(silent))
        self._open = [pair for pair in self._open if pair not in done]
        for (restriction, _), fence in zip(done, fences, strict=True):
            restriction.finish(fence)

    async def _sweep(self, connection: Connection) -> None:
        """Take on what processes left unfinished that are gone, and forget what everybody has long applied."""
        self._swept_s = self._clock()
        known = {restriction.subject for restriction, _ in self._open}
        for row in await connection.fetch(FIND_UNFENCED.text, ORPHANED_AFTER, MOST_SWEPT):
            if row["subject"] not in known:
                self._new.append(Restriction(subject=row["subject"], since_s=self._swept_s, answer=None))
        await connection.execute(FORGET_OLD_CHANGES.text, REMEMBERED_FOR)

    def _give_up(self, *, before_s: float) -> None:
        """Wait no longer for what was asked before; the sweep of some process ends it."""
        unknown = NotEnforcedError("it is done, but not known yet to every process: repeat it to wait for that")
        restrictions = (*self._new, *(restriction for restriction, _ in self._open))
        for restriction in restrictions:
            if restriction.since_s < before_s:
                restriction.finish(unknown)
        self._new = [restriction for restriction in self._new if restriction.since_s >= before_s]
        self._open = [(restriction, barrier) for restriction, barrier in self._open if restriction.since_s >= before_s]


def member_of(node: dict[str, Any]) -> Member:
    """Read a node's row."""
    return Member(
        incarnation=node["incarnation"],
        lease_s=node["lease_ms"] / 1000,
        renewals=node["renewals"],
        applied=node["applied"],
    )


async def find_all_revoking(pool: Pool) -> tuple[str, ...]:
    """Find all tokens whose last restriction is not known to every process yet: seldom any."""
    rows = await pool.fetch(FIND_UNFENCED.text, timedelta(0), MOST_REVOKING)
    return tuple(row["subject"] for row in rows)


async def find_revoking(pool: Pool, tokens: Sequence[str]) -> frozenset[str]:
    """Find those of some tokens whose last restriction is not known to every process yet."""
    rows = await pool.fetch(FIND_REVOKING.text, tokens)
    return frozenset(row["subject"] for row in rows)
