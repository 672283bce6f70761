"""Keeps a node in the registry and its lease renewed, hears of changes and acknowledges them: `service.lease`'s hands.

Two connections of its own, straight to the primary: one listens and renews, so that a renewal proves that it still
hears; one acknowledges. Must never decide anything: what follows from an answer or a message is the node's to say.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

import asyncpg
import structlog

from events.statement import Connection, load
from events.writer import CONNECTION_LOST
from projections.runner import happens
from service.credential import Verification
from service.lease import MOST_CHANGES, Change, Clock, Heard, Invalidation, Node, RenewalAnswer, Renewed

JOIN_REGISTRY: Final = load("service.statements", "join_registry")
RENEW_LEASE: Final = load("service.statements", "renew_lease")
LEAVE_REGISTRY: Final = load("service.statements", "leave_registry")
ACKNOWLEDGE: Final = load("service.statements", "acknowledge_changes")
LISTEN_CHANGES: Final = load("service.statements", "listen_changes")
LISTEN_ACKNOWLEDGEMENTS: Final = load("service.statements", "listen_acknowledgements")
CHANGES: Final = "auth_inv"
ACKNOWLEDGEMENTS: Final = "auth_ack"
RENEWALS_A_LEASE: Final = 4
CONNECT_LIMIT_S: Final = 1.5
RECONNECT_PAUSE_S: Final = 0.1
LEAVE_LIMIT_S: Final = 2.0
DIGITS: Final = 19
"""Of the largest 64-bit number; one digit less is more changes than there will ever be."""
BROKEN: Final = (*CONNECTION_LOST, asyncpg.PostgresError)

Connect = Callable[..., Awaitable[Connection]]
"""Connects as the service's role; keyword arguments are settings of the session."""

log = structlog.get_logger(__name__)


def steady_s() -> float:
    """Read the clock that runs on while the host sleeps, which Linux has as a clock of its own."""
    return time.clock_gettime(STEADY)


STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
CLOCK: Final = Clock(steady=steady_s, wall=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """How this process takes part."""

    name: str
    lease_s: float
    new_incarnation: Callable[[], str]
    on_acknowledged: Callable[[str, int], None]
    """Called with a node's incarnation and how far it has got, this node's own included."""
    on_time: Callable[[float, float, datetime], None] = lambda *_: None
    """Called with when the database was asked, when it answered, and what time it said it was."""
    settling: Callable[[], asyncio.Future[None] | None] = lambda: None
    """Answers what must be done before a change that was applied may be acknowledged; None when it may at once."""


class LeaseKeeper:
    """Owns both connections and the tasks on them."""

    def __init__(self, connect: Connect, node: Node[Verification], membership: Membership) -> None:
        self._connect = connect
        self._node = node
        self._membership = membership
        self._limit_s = membership.lease_s / RENEWALS_A_LEASE
        self._due = asyncio.Event()
        self._applied = asyncio.Event()
        self._tried = asyncio.Event()
        self._is_renewing = True
        """An outage is logged once."""
        self._told: tuple[str | None, int] | None = None
        self._left: str | None = None
        """The incarnation whose row is still to be removed."""
        self._tasks: list[asyncio.Task[None]] = []
        self.histories_lost = 0

    async def __aenter__(self) -> Self:
        """Join, as soon as the database answers."""
        self._tasks = [
            asyncio.create_task(self._keep(), name="lease"),
            asyncio.create_task(self._acknowledge(), name="acknowledgements"),
        ]
        await self._tried.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give up the lease, then leave the registry, so that nobody waits for this process."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._left = self._node.incarnation or self._left
        self._node.leave()
        if self._left is not None:
            with contextlib.suppress(*BROKEN):
                async with asyncio.timeout(LEAVE_LIMIT_S), connected(self._connect) as connection:
                    await connection.execute(LEAVE_REGISTRY.text, self._left)

    async def _keep(self) -> None:
        while True:
            try:
                async with connected(self._connect) as connection:
                    await self._listen(connection)
                    while True:
                        await self._renew(connection)
                        self._is_renewing = True
                        self._tried.set()
                        await self._until_due()
            except Exception as error:  # noqa: BLE001 -- whatever it was, the lease is over unless this goes on
                if self._is_renewing:
                    log.warning("lease_not_renewed", error=type(error).__name__)
                self._is_renewing = False
            self._tried.set()
            await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _listen(self, connection: Connection) -> None:
        self._node.reconnected()
        async with asyncio.timeout(CONNECT_LIMIT_S):
            await connection.add_listener(CHANGES, self._hear_change)
            await connection.add_listener(ACKNOWLEDGEMENTS, self._hear_acknowledgement)
            await connection.fetchrow(RENEW_LEASE.text, "", 0, 0, "")  # so that a renewal is one round trip
        connection.add_termination_listener(lambda _: self._due.set())

    async def _until_due(self) -> None:
        # Not all at once, where many processes began together; and never later than a quarter of the lease.
        within_s = self._limit_s * random.uniform(0.8, 1.0)  # noqa: S311 -- no secret hangs on it
        await happens(self._due, within_s=within_s)
        self._due.clear()

    async def _renew(self, connection: Connection) -> None:
        if self._node.incarnation is None:
            await self._join(connection)
        renewal = self._node.begin_renewal()
        async with asyncio.timeout(self._limit_s):
            row = await connection.fetchrow(
                RENEW_LEASE.text, renewal.incarnation, renewal.applied, MOST_CHANGES + 1, renewal.history
            )
        if row is None:
            raise AssertionError("renew_lease answers one row")
        self._membership.on_time(renewal.sent_s, CLOCK.steady(), row["now"])
        answer = RenewalAnswer(
            is_registered=row["is_registered"],
            epoch=row["epoch"],
            history=row["history"],
            changes=tuple(map(Change, row["positions"], row["subjects"])),
        )
        match self._node.renewed(renewal, answer):
            case Renewed.HELD:
                self._has_applied()
            case Renewed.EVICTED:
                log.warning("evicted_from_registry")
                self._due.set()
            case Renewed.HISTORY_LOST:
                self.histories_lost += 1
                self._left = renewal.incarnation
                log.error("history_lost", applied=renewal.applied, epoch=answer.epoch, history=answer.history)
                self._due.set()
            case Renewed.STALE:
                raise AssertionError("there is one renewal at a time")
        if not {CHANGES, ACKNOWLEDGEMENTS} <= set(row["channels"]):
            log.warning("no_longer_listening")
            async with asyncio.timeout(self._limit_s):
                await connection.execute(LISTEN_CHANGES.text)
                await connection.execute(LISTEN_ACKNOWLEDGEMENTS.text)

    async def _join(self, connection: Connection) -> None:
        incarnation, lease_ms = self._membership.new_incarnation(), round(self._membership.lease_s * 1000)
        earlier, self._left = self._left, incarnation  # should the outcome stay unknown, the next join removes this one
        async with asyncio.timeout(CONNECT_LIMIT_S):
            row = await connection.fetchrow(JOIN_REGISTRY.text, incarnation, self._membership.name, lease_ms, earlier)
        if row is None:
            raise AssertionError("join_registry answers one row")
        self._left = None
        self._node.joined(incarnation, row["applied"], row["history"])

    def _hear_change(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        message = invalidation_of(str(payload))
        heard = Heard.RENEW if message is None else self._node.heard(message)
        if heard is Heard.ACKNOWLEDGE:
            self._told = None  # told again where it was: who restricted something may have missed it
            self._has_applied()
        elif heard is Heard.RENEW:
            self._due.set()

    def _hear_acknowledgement(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        incarnation, _, applied = str(payload).partition(":")
        if is_position(applied):
            self._membership.on_acknowledged(incarnation, int(applied))

    def _has_applied(self) -> None:
        if (settling := self._membership.settling()) is not None:
            settling.add_done_callback(lambda _: self._has_applied())
            return
        if self._node.incarnation is not None:
            self._membership.on_acknowledged(self._node.incarnation, self._node.applied)
            self._applied.set()

    async def _acknowledge(self) -> None:
        """Tell the others; what was applied while the last message was on its way is told in one."""
        while True:
            try:
                # It writes no row: nothing of it needs to be flushed.
                async with connected(self._connect, synchronous_commit="off") as connection:
                    while True:
                        await self._applied.wait()
                        self._applied.clear()
                        await self._tell(connection)
            except Exception as error:  # noqa: BLE001 -- whatever it was, it is told again
                log.debug("not_acknowledged", error=type(error).__name__)
                self._applied.set()
            await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _tell(self, connection: Connection) -> None:
        incarnation, applied = reached = (self._node.incarnation, self._node.applied)
        if incarnation is None or reached == self._told or self._membership.settling() is not None:
            return
        async with asyncio.timeout(self._limit_s):
            await connection.execute(ACKNOWLEDGE.text, f"{incarnation}:{applied}")
        self._told = reached


@contextlib.asynccontextmanager
async def connected(connect: Connect, **session: str) -> AsyncIterator[Connection]:
    """Open a connection, and end it at once when left: nothing waits for a server that may have stopped answering."""
    async with asyncio.timeout(CONNECT_LIMIT_S):
        connection = await connect(**session)
    try:
        yield connection
    finally:
        connection.terminate()


def invalidation_of(payload: str) -> Invalidation | None:
    """Read a message; None for one that cannot be ours: it names each of its changes, or none, and positions exist."""
    first, _, rest = payload.partition(":")
    last, _, said = rest.partition(":")
    if not (is_position(first) and is_position(last) and int(first) <= int(last)):
        return None
    subjects = tuple(said.split(",")) if said else None
    if subjects is not None and len(subjects) != int(last) - int(first) + 1:
        return None
    return Invalidation(first=int(first), last=int(last), subjects=subjects)


def is_position(text: str) -> bool:
    """Say whether a text is a position that the database could have: a positive 64-bit number in ASCII digits."""
    return text.isascii() and text.isdecimal() and int(text[:DIGITS]) > 0 and len(text) < DIGITS
