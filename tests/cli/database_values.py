"""What a test asks the database itself."""

from typing import Final

import asyncpg

USES: Final = """
select coalesce(sum((convert_from(entry, 'UTF8')::json -> 'payload' ->> 'count')::integer), 0)
from events where type = 'TokenUsed'
"""
"""Counts the uses that the log holds."""


async def value(dsn: str, query: str) -> object:
    """Run one query on one connection."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
