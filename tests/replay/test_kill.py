"""Kills the service and PostgreSQL at random under load, then audits what is left.

`ENTRI_FAULT_SECONDS` says for how long, `ENTRI_FAULT_SEED` repeats the draws of a run that failed.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from service import embedded_postgres
from tests.cli.processes import Service, postmaster_pid
from tests.places import data_directory
from tests.replay.audit import audit
from tests.replay.follow import Follower, history
from tests.replay.load import Client, Target, patient_session

SECONDS: Final = float(os.environ.get("ENTRI_FAULT_SECONDS", "8"))
SEED: Final = int(os.environ.get("ENTRI_FAULT_SEED", random.SystemRandom().randrange(2**32)))
CLIENTS: Final = 8
FOLLOWERS: Final = 2
QUICKEST_S: Final = 0.2
SLOWEST_S: Final = 1.5


class Faults:
    """Owns the service, and kills it or its PostgreSQL."""

    def __init__(self, data_dir: Path, target: Target, rng: random.Random) -> None:
        self._data_dir = data_dir
        self._target = target
        self._rng = rng
        self.service = Service(data_dir)
        self.kills = 0

    def serve(self) -> None:
        """Tell the clients where the service is."""
        self._target.url = self.service.url
        self._target.serving.set()

    async def go_on(self, seconds: float) -> None:
        """Kill, now this and now that, until the time is over."""
        end_at = time.monotonic() + seconds
        while time.monotonic() < end_at:
            await asyncio.sleep(self._rng.uniform(QUICKEST_S, SLOWEST_S))
            await self._rng.choice((self._kill_service, self._kill_postgres, self._kill_both))()
            self.kills += 1

    async def _kill_service(self) -> None:
        self._target.serving.clear()
        self.service.tell(signal.SIGKILL)
        await asyncio.to_thread(self.service.end)
        self.service = await asyncio.to_thread(Service, self._data_dir)
        self.serve()

    async def _kill_postgres(self) -> None:
        if (pid := postmaster_pid(self._data_dir)) is not None:
            with suppress(ProcessLookupError):  # it may be down from the time before, and its file still there
                os.kill(pid, signal.SIGKILL)

    async def _kill_both(self) -> None:
        await self._kill_postgres()
        await self._kill_service()


@asynccontextmanager
async def faulty(data_dir: Path, rng: random.Random) -> AsyncIterator[tuple[Target, Faults]]:
    """Start a service that is about to be killed, and end it kindly when all is done."""
    async with patient_session() as session:
        target = Target(key="", session=session)
        faults = Faults(data_dir, target, rng)
        try:
            line = faults.service.out.wait_for("bootstrap token: ")
            assert line is not None
            target.key = line.split()[-1]
            faults.serve()
            yield target, faults
            ended = await asyncio.to_thread(faults.service.stop)
            assert ended.code == 0, ended.err
        finally:
            with faults.service:
                pass
            sys.stdout.write(faults.service.end().err)


async def test_nothing_acknowledged_is_lost() -> None:
    """Whatever is killed whenever: what was acknowledged is there once, and all that follows from the log agrees."""
    print(f"ENTRI_FAULT_SEED={SEED}")  # noqa: T201 -- shown when it fails
    rng = random.Random(SEED)
    with data_directory() as data_dir:
        async with faulty(data_dir, rng) as (target, faults):
            stopping = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for number in range(CLIENTS):
                    client = Client(name=f"client-{number}", target=target, rng=random.Random(rng.random()))
                    tasks.create_task(client.run(stopping))
                followers = [Follower(target=target, rng=random.Random(rng.random())) for _ in range(FOLLOWERS)]
                for follower in followers:
                    tasks.create_task(follower.run(stopping))
                await faults.go_on(SECONDS)
                stopping.set()
            expected = await history(data_dir)
            for follower in followers:
                await follower.until(len(expected))
                assert follower.seen[: len(expected)] == expected
                assert follower.positions == list(range(1, len(follower.positions) + 1))
        postgres = await asyncio.to_thread(embedded_postgres.start, data_dir)
        try:
            types = await audit(postgres.owner_dsn, target.acknowledged, verified=target.verified)
        finally:
            await asyncio.to_thread(postgres.release)
    print(f"{faults.kills} kills, {len(target.acknowledged)} acknowledged, {dict(types)}")  # noqa: T201 -- as above
    assert faults.kills > 1
    assert min(types["TokenCreated"], types["TokenRotated"], types["TokenRevoked"], types["TokenUsed"]) > 1
