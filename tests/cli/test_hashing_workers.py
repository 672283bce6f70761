"""The processes that hash: bounded, replaced when they end, and never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.hashing import HashingOverloadError, VerifierError
from service.hashing_workers import HashingWorkers
from tests.cli.processes import eventually, is_running
from tests.costs import CHEAP

DIGEST, OTHER = bytes(32), bytes([1]) * 32
ASKING = """
import asyncio, sys
from service.hashing_workers import HashingWorkers
from tests.costs import CHEAP
async def main():
    workers = HashingWorkers(cost=CHEAP, processes=1, queue_bound=1)
    await workers.hash(bytes(32))
    print(workers._idle[0].pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
async def workers() -> AsyncIterator[HashingWorkers]:
    """Run two at most, with a queue of two."""
    made = HashingWorkers(cost=CHEAP, processes=2, queue_bound=2)
    yield made
    await made.close()


async def test_a_digest_matches_its_own_verifier_only(workers: HashingWorkers) -> None:
    """What was hashed is verified, at the cost that was asked for; another digest is not the one."""
    phc = await workers.hash(DIGEST)
    assert phc.startswith("$argon2id$v=19$m=1024,t=1,p=1$")
    assert await workers.verify(phc, DIGEST)
    assert not await workers.verify(phc, OTHER)
    assert not workers.is_outdated(phc)


async def test_what_cannot_be_computed_is_told(workers: HashingWorkers) -> None:
    """A verifier beyond the bounds is refused here, and one without memory enough for its lanes there."""
    with pytest.raises(VerifierError, match="more than we allow"):
        await workers.verify((await workers.hash(DIGEST)).replace("m=1024", "m=131073"), DIGEST)
    with pytest.raises(VerifierError, match="could not be computed"):
        await workers.verify((await workers.hash(DIGEST)).replace("m=1024", "m=1"), DIGEST)


async def test_no_more_than_there_is_room_for(workers: HashingWorkers) -> None:
    """Four are taken, the fifth is not; who hangs up while it is made keeps its place, who only waits does not."""
    calls = [asyncio.create_task(workers.hash(DIGEST)) for _ in range(4)]
    await asyncio.sleep(0)
    calls[0].cancel()
    await asyncio.wait([calls[0]])
    with pytest.raises(HashingOverloadError, match="full"):
        await workers.hash(DIGEST)
    calls[3].cancel()
    await asyncio.wait([calls[3]])
    calls[3] = asyncio.create_task(workers.hash(DIGEST))
    assert len(set(await asyncio.gather(*calls[1:]))) == 3
    while workers.permits_held:  # noqa: ASYNC110 -- nobody waits for the last hash
        await asyncio.sleep(0)
    assert len(workers._idle) <= 2


async def test_one_that_ends_is_replaced(workers: HashingWorkers) -> None:
    """Killed while it hashes, the call fails as one that can be repeated; killed while idle, nobody notices."""
    await workers.hash(DIGEST)
    (idle,) = workers._idle
    idle.kill()
    await idle.wait()
    assert await workers.hash(DIGEST)
    (stopped,) = workers._idle
    os.kill(stopped.pid, signal.SIGSTOP)
    call = asyncio.create_task(workers.hash(DIGEST))
    while workers._idle:  # noqa: ASYNC110 -- until it is asked
        await asyncio.sleep(0)
    stopped.kill()
    with pytest.raises(HashingOverloadError, match="has ended"):
        await call
    assert await workers.hash(DIGEST)


async def test_one_that_is_stuck_is_replaced(workers: HashingWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while it is taken for dead, and killed."""
    await workers.hash(DIGEST)
    (stopped,) = workers._idle
    os.kill(stopped.pid, signal.SIGSTOP)
    monkeypatch.setattr("service.hashing_workers.ANSWER_WITHIN_S", 0.05)
    with pytest.raises(HashingOverloadError, match="stuck"):
        await workers.hash(DIGEST)
    assert stopped.returncode == -signal.SIGKILL
    monkeypatch.undo()
    assert await workers.hash(DIGEST)


async def test_a_closed_one_takes_no_more() -> None:
    """What was accepted is answered, then the processes are gone."""
    workers = HashingWorkers(cost=CHEAP, processes=2, queue_bound=2)
    calls = [asyncio.create_task(workers.hash(DIGEST)) for _ in range(4)]
    await asyncio.sleep(0)
    await workers.close()
    assert all(call.done() and call.result() for call in calls)
    with pytest.raises(HashingOverloadError):
        await workers.hash(DIGEST)


def test_it_ends_with_whoever_asks() -> None:
    """Killed without a chance to say so, a service leaves no process behind."""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", ASKING], cwd=root, stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        pid = int(asking.stdout.readline())
        assert is_running(pid)
        assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, asking.pid)
        asking.kill()
        asking.wait()
        assert eventually(lambda: not is_running(pid))
