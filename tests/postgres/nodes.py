"""Processes of a test in the registry of a real database: each with what one has of its own to verify from memory."""

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256

from events.batch import Append
from events.statement import Connection
from service.credential import Verification
from service.enforcement import Enforcer
from service.lease import Node
from service.lease_keeper import CLOCK, LeaseKeeper, Membership
from service.verified_cache import Entry, VerifiedCache
from tests.postgres.appends import decided
from tests.postgres.conftest import Database

PATIENCE_S = 10.0
UNHURRIED_S = 30.0
"""The longest lease: it is renewed after six seconds at the soonest, so that what comes before was heard."""
PROVED = Verification(failure=None)


class Process:
    """What one process has of its own to verify from memory, and how each part of it connects."""

    def __init__(self, database: Database, name: str, lease_s: float) -> None:
        self.name = name
        self.connections: dict[str, Connection] = {}
        """The newest of each part."""
        self._database = database
        self._may_connect = asyncio.Event()
        self._may_connect.set()
        self.cache: VerifiedCache[Verification] = VerifiedCache()
        self.node = Node(self.cache, CLOCK, lease_s=lease_s)
        self.enforcer = Enforcer(partial(self._connect, "enforcer"), CLOCK.steady)
        membership = Membership(
            name=name,
            lease_s=lease_s,
            new_incarnation=lambda: secrets.token_hex(16),
            on_acknowledged=self.enforcer.acknowledged,
        )
        self.keeper = LeaseKeeper(self._connect_keeper, self.node, membership)

    async def _connect(self, part: str, **session: str) -> Connection:
        await self._may_connect.wait()
        connection = await self._database.connect(application_name=f"{self.name}-{part}", **session)
        self.connections[part] = connection
        return connection

    async def _connect_keeper(self, **session: str) -> Connection:
        return await self._connect("acknowledgements" if session else "lease", **session)

    def cut_off(self) -> None:
        """End all connections and make no others."""
        self._may_connect.clear()
        for connection in self.connections.values():
            connection.terminate()

    def reconnect(self) -> None:
        """Let it connect again."""
        self._may_connect.set()

    def remember(self, *subjects: str) -> None:
        """Remember a secret of each of some tokens."""
        for subject in subjects:
            self.node.remember(sha256(subject.encode()).digest(), Entry(subject, PROVED, math.inf))
        assert self.accepts(*subjects) == [*subjects]

    def accepts(self, *subjects: str) -> list[str]:
        """List those of some tokens whose secret is accepted from memory."""
        return [subject for subject in subjects if self.node.recall(sha256(subject.encode()).digest()) is PROVED]


@asynccontextmanager
async def process(database: Database, name: str, *, lease_s: float = UNHURRIED_S) -> AsyncIterator[Process]:
    """Run a process; it has joined."""
    running = Process(database, name, lease_s)
    async with running.enforcer, running.keeper:
        yield running


@asynccontextmanager
async def observer(database: Database) -> AsyncIterator[Connection]:
    """Connect as the service's role, which alone sees what its other connections do."""
    connection = await database.connect()
    try:
        yield connection
    finally:
        await connection.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds in this process."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 -- what is waited for tells nobody
            await asyncio.sleep(0.005)


async def until_answered(connection: Connection, query: str, *arguments: object) -> None:
    """Wait until a query's answer is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not await connection.fetchval(query, *arguments):  # noqa: ASYNC110 -- another process does it
            await asyncio.sleep(0.005)


def change(token_id: str, *, subject: str | None = None, restricting: bool = True) -> Append:
    """Make a command that changes what is remembered of a token."""
    append = decided(token_id)
    row = {"subject": subject or token_id, "event_id": append.events[0].event_id, "restricting": restricting}
    return replace(append, companions={"revocations": [row]})


async def incarnations(connection: Connection) -> dict[str, str]:
    """Read the registry: incarnations by name."""
    rows = await connection.fetch("select node_name, incarnation from auth_node")
    assert len({row["node_name"] for row in rows}) == len(rows)
    return {row["node_name"]: row["incarnation"] for row in rows}
