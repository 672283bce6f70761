"""Deletes from the vault what has had its time: sealed replays after 24 hours, seals of secrets that have ended.

Must never delete what still works, nor stop trying.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog

from events.statement import Pool
from service.seals import forget_ended_seals
from service.vault import forget_old_replays

FORGET_EVERY_S: Final = 600

log = structlog.get_logger(__name__)


async def forget_what_ended(pool: Pool) -> None:
    """Delete what has had its time."""
    await forget_old_replays(pool)
    await forget_ended_seals(pool)


@contextlib.asynccontextmanager
async def forgetting(pool: Pool) -> AsyncIterator[None]:
    """Delete what has had its time every ten minutes, as long as the process runs."""

    async def forget() -> None:
        while True:
            try:
                await forget_what_ended(pool)
            except Exception as error:  # noqa: BLE001 -- whatever it was, it is tried again
                log.warning("vault_not_cleared", error=type(error).__name__)
            await asyncio.sleep(FORGET_EVERY_S)

    task = asyncio.create_task(forget(), name="forgetting")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
