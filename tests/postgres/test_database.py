"""The database as the service opens it: as whom, with which settings, and what is said when it cannot be."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import asyncpg
import pytest

from service.database import DatabaseError, check_server, connect, open_database, prepare
from service.settings import Settings, load
from tests.postgres.conftest import Database, Server, as_superuser

if TYPE_CHECKING:
    from events.statement import Connection

LOCKED = "hush-the-password"
OPEN = "select count(*) from pg_stat_activity where application_name = 'impatient'"
STEPS = 200


def settings_for(database_url: str, owner_database_url: str | None = None) -> Settings:
    """Read settings as a command does."""
    return load({}, {"database_url": database_url, "owner_database_url": owner_database_url})


@pytest.fixture
async def one_login(server: Server) -> AsyncIterator[None]:
    """Let the owner take on the service's role."""
    await as_superuser(server, ("grant entri_service to entri_owner",))
    yield
    await as_superuser(server, ("revoke entri_service from entri_owner",))


@pytest.fixture
async def locked(server: Server) -> AsyncIterator[None]:
    """Make a role whose password is asked for, which the others' is not."""
    rules = "(values ('local all locked scram-sha-256'), ('local all all trust'))"
    hba_file = await value(server, "show hba_file")
    await as_superuser(server, (f"create role locked login password '{LOCKED}'", f"copy {rules} to '{hba_file}'"))
    await as_superuser(server, ("select pg_reload_conf()",))
    yield
    await as_superuser(server, ("drop role locked",))


async def value(server: Server, query: str) -> object:
    """Ask the server something as its superuser."""
    connection = await asyncpg.connect(server.superuser_dsn.format("postgres"))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


@pytest.mark.usefixtures("one_login")
async def test_the_service_never_acts_as_the_owner(database: Database) -> None:
    """With one login for both, its connections take on the service's role, with the settings that it relies on."""
    async with open_database(settings_for(database.owner_dsn)) as opened, opened.pool(2) as pool:
        assert await prepare(opened) == ()
        writer = await opened.connect()
        try:
            for connection in (pool, writer):
                row = await connection.fetchrow(
                    "select current_user, current_setting('search_path'), current_setting('statement_timeout'),"
                    " current_setting('idle_in_transaction_session_timeout'), current_setting('timezone')"
                )
                assert row is not None
                assert tuple(row) == ("entri_service", "public, pg_temp", "10s", "10s", "UTC")
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute("create table mine ()")
        finally:
            await writer.close()


async def test_a_login_that_is_no_member_is_told_so(database: Database, server: Server) -> None:
    """A service's login that may not take on the role is refused with what is missing."""
    await as_superuser(server, ("create role stranger login",))
    try:
        login = database.owner_dsn.replace("entri_owner@", "stranger@")
        async with open_database(settings_for(login, database.owner_dsn)) as opened:
            with pytest.raises(DatabaseError, match="its login must be a member of entri_service"):
                async with opened.pool(2):
                    pass
    finally:
        await as_superuser(server, ("drop role stranger",))


@pytest.mark.usefixtures("locked")
async def test_a_wrong_password_is_not_shown(server: Server) -> None:
    """The refusal names the role and shows no password, whether it is the right one or not."""
    url = server.superuser_dsn.replace("postgres@", "locked:wrong-{}@").format(LOCKED, "postgres")
    async with asyncio.timeout(10):
        while True:  # until the server has read its rules again
            try:
                await (await asyncpg.connect(url)).close()
            except asyncpg.InvalidPasswordError:
                break
    with pytest.raises(DatabaseError, match='password authentication failed for user "locked"') as caught:
        await connect(url, {})
    assert LOCKED not in str(caught.value)
    await (await connect(url.replace("wrong-", ""), {})).close()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://u:{}@127.0.0.1:1/entri", r"\[Errno \d+\] Connect"),
        ("postgresql://u:{}@localhost:port/entri", r"check the database URL \(ValueError\)"),
        ("postgresql://u@localhost/entri?sslmode={}", r"check the database URL \(ClientConfigurationError\)"),
        ("postgresql://u:{}@/entri?host=/nowhere", "No such file or directory"),
    ],
)
async def test_what_cannot_be_reached_is_told_without_its_url(url: str, complaint: str) -> None:
    """Every way not to get through ends in one line that quotes no part of the URL that may be secret."""
    with pytest.raises(DatabaseError, match=complaint) as caught:
        await connect(url.format(LOCKED), {})
    assert LOCKED not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_database_without_the_role_says_who_can_make_it(empty_database: Database, server: Server) -> None:
    """A migration that fails is told in one line, hint included, and leaves nothing."""
    await as_superuser(server, ("create role plain login",))
    try:
        url = empty_database.owner_dsn.replace("entri_owner@", "plain@")
        async with open_database(settings_for(url)) as opened:
            with pytest.raises(DatabaseError, match="cannot be migrated: permission denied for schema public"):
                await prepare(opened)
    finally:
        await as_superuser(server, ("drop role plain",))


async def test_whoever_waits_no_longer_leaves_no_connection(database: Database) -> None:
    """Whenever the wait for it ends, a connection is either there or closed, while it is limited too."""
    async with open_database(settings_for(database.service_dsn)) as opened, database.owner() as owner:
        began = time.perf_counter()
        await (await opened.connect()).close()
        whole_s = time.perf_counter() - began
        for step in range(STEPS):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.5 * whole_s * step / STEPS):
                    connection = await opened.connect(application_name="impatient")
                    await connection.close()
        async with asyncio.timeout(10):
            while await owner.fetchval(OPEN):
                pass


class OlderServer:
    """A connection to a PostgreSQL that we have none of."""

    async def fetchval(self, query: str, *_: object) -> str:
        """Answer as version 14 does."""
        return "140012" if "server_version_num" in query else "on"


async def test_an_older_server_is_refused() -> None:
    """A server before version 15 is refused by name of what is needed."""
    with pytest.raises(DatabaseError, match="PostgreSQL 15 or later is needed"):
        await check_server(cast("Connection", OlderServer()))
