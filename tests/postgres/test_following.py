"""`entri events --follow`, at work on a log that grows and a database that goes away."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from events.log import Following
from service.cli.event_lines import json_line
from service.cli.following import Reading, follow, woken
from service.cli.output import Output
from tests.postgres.appends import decided, observed
from tests.postgres.conftest import Database, Server, as_superuser

CUT = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'entri_service' and datname = '{}'"

WAITING = "select count(*) from pg_locks where not granted and relation = 'log_head'::regclass"


@asynccontextmanager
async def followed(database: Database, file: Path, following: Following) -> AsyncIterator[None]:
    """Follow into a file until left."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    async with database.pool(size=1) as pool:
        reading = Reading(
            pool=pool, following=following, line=json_line, output=Output(descriptor), position=0, left=None
        )
        task = asyncio.create_task(follow(reading, database.connect))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            os.close(descriptor)


async def printed(file: Path, name: str, *, count: int) -> list[int]:
    """Wait until so many lines are there, and read their positions."""
    async with asyncio.timeout(20):
        while len(lines := (await asyncio.to_thread(file.read_bytes)).splitlines()) < count:
            pass
    return [orjson.loads(line)[name] for line in lines]


async def test_nothing_is_missed_or_repeated(
    server: Server, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every event comes once and in order, by each following's own positions, though connections are cut."""
    whole, own = tmp_path / "whole", tmp_path / "own"
    of_2 = Following(organization="org_2", types=("TokenUsed",), subjects=("tok_a", "tok_b"))
    async with followed(database, whole, Following()), followed(database, own, of_2), database.owner() as owner:
        name = await owner.fetchval("select current_database()")
        for number in range(3):
            async with database.history() as history:
                for organization in ("org_1", "org_2"):
                    await history.writer.append(observed("tok_a", organization=organization, events=20))
                    await history.writer.append(decided(f"tok_{organization}", number, organization=organization))
            await printed(whole, "position", count=42 * number + 20)
            async with database.owner() as blocking, blocking.transaction():
                await blocking.execute("lock table log_head")
                await owner.execute("notify entri_log")
                while not await owner.fetchval(WAITING):
                    pass
                await as_superuser(server, (CUT.format(name),))
        assert await printed(whole, "position", count=126) == list(range(1, 127))
        expected = [position for position in range(1, 64) if position % 21]
        assert await printed(own, "organization_position", count=60) == expected
    assert re.search(r"waiting for it\n(.*\n)*the database is back", capsys.readouterr().err)


async def test_a_notification_wakes_whoever_follows(database: Database) -> None:
    """What is told on the channel is heard, as soon as there is somebody who listens."""
    async with database.owner() as owner, woken(database.connect) as grown:
        async with asyncio.timeout(10):
            while not grown.is_set():
                await owner.execute("notify entri_log")
                await asyncio.sleep(0.01)
