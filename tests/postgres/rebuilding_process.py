"""A process of its own that rebuilds a read model in steps as small as it is told, to be killed at any of them.

It says how far it is in a line of JSON after each step, and in the last one what was done.
"""

import asyncio
import json
import sys
from dataclasses import asdict

import asyncpg

from projections import filling, switching
from projections.rebuild import rebuild
from projections.rebuilding import Progress


def say(words: object) -> None:
    """Write something for the process that started this one."""
    sys.stdout.write(f"{json.dumps(words)}\n")
    sys.stdout.flush()


def say_step(progress: Progress) -> None:
    """Write how far the rebuild is."""
    say([progress.phase, progress.events, progress.start.events_before])


async def main(name: str, dsn: str, step: int) -> None:
    """Rebuild, and say what was done."""
    filling.CHUNK = switching.BATCH = step  # type: ignore[misc]  # that it is Final is meant for everybody else
    connection = await asyncpg.connect(dsn)
    try:
        say(asdict(await rebuild(connection, name, on_progress=say_step)))
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
