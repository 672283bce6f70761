"""Deletes what has served its time, every ten minutes. Must never stop for an error: it is tried again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog

from projections.runner import stopped

FORGET_EVERY_S: Final = 600

log = structlog.get_logger(__name__)


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
