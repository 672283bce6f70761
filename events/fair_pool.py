"""A pool of connections that are had in the order they were asked for. Must never hold one longer than its query.

The driver's own pool lets a newcomer take a connection ahead of one that was woken to take it, who then queues again at
the end: with more callers than connections, a few of them wait for very long.
"""

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy

    from events.statement import DriverPool


class FairPool:
    """The driver's pool, with as many turns as it has connections, first come, first served."""

    def __init__(self, pool: "DriverPool", size: int) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(size)

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Run a query and return its rows."""
        async with self._turns:
            return await self._pool.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        """Run a query and return its first row, if there is one."""
        async with self._turns:
            return await self._pool.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:  # noqa: ANN401 -- whatever the column holds
        """Run a query and return the first column of its first row."""
        async with self._turns:
            return await self._pool.fetchval(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement and return its tag."""
        async with self._turns:
            return await self._pool.execute(query, *args)

    @asynccontextmanager
    async def acquire(self) -> "AsyncIterator[PoolConnectionProxy[asyncpg.Record]]":
        """Hold a connection, for a transaction."""
        async with self._turns, self._pool.acquire() as connection:
            yield connection
