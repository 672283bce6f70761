"""What routes call, in this process: the verifier with its lease, on some database. Must never serve anybody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from projections.runner import CatchUp
from service.app import make_entrances, open_node
from service.core import Core
from service.entrances import Entrances
from service.tree_keeper import TreeKeeper

PATIENCE_S: Final = 30.0
POLL_S: Final = 0.005


@asynccontextmanager
async def entrances_of(core: Core) -> AsyncIterator[Entrances]:
    """Join the processes that verify until left, and begin when a lease is held. Nothing is recorded or caught up."""
    async with open_node(core) as verifying:
        entrances = make_entrances(core, verifying, CatchUp(core.pool), keeper=TreeKeeper(core.signer, core.host))
        await leased(entrances)
        yield entrances


async def leased(entrances: Entrances) -> None:
    """Wait until a lease is held. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        while not entrances.verifying.node.holds_lease:  # noqa: ASYNC110 -- it tells nobody
            await asyncio.sleep(POLL_S)
