"""A log whose trees are kept: what a process has of its own to sign, and appends that say little."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import asyncpg

from events.statement import DriverPool, Pool
from events.writer import LogWriter
from service.generations import settled
from service.host_checkpoint import FILE_NAME, HostCheckpoint
from service.key_files import open_log_key
from service.signing import Signer, signing_keys
from tests.postgres.appends import decided
from tests.postgres.conftest import Database

numbers = count()


@asynccontextmanager
async def durable_pool(database: Database) -> AsyncIterator[DriverPool]:
    """Open a pool whose commits reach the disk, as the service's do: what may still be lost is not signed."""
    settings = {"synchronous_commit": "on"}
    async with asyncpg.create_pool(database.service_dsn, min_size=1, max_size=4, server_settings=settings) as pool:
        yield pool


async def append(database: Database, *events: int, organization: str = "org_1") -> None:
    """Append so many events of an organization, a command each."""
    async with LogWriter(database.connect, partition_size=10_000) as writer:
        for count_of_one in events:
            token_id = f"tok_kept_{next(numbers)}"
            await writer.append(decided(token_id, organization=organization, events=count_of_one))


async def signer_of(pool: Pool, data_dir: Path) -> tuple[Signer, HostCheckpoint]:
    """Start as a process of the host with this data directory does."""
    key = await open_log_key(data_dir / "log.key", await signing_keys(pool), os.urandom)
    host = HostCheckpoint(data_dir / FILE_NAME, key)
    host.load()
    return Signer(pool, key, await settled(pool, host)), host
