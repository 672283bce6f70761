"""PostgreSQL goes away under a running service and comes back: nothing acknowledged is lost, nothing is restarted."""

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from service import embedded_postgres
from tests.cli.processes import Answer, Service, ask, create_token, eventually, postmaster_pid
from tests.places import data_directory

USES = """
select coalesce(sum((convert_from(entry, 'UTF8')::json -> 'payload' ->> 'count')::integer), 0)
from events where type = 'TokenUsed'
"""
GAPS = "select count(*) from events where type = 'UsageGap'"
BUSY = """
select true from pg_stat_activity
where state = 'active' and query ~ '^select count.*series' and clock_timestamp() - query_start > interval '50 ms'
"""
"""It runs for long, so it is not being parsed, which a backend would not go on from."""
MARKS = "select count(*) from usage_buffers"
Query = Callable[..., list[object]]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Name a data directory that is not there yet."""
    with data_directory() as path:
        yield path


@contextmanager
def nobody_starts(data_dir: Path) -> Iterator[None]:
    """Keep everybody from starting PostgreSQL."""
    lock = os.open(data_dir / "postgresql.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def end_postmaster(data_dir: Path, signal_number: int) -> int:
    """Send the postmaster a signal, and return which it was."""
    pid = postmaster_pid(data_dir)
    assert pid is not None
    os.kill(pid, signal_number)
    return pid


def is_ready(service: Service) -> bool:
    """Ask whether requests may be sent."""
    return ask(f"{service.url}/readyz").status == 200


def check_unavailable(answer: Answer) -> None:
    """Check that an answer came promptly and says to try again."""
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert answer.seconds < 2


def used_until_unavailable(verify: str, key: str) -> int:
    """Present a key that is remembered until the lease has ended, and count how often it was accepted."""
    accepted = 0
    while (answer := ask(verify, key=key)).status == 200:
        accepted += 1
        assert accepted < 100_000
    check_unavailable(answer)
    return accepted


@contextmanager
def held(data_dir: Path) -> Iterator[Query]:
    """Use the server of a data directory as its owner, beside the services or after them."""

    async def fetch(statements: tuple[str, ...]) -> list[object]:
        connection = await asyncpg.connect(postgres.owner_dsn)
        try:
            return [await connection.fetchval(statement) for statement in statements]
        finally:
            await connection.close()

    postgres = embedded_postgres.start(data_dir)
    try:
        yield lambda *statements: asyncio.run(fetch(statements))
    finally:
        postgres.release()


def first_token(service: Service) -> str:
    """Read the first token off a first start."""
    line = service.out.wait_for("bootstrap token: ")
    assert line is not None
    return line.split()[-1]


def test_an_outage_heals_without_a_restart(data_dir: Path) -> None:
    """While PostgreSQL is away everything says so at once; when it is back, all goes on, and every use is counted."""
    with Service(data_dir) as service:
        key, verify, graphql = first_token(service), f"{service.url}/verify", f"{service.url}/graphql"
        issued = create_token(service.url, key).data["createToken"]["secret"]
        assert [ask(verify, key=issued).status for _ in range(10)] == [200] * 10
        with nobody_starts(data_dir):
            end_postmaster(data_dir, signal.SIGQUIT)  # as pg_ctl stop -m immediate does
            eventually(lambda: postmaster_pid(data_dir) is None)
            accepted = used_until_unavailable(verify, issued)
            for _ in range(3):
                check_unavailable(ask(verify, key=key))
                check_unavailable(create_token(service.url, issued))
                check_unavailable(ask(graphql, key=key, body={"query": "{ organization { id } }"}))
            assert ask(verify, key=f"{key[:-1]}_").status == 401  # junk costs nothing, so it is told apart
            assert ask(f"{service.url}/livez").status == 200
            assert "database: the database does not answer" in ask(f"{service.url}/readyz?verbose").text
            assert not is_ready(service)
        eventually(lambda: is_ready(service))
        assert [ask(verify, key=issued).status for _ in range(10)] == [200] * 10
        killed = end_postmaster(data_dir, signal.SIGKILL)
        eventually(lambda: postmaster_pid(data_dir) not in {killed, None})
        eventually(lambda: is_ready(service))
        assert create_token(service.url, key).data["createToken"]["secret"] is not None
        ended = service.stop()
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    with held(data_dir) as query:
        assert query(USES, GAPS, "select count(*) from tokens") == [22 + accepted, 0, 3]


def test_a_killed_service_leaves_one_gap(data_dir: Path) -> None:
    """Uses in the memory of a killed service are said to be missing by the next one, once."""
    with held(data_dir) as query:
        with Service(data_dir, "--usage-window-s", 3600) as service:
            key = first_token(service)
            assert [ask(f"{service.url}/verify", key=key).status for _ in range(5)] == [200] * 5
            eventually(lambda: query(MARKS) == [1])
            service.tell(signal.SIGKILL)
            assert service.end().code == -signal.SIGKILL
        query("with aged as (update usage_buffers set seen_at = seen_at - interval '1 minute') select 1")
        with Service(data_dir) as another:
            eventually(lambda: query(GAPS, MARKS) == [1, 0])
            assert another.stop().code == 0
        assert query(GAPS, "select count(*) from events where type = 'TokenUsed'") == [1, 1]


async def test_a_start_waits_for_what_a_killed_server_left(data_dir: Path) -> None:
    """A statement that outlives its postmaster is waited for, since no two may write one cluster; then it starts."""
    postgres = await asyncio.to_thread(embedded_postgres.start, data_dir)
    try:
        connection, watching = [await asyncpg.connect(postgres.owner_dsn) for _ in range(2)]
        busy = asyncio.create_task(connection.fetchval("select count(*) from generate_series(1, 6000000)"))
        async with asyncio.timeout(10):
            while not await watching.fetchval(BUSY):
                pass
        end_postmaster(data_dir, signal.SIGKILL)
        assert await asyncio.to_thread(postgres.ensure_running)
        assert await busy == 6_000_000
        assert not await asyncio.to_thread(postgres.ensure_running)
        connection.terminate()
        watching.terminate()
    finally:
        await asyncio.to_thread(postgres.release)
    assert not postgres.ensure_running()  # who gave it up does not start it
    assert postmaster_pid(data_dir) is None
