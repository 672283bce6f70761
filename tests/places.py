"""Where the tests keep what they run. Must never leave a server running in it, nor the place behind."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def fast_place() -> str | None:
    """Choose memory, where fsync costs nothing and killed processes lose no more than on a disk, if it is as good.

    On ext4, databases that come and go cost mostly the search for an inode that was not freed a moment ago.
    """
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or os.statvfs(memory).f_flag & os.ST_NOEXEC:
        return None
    return str(memory) if shutil.disk_usage(memory).free > 2**30 else None


@contextmanager
def short_directory() -> Iterator[Path]:
    """Make a short directory that the server's user reaches, unlike pytest's, and stop whatever a failed test left."""
    path = Path(tempfile.mkdtemp(prefix="entri-test-", dir=fast_place()))
    path.chmod(0o755)
    try:
        yield path
    finally:
        for pid_file in path.rglob("postmaster.pid"):
            with suppress(ProcessLookupError, FileNotFoundError):
                os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGQUIT)
        shutil.rmtree(path)


@contextmanager
def data_directory() -> Iterator[Path]:
    """Choose a data directory that the server's user reaches; it is made by whoever runs in it."""
    with short_directory() as path:
        yield path / "data"
