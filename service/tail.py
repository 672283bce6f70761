"""The one reader of a process that follows the log for all who wait for what comes. Must never skip a position.

It reads while somebody listens, on a connection of its own: after the last position it saw, in order, whenever it was
woken (by this process' own appends, or a notification) and at every poll. So a notification that is lost costs a poll,
and a connection that is lost costs the time until there is another one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, Protocol, Self

import asyncpg
import structlog

from events.entry import RecordedEvent
from events.log import READ_HEAD, from_row
from events.statement import Connection, load
from projections.runner import happens, stopped
from service.lease_keeper import Connect, connected

READ_TAIL: Final = load("events.statements", "read_tail")
CHANNEL: Final = "entri_log"
POLL_S: Final = 0.5
LIMIT_S: Final = 1.0
"""With the poll before it, less than two seconds until a connection is known to be lost that says nothing."""
RECONNECT_PAUSE_S: Final = 0.1
BATCH: Final = 1000

log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Whoever follows an organization's history."""

    def take(self, events: Sequence[RecordedEvent]) -> None:
        """Take what came next in the organization's history."""

    def lose(self, error: Exception) -> None:
        """End: what came next cannot be read, or the log does not hold what was taken from it any more."""


class HistoryLostError(Exception):
    """The log has lost events that were read from it: a failover went to a server that did not have them."""


class Tail:
    """Owns the connection and the task that reads; tells the listeners of each organization what came."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._listeners: defaultdict[str, list[Listener]] = defaultdict(list)
        self._position: int | None = None
        """The last position that was read; None while nobody listens."""
        self._is_placed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._woken = asyncio.Event()
        self._is_reading = True
        """An outage is logged once."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to read as soon as somebody listens."""
        self._task = asyncio.create_task(self._run(), name="tail")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await stopped(self._task)

    def listen(self, organization: str, listener: Listener) -> None:
        """Tell a listener from now on what comes."""
        self._listeners[organization].append(listener)
        self._wanted.set()

    def ignore(self, organization: str, listener: Listener) -> None:
        """Tell a listener no more."""
        listeners = self._listeners[organization]
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            del self._listeners[organization]
        if not self._listeners:
            self._wanted.clear()
            self._woken.set()

    async def placed(self) -> None:
        """Wait until it is known where in the log the reading is: what comes after this moment is told.

        What was committed before can be read from the log.
        """
        await self._is_placed.wait()

    def log_grew(self) -> None:
        """Read what came, if anybody listens."""
        self._woken.set()

    async def _run(self) -> None:
        while True:
            if not self._wanted.is_set():
                self._position = None
                self._is_placed.clear()
            await self._wanted.wait()
            try:
                async with connected(self._connect, application_name="entri-tail") as connection:
                    await self._place(connection)
                    await self._follow(connection)
            except Exception as error:  # noqa: BLE001 -- whatever it was, the reading goes on where it was
                if self._is_reading:
                    log.warning("tail_interrupted", error=type(error).__name__)
                self._is_reading = False
                await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _place(self, connection: Connection) -> None:
        async with asyncio.timeout(LIMIT_S):
            await connection.add_listener(CHANNEL, lambda *_: self._woken.set())
            head = await connection.fetchval(READ_HEAD.text)
        connection.add_termination_listener(lambda _: self._woken.set())
        if self._position is not None and head < self._position:
            log.error("log_is_shorter_than_read", position=self._position, head=head)
            self._position = None
            self.lose_all()
        if self._position is None:
            self._position = head
        self._is_placed.set()
        self._is_reading = True

    async def _follow(self, connection: Connection) -> None:
        while self._wanted.is_set():
            self._woken.clear()
            async with asyncio.timeout(LIMIT_S):
                rows = await connection.fetch(READ_TAIL.text, self._position, BATCH)
            if rows:
                self._tell(rows)
            if len(rows) < BATCH:
                await happens(self._woken, within_s=POLL_S)

    def _tell(self, rows: Sequence[asyncpg.Record]) -> None:
        """Tell each organization's listeners, with nothing awaited: who begins to listen begins before or after."""
        came: defaultdict[str, list[asyncpg.Record]] = defaultdict(list)
        for row in rows:
            if row["organization"] in self._listeners:
                came[row["organization"]].append(row)
        self._position = rows[-1]["position"]
        for organization, own in came.items():
            listeners = tuple(self._listeners[organization])
            try:
                events = [from_row(row) for row in own]
            except Exception as error:  # noqa: BLE001 -- an event that cannot be read ends those who wait for it
                lose(listeners, error)
                continue
            for listener in listeners:
                listener.take(events)

    def lose_all(self) -> None:
        """End all listeners: what they were told may not be in the log any more."""
        for listeners in tuple(self._listeners.values()):
            lose(tuple(listeners), HistoryLostError("the log was cut short or restored: read from the start"))


def lose(listeners: Sequence[Listener], error: Exception) -> None:
    """End listeners."""
    for listener in listeners:
        listener.lose(error)
