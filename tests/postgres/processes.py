"""Starts processes that append to the log at the same time, and waits for what they say."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.postgres.conftest import Database

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60
LONGEST_LINE = 2**24


@asynccontextmanager
async def process(options: dict[str, int | str]) -> AsyncIterator[Process]:
    """Run one process until the end of the block; what it complains of is shown as the test's own."""
    arguments = ("-m", "tests.postgres.writing_process", json.dumps(options))
    running = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdin=PIPE, stdout=PIPE, limit=LONGEST_LINE
    )
    try:
        yield running
        async with asyncio.timeout(PATIENCE_S):
            assert await running.wait() == 0
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def line_of(running: Process) -> str:
    """Read the next line that a process says."""
    assert running.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        return (await running.stdout.readline()).decode().strip()


class Processes:
    """Processes that are ready, wait for the word, and work."""

    def __init__(self, running: list[Process]) -> None:
        self._running = running

    def begin(self) -> None:
        """Give all of them the word at once."""
        for process in self._running:
            assert process.stdin is not None
            process.stdin.write(b"\n")

    async def results(self) -> list[list[Any]]:
        """Wait until all have worked; answer what each came to, as it came from JSON."""
        return [json.loads(await line_of(process)) for process in self._running]


@asynccontextmanager
async def processes(
    database: Database, count: int, *, partition_size: int = 10_000, **options: int | str
) -> AsyncIterator[Processes]:
    """Start processes on a database and wait until all are ready."""
    async with AsyncExitStack() as stack:
        common = options | {"dsn": database.service_dsn, "partition_size": partition_size}
        running = [await stack.enter_async_context(process(common | {"name": f"p{n}"})) for n in range(count)]
        for one in running:
            assert await line_of(one) == "ready"
        yield Processes(running)
