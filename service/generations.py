"""Generations of the log: notices that the database was restored, and begins another one.

The host's own checkpoint is held against the log: one that is shorter, or has another root at that size, is not the
log that the checkpoint was signed of. Must never begin a generation for anything else, nor two for one restore.
"""

import asyncio
from typing import Final

import structlog

from events.checkpoint import Checkpoint
from events.log import Installation, read_head, read_installation
from events.origin import Origin
from events.statement import Pool, load
from events.tree_growth import TreesStoppedError, grow
from events.trees import OPERATOR, root_at, tree_size
from service.host_checkpoint import ADVICE, HostCheckpoint, HostCheckpointError

BEGIN_GENERATION: Final = load("service.statements", "begin_generation")
PAUSE_S: Final = 0.05

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def settled(pool: Pool, host: HostCheckpoint) -> Installation:
    """Read what the log is, after holding it against the host's checkpoint; where it differs, begin a generation.

    Of processes that do so at once one begins it, and the others find it begun. Raises HostCheckpointError where the
    checkpoint is another installation's. A log with a gap before that place cannot be compared.
    """
    while True:
        installation = await read_installation(pool)
        known, origin = host.known, host.origin
        if known is None or origin is None:
            return installation
        if origin.installation != installation.id:
            raise HostCheckpointError(
                f"{host} is of the installation {origin.installation}, and the database is {installation.id}: "
                f"this data directory belongs to another database. {ADVICE}"
            )
        if origin.generation < installation.generation:
            return installation
        try:
            difference = await difference_from(pool, known)
        except TreesStoppedError as error:
            log.error("log_not_compared", known_size=known.size, problem=str(error))  # noqa: TRY400 -- no defect
            return installation
        if difference is None and origin.generation == installation.generation:
            return installation
        await begin(pool, installation, origin=origin, known=known, difference=difference)


async def difference_from(pool: Pool, known: Checkpoint) -> str | None:
    """Say how the log differs from the one that the checkpoint was signed of, if it does. Raises TreesStoppedError."""
    head = await read_head(pool)
    if head < known.size:
        return f"the log ends at {head}"
    while await tree_size(pool, OPERATOR) < known.size:  # a failover may lose what the trees took in, but no event
        if await grow(pool) is None:
            await asyncio.sleep(PAUSE_S)  # another process is at it
    if await root_at(pool, OPERATOR, known.size) != known.root:
        return f"the first {known.size} events are not the same: some were altered, or the log went on after a restore"
    return None


async def begin(
    pool: Pool, installation: Installation, *, origin: Origin, known: Checkpoint, difference: str | None
) -> None:
    """Begin the generation after the newest known, unless another process has; the one that begins it says so."""
    following = max(installation.generation, origin.generation) + 1
    values = (installation.generation, following, known.size, known.root)
    if await pool.fetchval(BEGIN_GENERATION.text, *values):
        log.error(
            "log_restored",
            generation=following,
            known_size=known.size,
            known_root=known.root.hex(),
            found=difference or f"the database is of generation {installation.generation}",
            meaning="the database was restored to an earlier state or altered; cursors from before are refused",
        )
