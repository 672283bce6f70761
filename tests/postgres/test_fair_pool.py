"""The pool of the service: connections are had in the order they were asked for."""

import asyncio

from events.fair_pool import FairPool
from tests.postgres.conftest import Database


async def test_first_come_first_served(database: Database) -> None:
    """Of many callers at one connection, those who come back for more do not overtake those who wait."""
    served: list[int] = []

    async def ask(pool: FairPool, number: int) -> None:
        for _ in range(3):
            await pool.fetchval("select 1")
            served.append(number)

    async with database.pool(size=1) as driver_pool:
        pool = FairPool(driver_pool, 1)
        await asyncio.gather(*(ask(pool, number) for number in range(20)))
    assert served == [*range(20)] * 3


async def test_a_turn_is_given_back(database: Database) -> None:
    """A query that fails and a transaction that ends both leave their turn to the next."""
    async with database.pool(size=1) as driver_pool:
        pool = FairPool(driver_pool, 1)
        failed = await asyncio.gather(pool.execute("no such statement"), return_exceptions=True)
        async with pool.acquire() as connection:
            assert await connection.fetchval("select 2") == 2
        async with asyncio.timeout(5):
            rows = await pool.fetch("select 3 as number")
            row = await pool.fetchrow("select 4 as number")
    assert isinstance(failed[0], Exception)
    assert [rows[0]["number"], row and row["number"]] == [3, 4]
