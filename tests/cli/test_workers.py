"""`entri serve --workers 2` while it serves: what becomes of its workers, and of the requests meanwhile."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from tests.cli.clients import Clients
from tests.cli.processes import (
    Service,
    ask,
    create_token,
    entri,
    eventually,
    is_running,
    postmaster_pid,
)
from tests.cli.worker_processes import Workers
from tests.places import data_directory


@pytest.fixture(scope="module")
def running() -> Iterator[Workers]:
    """Run two workers from a first start, which each test finds alive and leaves alive; one token is printed in all."""
    with data_directory() as path, Workers(path) as service:
        yield service
        pids = service.pids()
        ended = service.stop()
        assert (ended.code, ended.out) == (0, f"bootstrap token: {service.token()}\n")
        assert service.token() not in ended.err
        assert (postmaster_pid(path), [is_running(pid) for pid in pids]) == (None, [False, False])


def served(url: str) -> dict[str, float]:
    """Read how many requests each worker has answered."""
    rows = re.findall(
        r'^entri_request_seconds_count\{.*worker="(\d)"\} (\S+)$', ask(f"{url}/metrics").text, re.MULTILINE
    )
    counts: dict[str, float] = {}
    for worker, count in rows:
        counts[worker] = counts.get(worker, 0) + float(count)
    return counts


def test_workers_share_the_port(running: Workers) -> None:
    """Both answer, /metrics speaks for both, another service joins their PostgreSQL, and none can take their port."""
    path, token = running.data_dir, running.token()
    assert len(set(running.pids())) == 2
    issued = create_token(running.url, token).data["createToken"]["secret"]
    assert {ask(f"{running.url}/verify", key=issued).status for _ in range(40)} == {200}
    counts = served(running.url)
    assert set(counts) == {"0", "1"}
    assert sum(counts.values()) >= 41
    with Service(path) as second:
        assert create_token(second.url, issued).status == 200
        assert second.stop().code == 0
    assert create_token(running.url, issued).status == 200
    port = urlsplit(running.url).port
    ended = entri("serve", "--workers", 2, "--port", port, "--data-dir", path)
    assert ended.err == f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_a_dead_worker_is_started_anew(running: Workers) -> None:
    """What connects while a worker is dead is answered, by the other or by its successor, and the log names it."""
    token = running.token()
    killed, other = running.pids()
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: not is_running(killed))
    with ThreadPoolExecutor(20) as threads:
        asked = threads.map(lambda _: ask(f"{running.url}/verify", key=token).status, range(20))
        assert set(asked) == {200}
    successor, same = running.pids(more_starts=1)
    assert (same, successor != killed) == (other, True)
    ended = running.err.wait_for("worker_ended")
    assert re.search(rf"code=-9 .*pid={killed} .*worker=0", ended or "")
    assert 'entri_worker_starts_total{worker="1"} 1.0' in ask(f"{running.url}/metrics").text


async def test_a_rolling_restart_fails_no_request(running: Workers) -> None:
    """Both workers are replaced under load, and each client gets each of its answers, however long it idles between."""
    before = running.pids()
    clients = Clients(url=running.url, key=running.token())
    pauses = (0.01, 0.02, 0.05, 0.3, 0.7, 1.0, 1.3)
    with socket.create_connection(("127.0.0.1", urlsplit(running.url).port or 0)):  # it never asks anything
        async with ClientSession() as session:
            kept = [clients.keeps_alive(pause_s) for pause_s in pauses]
            new = [clients.connects_anew(0.01), clients.connects_anew(0.03)]
            posted = [clients.posts(session, pause_s) for pause_s in pauses]
            async with clients.asking(*kept, *new, *posted):
                running.tell(signal.SIGHUP)
                assert await asyncio.to_thread(running.err.wait_for, "rolling_restart_done")
    after = running.pids(more_starts=2)
    assert clients.failures == []
    assert clients.answered > 100
    assert not set(before) & set(after)
    assert not any(map(is_running, before))


def test_a_worker_that_cannot_start(running: Workers) -> None:
    """A replacement that does not start replaces nobody; a dead worker's successor is tried until it does."""
    path, token = running.data_dir, running.token()
    pepper, elsewhere = path / "pepper.key", path / "elsewhere.key"
    killed, other = running.pids()
    with ThreadPoolExecutor(20) as threads:
        pepper.rename(elsewhere)
        try:
            running.tell(signal.SIGHUP)
            assert running.err.wait_for("rolling_restart_given_up")
            assert is_running(killed)
            os.kill(killed, signal.SIGKILL)
            assert running.err.wait_for("worker_not_started")
            asked = [threads.submit(ask, f"{running.url}/verify", key=token) for _ in range(20)]
        finally:
            elsewhere.rename(pepper)
        assert {future.result().status for future in asked} == {200}
    assert running.pids(more_starts=1)[1] == other
    assert running.err.wait_for(f"Error: the pepper file {pepper} is missing")
