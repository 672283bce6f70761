"""How `entri serve --workers 2` ends, and what its end leaves: nothing."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service import embedded_postgres
from tests.cli.database_values import USES, value
from tests.cli.processes import (
    ENTRI,
    Process,
    ask,
    entri,
    eventually,
    is_running,
    postmaster_pid,
)
from tests.cli.worker_processes import Workers
from tests.places import data_directory

ON_A_TERMINAL = """
import os, sys
os.setsid()
os.open(sys.argv[1], os.O_RDWR)  # the first terminal that the leader of a session opens becomes its own
os.execv(sys.argv[2], sys.argv[2:])
"""
FIRST_WORKER_FAILS = """
import os, sys
if {"service.worker", "0"} <= set(sys.orig_argv):
    os._exit(3)
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Name a data directory that is not there yet."""
    with data_directory() as path:
        yield path


def test_sigterm_reaches_the_workers(data_dir: Path) -> None:
    """/readyz says 503 while requests are answered, a second signal ends that, and the uses of all are in the log."""
    postgres = embedded_postgres.start(data_dir)
    try:
        with Workers(data_dir, "--drain-delay-s", 600) as service:
            pids = service.pids()
            service.tell(signal.SIGTERM)
            eventually(lambda: ask(f"{service.url}/readyz").status == 503)
            assert {ask(f"{service.url}/verify", key=service.token()).status for _ in range(10)} == {200}
            service.tell(signal.SIGTERM)
            ended = service.end()
        assert (ended.code, "usage_lost" in ended.err) == (0, False)
        assert not any(map(is_running, pids))
        assert asyncio.run(value(postgres.owner_dsn, USES)) == 10
    finally:
        postgres.release()
    assert postmaster_pid(data_dir) is None


def test_workers_end_with_their_supervisor(data_dir: Path) -> None:
    """When the supervisor is killed, its workers close the port and end, and the last one stops PostgreSQL."""
    with Workers(data_dir, "--drain-delay-s", 600) as service:
        pids = service.pids()
        service.tell(signal.SIGKILL)
        ended = service.end()  # its standard error ends with the last of them
    assert ended.code == -signal.SIGKILL
    assert ended.err.count("supervisor_gone") == 2
    eventually(lambda: not any(map(is_running, pids)))
    assert postmaster_pid(data_dir) is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(service.url).port or 0))


def test_workers_that_cannot_start_end_the_start(data_dir: Path) -> None:
    """A worker that ends before it is ready ends the others and the start, and PostgreSQL with them."""
    place = data_dir.parent / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(FIRST_WORKER_FAILS)
    ended = entri("serve", "--workers", 2, "--port", 0, "--data-dir", data_dir, variables={"PYTHONPATH": str(place)})
    assert (ended.code, ended.err.splitlines()[-1]) == (1, "Error: worker 0 ended before it was ready")
    assert ended.out.startswith("bootstrap token: ")
    assert postmaster_pid(data_dir) is None


def test_its_terminal_is_closed(data_dir: Path) -> None:
    """SIGHUP from a closed terminal ends the service, since it is no operator who wants it restarted."""
    ours, theirs = os.openpty()
    try:
        arguments = ("serve", "--workers", 2, "--port", 0, "--data-dir", data_dir)
        with Process(*arguments, program=(sys.executable, "-c", ON_A_TERMINAL, os.ttyname(theirs), *ENTRI)) as process:
            assert process.err.wait_for("serving http://")
            os.close(ours)
            ended = process.end()
    finally:
        os.close(theirs)
    assert (ended.code, "rolling_restart" in ended.err) == (0, False)
    assert postmaster_pid(data_dir) is None
