"""The database: which one, as whom, migrated, durable. Must never let the service act as the owner of the log.

Two roles: the owner makes and migrates tables; `entri_service` may only do what the migrations grant it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import structlog
from asyncpg.connect_utils import SessionAttribute

from events.fair_pool import FairPool
from events.migrate import migrate, migrations, pending
from events.statement import Connection, Pool, load
from service import embedded_postgres
from service.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from service.settings import Settings
from service.watchdog import keep_running

LAYERS: Final = ("events.migrations", "projections.migrations", "service.migrations")
SERVICE_ROLE: Final = "entri_service"
OLDEST_SERVER: Final = 150000
FIRST_WITH_TRANSACTION_TIMEOUT: Final = 17
LIMIT_TRANSACTIONS: Final = load("service.statements", "limit_transactions")
STATEMENT_TIMEOUT_MS: Final = 10_000
CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 15.0
"""Beyond the server's own limit of a statement: for a server that has stopped answering altogether."""

log = structlog.get_logger(__name__)


class DatabaseError(Exception):
    """The database cannot be used; the message says why and what would be right, without its URL."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Database:
    """Where the database is, for its owner and for the service."""

    owner_dsn: str
    service_dsn: str
    set_role: bool
    """Whether the service logs in as somebody else and takes its role on."""

    async def connect_as_owner(self) -> Connection:
        """Connect as the owner. Raises DatabaseError."""
        return await connect(self.owner_dsn, {"application_name": "entri-owner"})

    async def connect(self, **session: str) -> Connection:
        """Connect as the service's role to the primary, with settings of its session. Raises the driver's errors.

        A replica may lag: what it says of a key, or of who verifies, may have been true once.
        """
        connection = await asyncpg.connect(
            self.service_dsn,
            server_settings=self._session() | session,
            target_session_attrs=SessionAttribute.primary,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
        )
        try:
            if connection.get_server_version().major >= FIRST_WITH_TRANSACTION_TIMEOUT:
                await connection.execute(LIMIT_TRANSACTIONS.text, str(STATEMENT_TIMEOUT_MS))
        except BaseException:  # whoever asked for it waits no longer, or it broke: nobody else would end it
            connection.terminate()
            raise
        return connection

    @asynccontextmanager
    async def pool(self, size: int) -> AsyncIterator[Pool]:
        """Open a pool of connections as the service's role. Raises DatabaseError."""
        pool = asyncpg.create_pool(
            self.service_dsn,
            min_size=1,
            max_size=size,
            server_settings=self._session(),
            target_session_attrs=SessionAttribute.primary,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            reset=keep_session,
            max_inactive_connection_lifetime=60,
        )
        with told_plainly("the service cannot connect to the database"):
            await pool
        async with pool:
            yield FairPool(pool, size)

    def _session(self) -> dict[str, str]:
        session = {
            "application_name": "entri",
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(STATEMENT_TIMEOUT_MS),
            "search_path": "public, pg_temp",
            "timezone": "UTC",
            "default_transaction_isolation": "read committed",
            # Every page walks an index. Before a new partition has statistics, a plan could sort all of it instead.
            "enable_bitmapscan": "off",
        }
        return session | ({"role": SERVICE_ROLE} if self.set_role else {})


async def keep_session(connection: Connection) -> None:
    """Return a connection to the pool as it is: no statement here changes its session, so nothing needs a reset."""
    del connection


async def connect(dsn: str, session: dict[str, str]) -> Connection:
    """Connect, or say why not without showing the URL. Raises DatabaseError."""
    with told_plainly("cannot connect to the database"):
        return await asyncpg.connect(dsn, server_settings=session, timeout=CONNECT_TIMEOUT_S)


@contextmanager
def told_plainly(what: str) -> Iterator[None]:
    """Turn what the driver raises while it connects into a DatabaseError that shows no part of the URL."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        hint = f": its login must be a member of {SERVICE_ROLE}" if SERVICE_ROLE in str(error) else ""
        raise DatabaseError(f"{what}: {in_a_line(error)}{hint}") from None
    except (OSError, asyncpg.PostgresError) as error:
        raise DatabaseError(f"{what}: {in_a_line(error) or 'it does not answer'}") from None
    except (ValueError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise DatabaseError(f"{what}: check the database URL ({type(error).__name__})") from None


def in_a_line(error: Exception) -> str:
    """Write what the server said, its detail and its hint, in one line."""
    return "; ".join(str(error).splitlines())


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """Find the database, or start the embedded one and keep it running for as long as it is used."""
    if settings.database_url is not None:
        owner = settings.owner_database_url or settings.database_url
        yield Database(owner_dsn=owner, service_dsn=settings.database_url, set_role=True)
        return
    embedded = await started(settings.data_dir)
    log.info("embedded_postgres", joined=embedded.joined, cluster=str(embedded.cluster_path))
    watchdog = asyncio.create_task(keep_running(embedded), name="watchdog")
    try:
        yield Database(owner_dsn=embedded.owner_dsn, service_dsn=embedded.service_dsn, set_role=False)
    finally:
        watchdog.cancel()
        await asyncio.to_thread(embedded.release)


async def started(data_dir: Path) -> EmbeddedPostgres:
    """Start or join the embedded server; when cancelled meanwhile, stop it again."""
    starting = asyncio.ensure_future(asyncio.to_thread(embedded_postgres.start, data_dir))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(EmbeddedPostgresError):
            embedded = await starting
            await asyncio.to_thread(embedded.release)
        raise


async def prepare(database: Database) -> Sequence[str]:
    """Check the server and bring the schema up to date; names the migrations applied. Raises DatabaseError.

    The owner is needed only where something is to be applied, so a process may run with the service's login alone.
    """
    if await is_up_to_date(database):
        return ()
    connection = await database.connect_as_owner()
    try:
        await check_server(connection)
        return await migrate(connection, LAYERS)
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"the database cannot be migrated: {in_a_line(error)}") from error
    finally:
        await connection.close()


async def is_up_to_date(database: Database) -> bool:
    """Say whether the service's role finds everything applied. Raises DatabaseError or MigrationError."""
    try:
        with told_plainly("the service cannot connect to the database"):
            connection = await database.connect()
    except DatabaseError:
        return False  # its role may not be there yet: the owner will say what is wrong, or mend it
    try:
        await check_server(connection)
        return not await pending(connection, migrations(LAYERS))
    except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
        return False
    finally:
        await connection.close()


async def check_server(connection: Connection) -> None:
    """Refuse a server that is too old, and warn of one that may lose what it acknowledged. Raises DatabaseError."""
    version = int(await connection.fetchval("show server_version_num"))
    if version < OLDEST_SERVER:
        raise DatabaseError("PostgreSQL 15 or later is needed")
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        value = await connection.fetchval("select current_setting($1)", name)
        if value == "off":
            log.warning("database_not_durable", setting=name, value=value)
