"""A throwaway PostgreSQL, the one that the service itself starts, on a disk that is one. Must never be a user's own."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench import processes
from events.statement import Connection
from service import embedded_postgres
from service.core import Core, open_core
from service.settings import Settings, load

NOT_DISKS = frozenset({"tmpfs", "ramfs", "devtmpfs"})


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `{}` in its addresses is the database."""

    superuser_dsn: str
    owner_dsn: str
    service_dsn: str
    cluster: Path
    directory: Path

    @property
    def pid(self) -> int:
        """Name the server's first process."""
        return postmaster(self.cluster)

    def cpu_s(self) -> float:
        """Read the processor seconds that the server has used so far, all its processes together."""
        return processes.cpu_s(self.pid)

    async def as_superuser(self, *statements: str, database: str = "postgres") -> None:
        """Run statements, each on its own."""
        connection = await asyncpg.connect(self.superuser_dsn.format(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def ask(self, question: str, *, database: str = "postgres") -> str:
        """Ask for one value as text."""
        connection = await asyncpg.connect(self.superuser_dsn.format(database))
        try:
            return str(await connection.fetchval(question))
        finally:
            await connection.close()

    async def create_database(self, name: str, *, settings: Sequence[str] = ()) -> None:
        """Make an empty database of the owner's, with settings for everybody who connects to it."""
        options = [f"alter database {name} set {setting}" for setting in settings]
        await self.as_superuser(f"create database {name} owner entri_owner", *options)

    def settings(self, database: str) -> Settings:
        """Write the settings of a service on one of the databases."""
        options = {
            "data_dir": str(self.directory / database),
            "database_url": self.service_dsn.format(database),
            "owner_database_url": self.owner_dsn.format(database),
            "log_level": "warning",
        }
        return load({}, options)

    @asynccontextmanager
    async def connections(self, database: str, count: int) -> AsyncIterator[list[Connection]]:
        """Open connections to one of the databases as the owner of its tables."""
        async with AsyncExitStack() as stack:
            opened = [await asyncpg.connect(self.owner_dsn.format(database)) for _ in range(count)]
            for connection in opened:
                stack.push_async_callback(connection.close)
            yield opened

    @asynccontextmanager
    async def core(self, database: str) -> AsyncIterator[Core]:
        """Open what every way of running the service shares, on one of the databases."""
        (self.directory / database).mkdir(mode=0o700, exist_ok=True)
        async with open_core(self.settings(database)) as core:
            yield core


@contextmanager
def running(directory: Path) -> Iterator[Server]:
    """Run a server below a directory, and leave nothing of it."""
    with scratch(directory) as place:
        server = embedded_postgres.start(place / "data")
        try:
            owner = server.owner_dsn.replace("@/entri?", "@/{}?")
            yield Server(
                superuser_dsn=owner.replace("entri_owner", "postgres"),
                owner_dsn=owner,
                service_dsn=server.service_dsn.replace("@/entri?", "@/{}?"),
                cluster=server.cluster_path,
                directory=place,
            )
        finally:
            server.release()


@contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """Make a directory on a real disk, and remove it with the cluster that was made for it."""
    kind = file_system(directory)
    if kind in NOT_DISKS:
        raise SystemExit(f"{directory} is on {kind}, where a flush costs nothing: give --dir a directory on a disk")
    place = Path(tempfile.mkdtemp(prefix="entri-bench-", dir=directory))
    place.chmod(0o711)  # a server of root's runs as somebody else, who must get through
    try:
        yield place
    finally:
        for link in place.glob("*/postgresql"):
            shutil.rmtree(link.resolve(), ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)


def directory_on_disk() -> Path:
    """Choose where to keep data: the first of the usual places that is on a disk, for many have /tmp in memory."""
    places = (Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd())
    return next((place for place in places if file_system(place) not in NOT_DISKS), places[0])


def file_system(directory: Path) -> str:
    """Name the kind of file system that a directory is on."""
    device = directory.stat().st_dev
    kinds = {}
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        major, minor = fields[2].split(":")
        kinds[os.makedev(int(major), int(minor))] = fields[fields.index("-") + 1]
    return kinds.get(device, "unknown")


def postmaster(cluster: Path) -> int:
    """Name the first process of the server that runs a cluster."""
    return int((cluster / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])


def cluster_of(data_dir: Path) -> Path:
    """Find the cluster of a data directory."""
    with suppress(OSError):
        return (data_dir / "postgresql").resolve(strict=True)
    raise SystemExit("the service has made no cluster")
