"""Groups of subscribers that see the same: each event that comes is executed and written once for all of them.

Those of one organization, one selection and one authority are a group. It takes what the tail of the log brings, and
offers it to its live members in order. Must never wait for a member, nor keep more than a bounded number of events.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from events.entry import RecordedEvent
from events.log import HistoryQuery
from service.api.context import Resolving, Services
from service.api.selections import Selection
from service.api.subscriptions import Following
from service.authorization import Principal
from service.cursors import Cursors
from service.tail import Tail

AT_A_TIME: Final = 16
"""Events that are executed together, so that what they look up is looked up together."""
MOST_WAITING: Final = 2048
KEPT: Final = 512
"""Events kept after they were offered, for whoever joins while they come."""
MEMBERS_A_TURN: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one kind of subscriber sees."""

    following: Following
    selection: Selection
    query: HistoryQuery
    """Which events of which organization."""
    principal: Principal
    services: Services
    cursors: Cursors

    def shows(self, recorded: RecordedEvent) -> bool:
        """Say whether an event of the organization is among those that are asked for."""
        query = self.query
        return (
            (query.types is None or recorded.type in query.types)
            and (query.subjects is None or recorded.subject in query.subjects)
            and (query.actors is None or recorded.actor.id in query.actors)
            and (query.occurred_from is None or recorded.occurred_at >= query.occurred_from)
            and (query.occurred_before is None or recorded.occurred_at < query.occurred_before)
        )

    async def write(self, events: Sequence[RecordedEvent]) -> list[bytes]:
        """Execute events, and write the results."""
        resolving = Resolving(self.principal, self.services)
        edge, encode, cursors = self.following.edge, self.selection.encode, self.cursors
        begun = [encode(edge(cursors, recorded), resolving) for recorded in events]
        waiting = [one for one in begun if not isinstance(one, bytes)]
        if not waiting:
            return [one for one in begun if isinstance(one, bytes)]
        written = iter(await asyncio.gather(*waiting))
        return [one if isinstance(one, bytes) else next(written) for one in begun]


@dataclass(slots=True)
class Recent:
    """An event that came, and its result once it is written."""

    number: int
    event: RecordedEvent
    payload: bytes | None = None


class Member(Protocol):
    """A subscriber."""

    def send(self, position: int, payload: bytes) -> bool:
        """Send an event's result, unless it was sent already; False when that cannot be done now."""

    def fall_back(self) -> None:
        """Catch up alone: something could not be sent."""

    def fail(self, error: Exception) -> None:
        """End: there is nothing more to be sent."""


class Group:
    """Owns the task that writes what comes, and knows who is to get it."""

    def __init__(self, view: View, tail: Tail, on_empty: Callable[[], object]) -> None:
        self.view = view
        self._tail = tail
        self._on_empty = on_empty
        self._entered: set[Member] = set()
        self._live: dict[Member, None] = {}
        """In the order in which they joined."""
        self._recent: deque[Recent] = deque()
        self._first = 0
        """The number of the first recent event."""
        self._offered = 0
        """How many events were offered, or given up on."""
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def taken(self) -> int:
        """Count the events that came so far."""
        return self._first + len(self._recent)

    def enter(self, member: Member) -> None:
        """Let somebody in, who is to catch up before it joins."""
        if not self._entered:
            self._tail.listen(self.view.query.organization, self)
            self._task = asyncio.create_task(self._run(), name="group")
        self._entered.add(member)

    def leave(self, member: Member) -> None:
        """Let somebody go; the last one ends the group."""
        self._live.pop(member, None)
        if member not in self._entered:
            return
        self._entered.remove(member)
        if not self._entered:
            self._tail.ignore(self.view.query.organization, self)
            if self._task is not None:
                self._task.cancel()
            self._on_empty()

    async def placed(self) -> None:
        """Wait until what comes from now on is told."""
        await self._tail.placed()

    def join(self, member: Member, since: int) -> bool:
        """Send somebody what came since, and offer it what comes; False where it has to catch up with more."""
        if since < self._first:
            return False
        for recent in self._recent:
            if recent.number < since or recent.payload is None:
                continue
            if not member.send(recent.event.organization_position, recent.payload):
                return False
        self._live[member] = None
        return True

    def take(self, events: Sequence[RecordedEvent]) -> None:
        """Take what came next."""
        number = self.taken
        for recorded in events:
            if self.view.shows(recorded):
                self._recent.append(Recent(number, recorded))
                number += 1
        if number - self._offered > MOST_WAITING:
            self._give_up()
        elif number > self._offered:
            self._woken.set()

    def lose(self, error: Exception) -> None:
        """End all who are here."""
        for member in tuple(self._entered):
            member.fail(error)

    def _give_up(self) -> None:
        """Too much came to be written in time: everybody reads it alone."""
        self._first = self._offered = self.taken
        self._recent.clear()
        live, self._live = tuple(self._live), {}
        for member in live:
            member.fall_back()

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._offered < self.taken:
                begin = self._offered - self._first
                batch = [self._recent[n] for n in range(begin, min(begin + AT_A_TIME, len(self._recent)))]
                payloads = await self.view.write([recent.event for recent in batch])
                for recent, payload in zip(batch, payloads, strict=True):
                    if recent.number == self._offered:  # not given up meanwhile
                        recent.payload = payload
                        self._offered += 1
                        await self._offer(recent.event.organization_position, payload)
                while len(self._recent) > KEPT and self._first < self._offered:
                    self._recent.popleft()
                    self._first += 1

    async def _offer(self, position: int, payload: bytes) -> None:
        for number, member in enumerate(tuple(self._live), 1):
            if member in self._live and not member.send(position, payload):
                del self._live[member]
                member.fall_back()
            if number % MEMBERS_A_TURN == 0:
                await asyncio.sleep(0)
