"""Deletes what has served its time, every ten minutes. Must never stop for an error: it is tried again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog

from events.statement import Pool
from projections.runner import stopped
from service.seals import forget_ended_seals
from service.vault import forget_old_replays

FORGET_EVERY_S: Final = 600

log = structlog.get_logger(__name__)


async def forget_what_ended(pool: Pool) -> None:
    """Delete from the vault what has had its time: sealed replays after 24 hours, seals of secrets that have ended."""
    await forget_old_replays(pool)
    await forget_ended_seals(pool)


@contextlib.asynccontextmanager
async def forgetting(*forget: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call each of these now and then, as long as the process runs."""

    async def run() -> None:
        while True:
            for one in forget:
                try:
                    await one()
                except Exception as error:  # noqa: BLE001 -- whatever it was, it is tried again
                    log.warning("not_forgotten", error=type(error).__name__)
            await asyncio.sleep(FORGET_EVERY_S)

    task = asyncio.create_task(run(), name="forgetting")
    try:
        yield
    finally:
        await stopped(task)
