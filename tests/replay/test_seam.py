"""Followers that come and go under load see exactly the log: in order, each event once.

`ENTRI_FAULT_SECONDS` makes it longer: 64 connections come and go for each second of it.
"""

import asyncio
import os
import random
from pathlib import Path
from typing import Final

import asyncpg

from service import embedded_postgres
from tests.cli.processes import Service
from tests.places import data_directory
from tests.replay.follow import Follower, history
from tests.replay.load import Client, Target, patient_session

CONNECTIONS: Final = round(16 * float(os.environ.get("ENTRI_FAULT_SECONDS", "8")))
"""Of each follower."""
SEED: Final = int(os.environ.get("ENTRI_FAULT_SEED", random.SystemRandom().randrange(2**32)))
FOLLOWERS: Final = 4
WRITERS: Final = 16
END_TAIL: Final = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'entri-tail'"


async def end_tails(data_dir: Path, stopping: asyncio.Event) -> int:
    """End the connections that listen, over and over."""
    postgres = await asyncio.to_thread(embedded_postgres.start, data_dir)
    connection = await asyncpg.connect(postgres.service_dsn)
    ended = 0
    try:
        while not stopping.is_set():
            ended += await connection.fetchval(END_TAIL)
            await asyncio.sleep(0.2)
    finally:
        await connection.close()
        await asyncio.to_thread(postgres.release)
    return ended


async def test_whoever_comes_and_goes_sees_exactly_the_log() -> None:
    """Clients come and go over 500 times at random moments, under writers and lost messages: no gap, nothing twice."""
    print(f"ENTRI_FAULT_SEED={SEED}")  # noqa: T201 -- shown when it fails
    rng = random.Random(SEED)
    stopping = asyncio.Event()
    with data_directory() as data_dir, Service(data_dir, "--denials-a-second", 100_000) as service:
        async with patient_session() as session:
            line = service.out.wait_for("bootstrap token: ")
            assert line is not None
            target = Target(key=line.split()[-1], session=session, url=service.url)
            target.serving.set()
            followers = [Follower(target=target, rng=random.Random(rng.random())) for _ in range(FOLLOWERS)]
            async with asyncio.TaskGroup() as tasks:
                for number in range(WRITERS):
                    client = Client(name=f"writer-{number}", target=target, rng=random.Random(rng.random()))
                    tasks.create_task(client.run(stopping))
                ending = tasks.create_task(end_tails(data_dir, stopping))
                await asyncio.gather(*(one.run(stopping, most=CONNECTIONS) for one in followers))
                stopping.set()
            expected = await history(data_dir)
            await asyncio.gather(*(one.until(len(expected)) for one in followers))
            assert ending.result() > 0
    for follower in followers:
        # Later uses may have been flushed meanwhile.
        assert follower.positions == list(range(1, len(follower.positions) + 1))
        assert follower.seen[: len(expected)] == expected
    assert sum(follower.connections for follower in followers) >= FOLLOWERS * CONNECTIONS
