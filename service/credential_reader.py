"""Reads credentials for keys and sessions that are not remembered: many at a time, on connections of its own.

A flood of unknown keys then costs a few large reads, waits for no other use of the database and holds up none. Every
answer was asked of the database after its caller came, so nobody is answered from before their own request. Must never
wait longer than its limit, or without bound in number.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import asyncpg
import structlog

from events.statement import Connection, Statement, load
from service.lease_keeper import CONNECT_LIMIT_S, RECONNECT_PAUSE_S, Connect

FIND_CREDENTIALS: Final = load("service.statements", "find_credentials")
CONNECTIONS: Final = 2
MOST_WAITING: Final = 1_000
MOST_AT_ONCE: Final = 64
LIMIT_S: Final = 0.8

# One probe of an index for each key, planned once: the tables may have been empty then.
PLANNED: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


class ReadingUnavailableError(Exception):
    """The database did not answer in time, or too many wait for it: it says nothing about the key."""


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the database knew of a secret, if anything, as of an epoch."""

    row: asyncpg.Record | None
    epoch: int
    peppers: Sequence[str]
    """Those that secrets may be under: one that was not asked under each of them is not unknown."""
    sent_s: float
    """When it was asked."""


@dataclass(frozen=True, slots=True)
class Question:
    """A caller's: its secret's digest, or the first bytes of that, under each readable pepper."""

    prefixes: Sequence[bytes]
    answer: asyncio.Future[Found]


class CredentialReader:
    """Owns the connections and the questions that wait for them."""

    def __init__(
        self,
        connect: Connect,
        clock: Callable[[], float],
        *,
        statement: Statement = FIND_CREDENTIALS,
        connections: int = CONNECTIONS,
    ) -> None:
        """Take a statement that answers a row for each digest it is asked of: at least epoch, asked, and id or null."""
        self._connect = connect
        self._statement = statement
        self._connections = connections
        self._clock = clock
        self._waiting: deque[Question] = deque()
        self._wake = asyncio.Event()
        self._connected = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._reads = 0

    async def __aenter__(self) -> Self:
        """Begin to answer."""
        self._tasks = [
            asyncio.create_task(self._run(), name=f"credential-reader-{number}") for number in range(self._connections)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; whoever still waits is told that it is over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail_all()

    @property
    def reads(self) -> int:
        """Count the statements that were sent."""
        return self._reads

    async def find(self, prefixes: Sequence[bytes]) -> Found:
        """Read what is behind a digest now. Raises ReadingUnavailableError."""
        if len(self._waiting) >= MOST_WAITING:
            raise ReadingUnavailableError("too many keys wait to be looked up")
        question = Question(prefixes, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        self._wake.set()
        try:
            async with asyncio.timeout(LIMIT_S):
                return await question.answer
        except TimeoutError:
            raise ReadingUnavailableError("the database did not answer in time") from None

    async def _run(self) -> None:
        while True:
            try:
                connection = await self._connection()
            except Exception:  # noqa: BLE001 -- whatever it was, there is no connection
                if not self._connected:
                    self._fail_all()
                await asyncio.sleep(RECONNECT_PAUSE_S)
                continue
            self._connected += 1
            try:
                await self._serve(connection)
            except Exception as error:  # noqa: BLE001 -- whatever it was, the next connection may do better
                log.debug("look_ups_interrupted", error=type(error).__name__)
            finally:
                self._connected -= 1
                connection.terminate()

    async def _connection(self) -> Connection:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            connection = await self._connect(**PLANNED)
        connection.add_termination_listener(lambda _: self._wake.set())
        return connection

    async def _serve(self, connection: Connection) -> None:
        while not connection.is_closed():
            if taken := self._take():
                await self._answer(connection, taken)
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self) -> list[Question]:
        taken: list[Question] = []
        while self._waiting and len(taken) < MOST_AT_ONCE:
            question = self._waiting.popleft()
            if not question.answer.done():
                taken.append(question)
        return taken

    async def _answer(self, connection: Connection, taken: list[Question]) -> None:
        prefixes = list(dict.fromkeys(prefix for question in taken for prefix in question.prefixes))
        sent_s = self._clock()
        self._reads += 1
        try:
            async with asyncio.timeout(LIMIT_S):
                rows = await connection.fetch(self._statement.text, prefixes)
        except BaseException:
            self._waiting.extendleft(reversed(taken))  # for the next connection, as long as its callers wait
            raise
        by_prefix = {row["asked"]: row for row in rows}
        for question in taken:
            known = [row for prefix in question.prefixes if (row := by_prefix[prefix])["id"] is not None]
            epoch, peppers = rows[0]["epoch"], rows[0]["peppers"]
            found = Found(row=known[0] if known else None, epoch=epoch, peppers=peppers, sent_s=sent_s)
            if not question.answer.done():
                question.answer.set_result(found)

    def _fail_all(self) -> None:
        fail(self._waiting)
        self._waiting.clear()


def fail(questions: Iterable[Question]) -> None:
    """Tell callers that there is no answer."""
    for question in questions:
        if not question.answer.done():
            question.answer.set_exception(ReadingUnavailableError("the database cannot be reached"))
