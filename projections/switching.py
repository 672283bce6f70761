"""Following the log with a rebuilt table, and switching to it. Must never make others wait longer than it says here.

While nobody may append (or follow), the program folds what is left: at most `MOST_IN_SWITCH` events. Should it stop
meanwhile, or the machine it runs on, the server ends its transaction after `LONGEST_STEP_MS`.
"""

import asyncio
import time
from typing import Final

import asyncpg

from events.envelope import Position
from events.log import READ_HEAD
from events.statement import load
from projections.fold import Advance, advance
from projections.rebuilding import Rebuild, RebuildError, stop_at

SAVE_FOLLOWED: Final = load("projections.statements.read_models", "save_followed")
LIMIT_WAITING: Final = load("projections.statements.read_models", "limit_waiting")
LOCK_LOG: Final = load("projections.statements.read_models", "lock_log")
LOCK_CHECKPOINT: Final = load("projections.statements.read_models", "lock_checkpoint")
SWITCH_READ_MODEL: Final = load("projections.statements.read_models", "switch_read_model")
BATCH: Final = 1000
READY: Final = 200
"""When so few events are left, it is time to switch."""
MOST_IN_SWITCH: Final = 1000
"""When more have come in by the time that nobody may append, they may again."""
LONGEST_LOCK_WAIT_MS: Final = 200
"""How long the switch waits for queries on the read model; appends and later queries wait behind it."""
LONGEST_STEP_MS: Final = 2000
PAUSES_S: Final = (0.1, 0.2, 0.5, *(1.0,) * 57)
"""Between attempts to switch: for about a minute."""
IN_THE_WAY: Final = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError, asyncpg.DeadlockDetectedError)


async def catch_up(work: Rebuild) -> None:
    """Fold what was appended meanwhile, until little is left."""
    while (head := await work.connection.fetchval(READ_HEAD.text)) > work.position + READY:
        work.expected = work.events + head - work.position
        async with work.connection.transaction():
            advanced = await step(work, Position(min(work.position + BATCH, head)))
            events = work.events + advanced.events
            await work.connection.execute(SAVE_FOLLOWED.text, work.projection.name, advanced.position, events)
        work.position, work.events = advanced.position, events
        work.tell()


async def step(work: Rebuild, until: Position) -> Advance:
    """Fold events into the new table up to a position."""
    advanced = await advance(work.connection, work.projection, after=work.position, until=until)
    stop_at(advanced.failure)
    return advanced


async def switch_when_possible(work: Rebuild) -> float:
    """Switch, as soon as no query is in the way, and answer for how many seconds others were locked out."""
    for pause_s in PAUSES_S:
        await catch_up(work)
        try:
            locked_s = await switch(work)
        except IN_THE_WAY:
            await asyncio.sleep(pause_s)
        else:
            if locked_s is not None:
                return locked_s
    raise RebuildError(
        f"{work.projection.name} could not be switched: long queries hold it, or it grows faster than it is folded;"
        " end the queries and rebuild again, to go on from here"
    )


async def switch(work: Rebuild) -> float | None:
    """Fold the rest while nobody can add to it, and put the view over the new table, in one transaction.

    Answers for how many seconds it held the lock; None where too much had come in meanwhile, so that nothing was done.
    """
    connection, name = work.connection, work.projection.name
    async with connection.transaction():
        await connection.execute(LIMIT_WAITING.text, str(LONGEST_LOCK_WAIT_MS), str(LONGEST_STEP_MS))
        if work.projection.is_inline:
            await connection.execute(LOCK_LOG.text)
        else:
            await connection.execute(LOCK_CHECKPOINT.text, name)
        locked_at = time.perf_counter()
        head = Position(await connection.fetchval(READ_HEAD.text))
        if work.projection.is_inline and head > work.position + MOST_IN_SWITCH:
            return None
        events = (await step(work, head)).events
        await connection.execute(SWITCH_READ_MODEL.text, name, work.table, head)
    work.position, work.events = head, work.events + events
    work.expected = work.events
    work.tell()
    return time.perf_counter() - locked_at
