"""One export, or one verification of it, in a process of its own, so that memory and processor time are nobody else's.

`python -m bench.export_once export|verify PATH` reads the addresses of the database from standard input, as JSON, and
writes a `Passed` as JSON.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvloop

from bench.processes import resident_mb
from bench.server import Server
from events.export import Asked
from service.core import open_signer
from service.database import open_database
from service.export_files import open_output
from service.export_reader import open_export
from service.exporting import Exporter
from service.log_verifier import Trust, verify_export
from service.settings import load


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What was done to all events of a log, and what it took."""

    events: int
    seconds: float
    cpu_s: float
    memory_mb: tuple[tuple[int, float], ...]
    """After how many events, how much of the process was in memory."""

    def peak_mb(self, since: float, until: float) -> float:
        """Find the most memory between two shares of the events."""
        return max(mb for events, mb in self.memory_mb if since * self.events <= events <= until * self.events)


@dataclass(slots=True)
class Watch:
    """Time and memory of this process, from its making on."""

    began: float = field(default_factory=time.perf_counter)
    cpu_s: float = field(default_factory=time.process_time)
    memory_mb: list[tuple[int, float]] = field(default_factory=list)

    def look(self, done: int) -> None:
        """Look how much is in memory."""
        self.memory_mb.append((done, resident_mb()))

    def passed(self, events: int) -> Passed:
        """Say what it all took."""
        seconds, cpu_s = time.perf_counter() - self.began, time.process_time() - self.cpu_s
        return Passed(events=events, seconds=seconds, cpu_s=cpu_s, memory_mb=tuple(self.memory_mb))


async def export_here(path: Path, options: dict[str, str | None]) -> Passed:
    """Export the whole log, once its trees hold all of it."""
    settings = load({}, options)
    async with open_database(settings) as database, database.pool(4) as pool:
        exporting = Exporter((await open_signer(pool, settings))[0])
        await exporting.take_in()
        watch = Watch()
        with open_output(path) as output:
            manifest = await exporting.export(
                Asked(None, None, None), output, lambda manifest, position: watch.look(position - manifest.first + 1)
            )
        return watch.passed(manifest.events)


def verify_here(path: Path) -> Passed:
    """Verify an export."""
    watch = Watch()
    with open_export(path) as reading:
        proved = verify_export(reading, Trust(keys=(), kept=None), lambda _, done: watch.look(done))
    return watch.passed(proved.manifest.events)


def elsewhere(server: Server, database: str, what: str, *, path: Path) -> Passed:
    """Export or verify in a process of its own."""
    options = {
        "data_dir": str(server.directory / database),
        "database_url": server.service_dsn.format(database),
        "owner_database_url": server.owner_dsn.format(database),
    }
    command = (sys.executable, "-m", "bench.export_once", what, str(path))
    ended = subprocess.run(command, input=json.dumps(options), capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise SystemExit(f"to {what} failed:\n{ended.stderr}")
    return Passed(**json.loads(ended.stdout))


def remove(path: Path) -> None:
    """Make room for the next one."""
    shutil.rmtree(path, ignore_errors=True)


def main(what: str, path: Path, options: dict[str, str | None]) -> Passed:
    """Do what is asked for."""
    if what == "verify":
        return verify_here(path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(export_here(path, options))


if __name__ == "__main__":
    print(json.dumps(asdict(main(sys.argv[1], Path(sys.argv[2]), json.load(sys.stdin)))))
