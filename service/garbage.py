"""Keeps the garbage collector's passes short, however many keys are remembered. Must never turn it off.

A full pass looks at every object that may be part of a cycle, and nothing is verified meanwhile: a second for a million
keys. What is remembered stays for long, so it is set aside (`gc.freeze`) after a pass has found it to be no garbage,
and later passes look at what came since. What is set aside is freed as ever when nothing refers to it any more.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from typing import Final

LOOK_EVERY_S: Final = 1.0
ENOUGH: Final = 5_000
"""So many remembered keys make a pass of a few milliseconds."""


@contextlib.asynccontextmanager
async def setting_aside(added: Callable[[], int]) -> AsyncIterator[None]:
    """Set aside what the process holds now, and again and again as it comes to hold more: `added` counts it."""
    set_aside()

    async def watch(before: int) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if added() - before >= ENOUGH:
                before = added()
                set_aside()

    task = asyncio.create_task(watch(added()), name="garbage")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        gc.unfreeze()


def set_aside() -> None:
    """Collect what is garbage, and look at the rest no more."""
    gc.collect()
    gc.freeze()
