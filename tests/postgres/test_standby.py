"""With a synchronous standby nothing is signed that a failover could lose: a real one, behind, away and promoted."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from events.migrate import migrate
from events.statement import DriverPool
from events.tree_growth import grow
from service import embedded_postgres
from service.embedded_postgres import EmbeddedPostgres
from service.generations import settled
from service.signing import NotSignedError, SignedCheckpoint, Signer
from tests.places import data_directory
from tests.postgres.conftest import LAYERS, Database
from tests.postgres.logs import append, signer_of

RECEIVER = "select pid from pg_stat_wal_receiver"
DSN = "postgresql://{}@/entri?host={}&port=5432&sslmode=disable"


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary and the directory of its standby, which may be started and stopped."""

    primary: EmbeddedPostgres
    standby: Path

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs as the account that the server runs as."""
        server = self.primary._server
        done = server.account.run(server.programs / program, *arguments)
        assert done.returncode == 0, done.stderr

    def make_standby(self) -> None:
        """Copy the primary, and let the copy follow it under the name s1."""
        socket_dir, account = self.primary._server.socket_dir, self.primary._server.account
        self.standby.mkdir(mode=0o700)
        os.chown(self.standby, account.uid, account.gid)
        source = f"host={socket_dir} port=5432 user=postgres application_name=s1"
        self.run("pg_basebackup", "-D", self.standby, "-c", "fast", "-R", "-d", source)
        (self.standby / ".s.PGSQL.5432.lock").unlink()

    def control(self, *arguments: str) -> None:
        """Start, stop or promote the standby, and wait until that is done."""
        options = f"-c unix_socket_directories={self.standby} -c hot_standby=on"
        started = ("-l", str(self.standby / "server.log"), "-o", options) if arguments[0] == "start" else ()
        self.run("pg_ctl", "-D", self.standby, "-w", "-s", *arguments, *started)

    async def names(self, value: str) -> None:
        """Set synchronous_standby_names, which the service's own configuration leaves to its user."""
        file = self.primary.cluster_path / "postgresql.auto.conf"
        file.write_text(f"synchronous_standby_names = '{value}'\n")
        superuser = await asyncpg.connect(DSN.format("postgres", self.primary._server.socket_dir))
        await superuser.execute("select pg_reload_conf()")
        async with asyncio.timeout(10):
            while await superuser.fetchval("show synchronous_standby_names") != value:  # noqa: ASYNC110 -- a signal
                await asyncio.sleep(0.01)
        await superuser.close()

    async def as_superuser(self, statement: str) -> None:
        """Run a statement on the primary."""
        superuser = await asyncpg.connect(DSN.format("postgres", self.primary._server.socket_dir))
        await superuser.execute("set synchronous_commit = local")
        await superuser.execute(statement)
        await superuser.close()

    @contextmanager
    def deaf(self, receiver: int) -> Iterator[None]:
        """Let the standby stay connected and take nothing in."""
        os.kill(receiver, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(receiver, signal.SIGCONT)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Run a primary and its standby."""
    with data_directory() as data_dir:
        running = embedded_postgres.start(data_dir)
        one = Pair(running, data_dir.parent / "standby")
        one.make_standby()
        one.control("start")
        try:
            yield one
        finally:
            one.control("stop", "-m", "immediate")
            running.release()


@asynccontextmanager
async def impatient_pool(dsn: str) -> AsyncIterator[DriverPool]:
    """Open a pool whose commits wait for no standby, as one whose wait was cut short: it sees what may be lost."""
    settings = {"synchronous_commit": "local"}
    async with asyncpg.create_pool(dsn, min_size=1, max_size=3, server_settings=settings) as pool:
        yield pool


async def signed_now(database: Database, signer: Signer) -> SignedCheckpoint:
    """Append, grow and sign. Raises NotSignedError."""
    async with impatient_pool(database.service_dsn) as pool:
        await append(Database(database.owner_dsn, f"{database.service_dsn}&options=-csynchronous_commit%3Dlocal"), 2)
        while await grow(pool) is not None:
            pass
    signed = await signer.sign(within_s=0.3)
    assert signed is not None
    return signed


async def test_only_what_the_standby_has_is_signed(pair: Pair, tmp_path: Path) -> None:
    """Behind, away, too few or out of sight: not signed, with the reason; and what was signed outlives a failover."""
    database = Database(pair.primary.owner_dsn, pair.primary.service_dsn)
    async with database.owner() as owner:
        await migrate(owner, LAYERS)
    replica = await asyncpg.connect(DSN.format("postgres", pair.standby))
    async with impatient_pool(database.service_dsn) as pool:
        signer, host = await signer_of(pool, tmp_path)
        assert (await signed_now(database, signer)).size == 2

        await pair.names("FIRST 1 (s1)")
        with pytest.raises(NotSignedError, match="grant pg_read_all_stats"):
            await signed_now(database, signer)
        await pair.as_superuser("grant pg_read_all_stats to entri_owner")
        assert (await signed_now(database, signer)).size == 6

        await pair.names("ANY 2 (s1, s2)")
        with pytest.raises(NotSignedError, match="fewer synchronous standbys are connected"):
            await signed_now(database, signer)
        await pair.names("s1")
        safe = await signed_now(database, signer)
        host.keep(safe.text)
        assert safe.size == 10

        receiver = await replica.fetchval(RECEIVER)
        with pair.deaf(receiver):
            with pytest.raises(NotSignedError, match="the synchronous standby has not flushed it yet"):
                await signed_now(database, signer)
            await pair.as_superuser("select pg_terminate_backend(pid, 5000) from pg_stat_replication")
            await asyncio.to_thread(pair.primary.release)
            os.kill(receiver, signal.SIGTERM)
    await replica.close()
    pair.control("promote")
    async with impatient_pool(DSN.format("entri_service", pair.standby)) as pool:
        assert await pool.fetchval("select position from log_head") == 10
        assert (await settled(pool, host)).generation == 1
