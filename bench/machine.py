"""On which machine and with which versions something was measured. Must never name a person or a path."""

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from bench.callers import percentile
from bench.report import number
from bench.server import Server, file_system


async def describe(server: Server) -> str:
    """Describe the machine, the server, and what a flush to its disk costs."""
    flushes = flush_latencies_s(server.directory)
    rows = [
        ("processor", f"{os.cpu_count()} of {processor()}"),
        ("memory", f"{memory_gb():.1f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("file system", file_system(server.cluster)),
        (
            "8 KiB written and flushed (fdatasync)",
            f"median {number(percentile(flushes, 0.5) * 1e6)} µs, p99 {number(percentile(flushes, 0.99) * 1e6)} µs",
        ),
        ("PostgreSQL", await server.ask("show server_version")),
        ("its settings", await settings(server)),
        ("Python", sys.version.split()[0]),
        ("asyncpg, eventsourcing", f"{version('asyncpg')}, {version('eventsourcing')}"),
        ("revision", revision()),
    ]
    return "\n".join(f"- {what}: {is_}" for what, is_ in rows)


async def settings(server: Server) -> str:
    """Name the settings that durability and speed depend on most."""
    names = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers", "max_wal_size")
    return ", ".join([f"{name} {await server.ask(f'show {name}')}" for name in names])


def memory_gb() -> float:
    """Read how much memory the machine has."""
    return int(Path("/proc/meminfo").read_text(encoding="ascii").split()[1]) / 1024 / 1024


def processor() -> str:
    """Name the processor as the kernel does."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def flush_latencies_s(directory: Path, *, count: int = 500) -> list[float]:
    """Measure, in ascending order, how long a page takes to the disk in a file that is there already, as in a log."""
    page = os.urandom(8192)
    path = directory / "flush"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, page * count)
        os.fsync(descriptor)
        return sorted(flush_s(descriptor, page, offset) for offset in range(0, len(page) * count, len(page)))
    finally:
        os.close(descriptor)
        path.unlink()


def flush_s(descriptor: int, page: bytes, offset: int) -> float:
    """Measure one write and its flush."""
    began = time.perf_counter()
    os.pwrite(descriptor, page, offset)
    os.fdatasync(descriptor)
    return time.perf_counter() - began


def revision() -> str:
    """Name the revision measured, and whether it was changed since."""
    try:
        described = subprocess.run(
            ("git", "describe", "--always", "--dirty", "--abbrev=12"), capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()
