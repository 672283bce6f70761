"""Processes of `entri serve` on one data directory, and the faults that can befall one. Must never leave one behind.

The first is as a stranger would start it. The second has a wall clock of its own where libfaketime is installed
(Debian's package `faketime`): its steady clock is the machine's, which nothing here ever sets. The last two reach
PostgreSQL through proxies.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from events.statement import Connection as Database
from service import embedded_postgres
from service.embedded_postgres import EmbeddedPostgres
from tests.chaos.history import ACCEPTED
from tests.chaos.keep_alive import Client, get
from tests.chaos.proxy import Proxy
from tests.cli.processes import MODULE, Process, postmaster_pid
from tests.places import data_directory

COUNT: Final = 4
SKEWED: Final = 1
PROXIED: Final = (2, 3)
FAKETIME: Final = "/usr/lib/*/faketime/libfaketime.so.1"
MEMORY: Final = Path("/dev/shm")
SO_WITHIN_S: Final = 20.0
LOOK_EVERY_S: Final = 0.005


@dataclass(slots=True, kw_only=True)
class Node:
    """One process, and how to start it again."""

    number: int
    arguments: Sequence[object]
    variables: dict[str, str]
    program: tuple[str, ...]
    proxy: Proxy | None
    process: Process | None = None
    client: Client = field(default_factory=lambda: Client(0))
    is_away: bool = False
    """It is stopped or dead: whoever needs an answer soon asks another."""
    clock: Path | None = None
    """Says by how many seconds its wall clock is wrong."""

    async def start(self) -> None:
        """Start it on a port of its own choice, and wait until it serves."""
        self.process = Process("serve", *self.arguments, variables=self.variables, program=self.program)
        line = await asyncio.to_thread(self.process.err.wait_for, "serving http://")
        assert line is not None, self.process.end()
        self.client.close()
        self.client = Client(int(line.split("/")[2].rpartition(":")[2]))
        self.is_away = False

    def pause(self) -> None:
        """Stop it as a debugger, a hypervisor or a full swap does."""
        self.is_away = True
        self._tell(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._tell(signal.SIGCONT)
        self.is_away = False

    async def kill(self) -> None:
        """End it as a crash does."""
        self.is_away = True
        self._tell(signal.SIGKILL)
        assert self.process is not None
        await asyncio.to_thread(self.process.end)
        sweep(self.process)

    def skew(self, seconds: int) -> None:
        """Put its wall clock wrong by that; it notices within a second."""
        assert self.clock is not None
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n", encoding="ascii")
        fresh.rename(self.clock)

    async def holds_lease(self) -> bool:
        """Ask whether it accepts from memory."""
        answer = await self.client.ask(get("/metrics", "none"))
        return answer.status == ACCEPTED and b"\nentri_lease_held 1.0\n" in answer.body

    def _tell(self, signal_number: int) -> None:
        assert self.process is not None
        self.process.tell(signal_number)

    async def stop(self) -> str:
        """End it in order, and return what it said."""
        if self.process is None:
            return ""
        self._tell(signal.SIGCONT)
        with self.process:
            self._tell(signal.SIGTERM)
            said = (await asyncio.to_thread(self.process.end)).err
        sweep(self.process)
        return said


@dataclass(slots=True, kw_only=True)
class Fleet:
    """The processes, and the PostgreSQL they share."""

    directory: Path
    postgres: EmbeddedPostgres
    nodes: list[Node]
    key: str = ""
    """The first token's secret, which may do everything."""

    @asynccontextmanager
    async def database(self, user: str = "entri_owner") -> AsyncIterator[Database]:
        """Use the database beside the processes."""
        connection = await asyncpg.connect(self.postgres.owner_dsn.replace("entri_owner", user))
        try:
            yield connection
        finally:
            connection.terminate()

    def postmaster(self) -> int | None:
        """Tell the postmaster's process id, None where there is none."""
        return postmaster_pid(self.directory)

    @property
    def reachable(self) -> list[Node]:
        """List the processes that are expected to answer."""
        return [node for node in self.nodes if not node.is_away]

    async def well(self, nodes: Sequence[Node] | None = None) -> None:
        """Wait until processes accept from memory. Raises TimeoutError."""
        for node in self.nodes if nodes is None else nodes:
            await until(node.holds_lease)


async def until(probe: Callable[[], Awaitable[object]]) -> None:
    """Ask until it is so. Raises TimeoutError."""
    async with asyncio.timeout(SO_WITHIN_S):
        while True:
            if await probe():
                return
            await asyncio.sleep(LOOK_EVERY_S)


def faketime() -> str | None:
    """Find the library that fakes a clock."""
    return next((str(path) for path in Path("/").glob(FAKETIME.removeprefix("/"))), None)


def clocked(node: Node, clock: Path) -> None:
    """Give a process a wall clock of its own."""
    library = faketime()
    if library is None:
        return
    node.clock = clock
    node.skew(0)
    node.variables |= {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def node_of(number: int, directory: Path, options: Sequence[object], without: str | None) -> Node:
    """Describe a process that is not started yet."""
    arguments = ["--port", 0, "--data-dir", directory, "--drain-delay-s", 0, "--node-name", f"node {number}"]
    program = MODULE if without is None else (sys.executable, "-m", "tests.chaos.broken", without)
    return Node(
        number=number,
        arguments=[*arguments, "--log-level", "error", *options],
        variables={},
        program=program,
        proxy=None,
    )


@asynccontextmanager
async def fleet(*options: object, without: str | None = None) -> AsyncIterator[Fleet]:
    """Run the processes until left; `without` names the rule of the protocol that they leave out."""
    with data_directory() as directory:
        postgres = await asyncio.to_thread(embedded_postgres.start, directory)
        nodes = [node_of(number, directory, options, without) for number in range(COUNT)]
        together = Fleet(directory=directory, postgres=postgres, nodes=nodes)
        try:
            await start(together)
            yield together
            said = await asyncio.gather(*(node.stop() for node in nodes))
            assert not any("Traceback" in text for text in said), "\n".join(said)
        finally:
            for node in nodes:
                if node.process is not None:
                    end(node.process)
                if node.proxy is not None:
                    node.proxy.stop()
            await asyncio.to_thread(postgres.release)


def end(process: Process) -> None:
    """End a process that an error has left behind, stopped or not."""
    with process:
        process.tell(signal.SIGKILL)
    sweep(process)


def sweep(process: Process) -> None:
    """Remove what libfaketime leaves in memory of a process that has ended."""
    for name in ("faketime_shm", "sem.faketime_sem"):
        (MEMORY / f"{name}_{process.pid}").unlink(missing_ok=True)


async def start(together: Fleet) -> None:
    """Start the first, which makes the tables, then the others at once."""
    first, *others = together.nodes
    await first.start()
    assert first.process is not None
    line = await asyncio.to_thread(first.process.out.wait_for, "bootstrap token: ")
    assert line is not None
    together.key = line.split()[-1]
    skewed = together.nodes[SKEWED]
    if faketime() is not None:
        # It joins as a server of one's own is joined: libfaketime breaks the sleeps of the embedded one's watchdog.
        skewed.variables["ENTRI_DATABASE_URL"] = together.postgres.service_dsn
        clocked(skewed, together.directory.parent / "clock")
    for number in PROXIED:
        node = together.nodes[number]
        node.proxy = Proxy(together.postgres.socket_path)
        await node.proxy.start()
        node.variables["ENTRI_DATABASE_URL"] = node.proxy.url
    await asyncio.gather(*(node.start() for node in others))
    await together.well()
