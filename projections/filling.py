"""Filling a new table from the log, subject by subject, and indexing it. Must never hold more than a chunk of the log.

The log below a position never changes, so it need not be read in one snapshot: each chunk is a transaction of its own,
which copies the rows in that are complete and notes how far they go. After a crash the next run starts behind them.
"""

from typing import Final

from events.registry import TYPES
from events.statement import load
from projections.archiving import kept_states
from projections.fold import FoldBySubject, Place
from projections.projection import AnyProjection
from projections.rebuilding import Phase, Rebuild, stop_at

READ_BY_SUBJECT: Final = load("projections.statements.read_models", "read_by_subject")
SAVE_FILLED: Final = load("projections.statements.read_models", "save_filled")
SAVE_PHASE: Final = load("projections.statements.read_models", "save_phase")
WAIT_LAZILY: Final = load("projections.statements.read_models", "wait_lazily")
INDEX_REBUILT: Final = load("projections.statements.read_models", "index_rebuilt")
CHUNK: Final = 5000


def kinds_of(projection: AnyProjection) -> list[bool]:
    """Say which kinds of partition can hold events that a read model cares for, so that no other is read."""
    return sorted({TYPES[cls.__name__].is_usage for cls in projection.types})


async def fill(work: Rebuild) -> None:
    """Fold the log up to where it was when the rebuild began, in constant memory."""
    fold = FoldBySubject(work.projection, after=work.after, events=work.events)
    while await fill_chunk(work, fold):
        work.tell()
    work.phase, work.expected = Phase.INDEX, work.events


async def fill_chunk(work: Rebuild, fold: FoldBySubject) -> bool:
    """Fold the next events, and note how far the rows are complete. False at the end."""
    arguments = (work.until, sorted(work.projection.ignored), kinds_of(work.projection), *fold.read_to, CHUNK)
    async with work.connection.transaction():
        await work.connection.execute(WAIT_LAZILY.text)
        events = await work.connection.fetch(READ_BY_SUBJECT.text, *arguments)
        begins = await kept_states(work.connection, work.projection, events)
        await copy(work, [*fold.rows(events, begins), *(() if events else fold.last())])
        stop_at(fold.failure)
        await save(work, fold.completed_to, fold.completed_events)
        if not events:
            await work.connection.execute(SAVE_PHASE.text, work.projection.name, Phase.INDEX)
    return bool(events)


async def copy(work: Rebuild, rows: list[tuple[object, ...]]) -> None:
    """Copy complete rows into the new table."""
    if rows:
        await work.connection.copy_records_to_table(work.table, records=rows, columns=work.projection.columns)
        work.rows += len(rows)


async def save(work: Rebuild, after: Place, events: int) -> None:
    """Note up to where the rows are complete."""
    work.events = events
    name, (organization, subject, _) = work.projection.name, after
    await work.connection.execute(SAVE_FILLED.text, name, organization, subject, events, work.rows)


async def index(work: Rebuild) -> None:
    """Make the indexes that are not there yet, each in a transaction of its own."""
    name, lacked = work.projection.name, -1
    while lacked != 0:
        lacked, indexes = await work.connection.fetchrow(INDEX_REBUILT.text, name, work.table) or (0, 0)
        work.tell(indexes=(indexes - max(lacked - 1, 0), indexes))
    await work.connection.execute(SAVE_PHASE.text, name, Phase.FOLLOW)
    work.phase, work.position = Phase.FOLLOW, work.until
