"""One rebuild in a process of its own, so that its memory and processor time are nobody else's.

`python -m bench.rebuild_once NAME` reads the owner's address from standard input and writes a `Rebuilt` as JSON.
"""

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import asyncpg
import uvloop

from bench.processes import resident_mb
from bench.server import Server
from projections.rebuild import rebuild


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What one rebuild did, and what it took."""

    events: int
    rows: int
    seconds: float
    cpu_s: float
    memory_mb: tuple[tuple[int, float], ...]
    """After how many events, how much of the process was in memory."""

    def peak_mb(self, since: float, until: float) -> float:
        """Find the most memory between two shares of the events."""
        return max(mb for events, mb in self.memory_mb if since * self.events <= events <= until * self.events)


async def rebuild_here(name: str, dsn: str) -> Rebuilt:
    """Rebuild a read model and watch this process meanwhile."""
    memory: list[tuple[int, float]] = [(0, resident_mb())]
    connection = await asyncpg.connect(dsn)
    try:
        cpu_s, began = time.process_time(), time.perf_counter()
        report = await rebuild(connection, name, on_progress=lambda made: memory.append((made.events, resident_mb())))
        return Rebuilt(
            events=report.events,
            rows=report.rows,
            seconds=time.perf_counter() - began,
            cpu_s=time.process_time() - cpu_s,
            memory_mb=tuple(memory),
        )
    finally:
        await connection.close()


def rebuild_elsewhere(server: Server, database: str, name: str) -> Rebuilt:
    """Rebuild a read model in a process of its own."""
    command = (sys.executable, "-m", "bench.rebuild_once", name)
    dsn = server.owner_dsn.format(database)
    ended = subprocess.run(command, input=dsn, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise SystemExit(f"the rebuild failed:\n{ended.stderr}")
    return Rebuilt(**json.loads(ended.stdout))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(rebuild_here(sys.argv[1], sys.stdin.read())))))
