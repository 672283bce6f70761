"""How `entri serve` stops, and the use of a PostgreSQL that is not its own."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service import embedded_postgres
from tests.cli.database_values import USES, value
from tests.cli.processes import Service, ask, create_token, eventually, postmaster_pid
from tests.places import data_directory

BODY = b'{"query":"{ viewer { scopes } }"}'


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Name a data directory that is not there yet."""
    with data_directory() as path:
        yield path


def first_token(service: Service) -> str:
    """Read the first token off a first start."""
    line = service.out.wait_for("bootstrap token: ")
    assert line is not None
    return line.split()[-1]


@contextmanager
def half_a_request(url: str, key: str) -> Iterator[socket.socket]:
    """Send a request but for the end of its body."""
    place = urlsplit(url)
    assert place.port is not None
    head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", place.port), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:9])
        yield connection


@contextmanager
def web_socket(url: str, key: str) -> Iterator[socket.socket]:
    """Open a WebSocket by hand."""
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    offer = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n"
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=20) as connection:
        connection.sendall(f"GET /graphql HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n{upgrade}{offer}\r\n".encode())
        assert b" 101 " in connection.recv(4096)
        yield connection


def is_refused(url: str) -> bool:
    """Tell whether nobody listens there any more."""
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)):
        return False
    return True


def test_sigterm_loses_nothing(data_dir: Path) -> None:
    """/readyz says 503 before the port closes, a request on its way is answered, and the last uses are in the log.

    A WebSocket is told to go elsewhere as soon as the port is closed.
    """
    postgres = embedded_postgres.start(data_dir)
    try:
        with Service(data_dir, "--drain-delay-s", 2) as service:
            key = first_token(service)
            with half_a_request(service.url, key) as connection, web_socket(service.url, key) as following:
                assert [ask(f"{service.url}/verify", key=key).status for _ in range(29)] == [200] * 29
                service.tell(15)
                eventually(lambda: ask(f"{service.url}/readyz").status == 503)
                going = ask(f"{service.url}/livez")
                assert (going.status, going.headers["Connection"]) == (200, "close")
                eventually(lambda: is_refused(service.url))
                assert following.recv(4096) == b"\x88\x0c\x03\xe9Going away"
                following.close()
                connection.sendall(BODY[9:])
                assert b'{"data":{"viewer":{"scopes":["*:*"]}}}' in connection.recv(4096)
            ended = service.end()
        assert (ended.code, "usage_lost" in ended.err) == (0, False)
        assert asyncio.run(value(postgres.owner_dsn, USES)) == 31
        assert asyncio.run(value(postgres.owner_dsn, "select count(*) from usage_buffers")) == 0
        assert (
            asyncio.run(value(postgres.owner_dsn, "select count(*) from pg_stat_activity where usename = 'entri'")) == 0
        )
    finally:
        postgres.release()
    assert postmaster_pid(data_dir) is None


@pytest.mark.parametrize("has_two_roles", [True, False])
def test_a_postgresql_of_ones_own(data_dir: Path, *, has_two_roles: bool) -> None:
    """With an owner's and a service's login, or with one that may do both, it serves as `entri_service` only."""
    postgres = embedded_postgres.start(data_dir / "theirs")
    superuser = postgres.owner_dsn.replace("entri_owner@", "postgres@")
    try:
        for statement in (
            "create role app_owner login createrole",
            "create role app login in role entri_service",
            "grant entri_service to app_owner with admin option",
            "create database app owner app_owner",
        ):
            asyncio.run(value(superuser, statement))
        owner, login = (superuser.replace("postgres@/entri", f"{role}@/app") for role in ("app_owner", "app"))
        urls = {"ENTRI_DATABASE_URL": owner}
        if has_two_roles:
            urls = {"ENTRI_DATABASE_URL": login, "ENTRI_OWNER_DATABASE_URL": owner}
        with Service(data_dir / "ours", variables=urls) as service:
            assert create_token(service.url, first_token(service)).status == 200
            query = "select string_agg(distinct usename, ' ') from pg_stat_activity where application_name = 'entri'"
            assert asyncio.run(value(superuser, query)) == ("app" if has_two_roles else "app_owner")
            assert service.stop().code == 0
        assert not (data_dir / "ours" / "postgresql").exists()
    finally:
        postgres.release()
