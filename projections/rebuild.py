"""Rebuilding a read model from the log while the old one serves. Must never change what it cannot finish.

The log is read subject by subject, so one state is held at a time and rows are copied in as they are complete; what was
appended meanwhile is folded in by position; then, for a moment, nobody appends (or nobody follows the log), the rest is
folded, and the view is put over the new table.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import asyncpg

from events.envelope import Position
from events.log import READ_HEAD
from events.registry import TYPES
from events.statement import Connection, load
from projections.archiving import kept_states
from projections.fold import Advance, Failure, FoldBySubject, advance
from projections.projection import AnyProjection
from projections.read_models import READ_MODELS

BEGIN_REBUILD: Final = load("projections.statements.read_models", "begin_rebuild")
INDEX_REBUILT: Final = load("projections.statements.read_models", "index_rebuilt")
SWITCH_READ_MODEL: Final = load("projections.statements.read_models", "switch_read_model")
READ_BY_SUBJECT: Final = load("projections.statements.read_models", "read_by_subject")
LOCK_REBUILDS: Final = load("projections.statements.read_models", "lock_rebuilds")
END_REBUILD: Final = load("projections.statements.read_models", "end_rebuild")
FORGET_PLANS: Final = load("projections.statements.read_models", "forget_plans")
LOCK_LOG: Final = load("projections.statements.read_models", "lock_log")
LOCK_CHECKPOINT: Final = load("projections.statements.read_models", "lock_checkpoint")
LIMIT_LOCK_WAIT: Final = load("projections.statements.read_models", "limit_lock_wait")
START: Final = Position(0)
CHUNK: Final = 5000
BATCH: Final = 1000
MOST_ATTEMPTS_TO_SWITCH: Final = 10

OnProgress = Callable[[int], None]
"""Called with the number of events folded so far."""


class RebuildError(Exception):
    """A read model cannot be rebuilt; the live one is as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReport:
    """What a rebuild did."""

    events: int
    seconds: float
    rows: int
    """Rows that were copied in; what was folded in afterwards is not among them."""


@dataclass(slots=True, kw_only=True)
class Rebuild:
    """A rebuild on its way: what it fills and how far that is."""

    connection: Connection
    projection: AnyProjection
    table: str
    on_progress: OnProgress
    position: Position = START
    events: int = 0
    rows: int = 0


async def rebuild(connection: Connection, name: str, *, on_progress: OnProgress = lambda _: None) -> RebuildReport:
    """Rebuild a read model on a connection of the owner's that nothing else uses. Raises RebuildError."""
    started = time.perf_counter()
    if not await connection.fetchval(LOCK_REBUILDS.text):
        raise RebuildError("another rebuild is running")
    try:
        table = await connection.fetchval(BEGIN_REBUILD.text, name)
        await connection.execute(FORGET_PLANS.text)
        work = Rebuild(connection=connection, projection=READ_MODELS[name], table=table, on_progress=on_progress)
        await load_bulk(work)
        await connection.execute(INDEX_REBUILT.text, name, table)
        await catch_up(work)
        await switch_when_possible(work)
    finally:
        if not connection.is_closed():
            await connection.execute(END_REBUILD.text, name)
            await connection.execute(FORGET_PLANS.text)
    return RebuildReport(events=work.events, seconds=time.perf_counter() - started, rows=work.rows)


async def load_bulk(work: Rebuild) -> None:
    """Fold the log as of now, subject by subject, in constant memory."""
    connection, projection = work.connection, work.projection
    fold = FoldBySubject(projection)
    kinds = sorted({TYPES[cls.__name__].is_usage for cls in projection.types})
    async with connection.transaction(isolation="repeatable_read"):
        work.position = Position(await connection.fetchval(READ_HEAD.text))
        cursor = await connection.cursor(READ_BY_SUBJECT.text, work.position, sorted(projection.ignored), kinds)
        while rows := await cursor.fetch(CHUNK):
            await copy(work, list(fold.rows(rows, await kept_states(connection, projection, rows))))
            stop_at(fold.failure)
            note(work, len(rows))
        await copy(work, list(fold.last()))


async def copy(work: Rebuild, rows: list[tuple[object, ...]]) -> None:
    """Copy complete rows into the new table."""
    if not rows:
        return
    await work.connection.copy_records_to_table(work.table, records=rows, columns=work.projection.columns)
    work.rows += len(rows)


async def catch_up(work: Rebuild) -> None:
    """Fold what was appended meanwhile, until less than one batch is left."""
    while (head := await work.connection.fetchval(READ_HEAD.text)) > work.position + BATCH:
        while work.position < head:
            async with work.connection.transaction():
                advanced = await step(work, Position(min(work.position + BATCH, head)))
            work.position = advanced.position


async def step(work: Rebuild, until: Position) -> Advance:
    """Fold events into the new table up to a position."""
    advanced = await advance(work.connection, work.projection, after=work.position, until=until)
    stop_at(advanced.failure)
    note(work, advanced.events)
    return advanced


async def switch_when_possible(work: Rebuild) -> None:
    """Switch; when somebody's long query holds the view, catch up again meanwhile and retry."""
    for attempt in range(1, MOST_ATTEMPTS_TO_SWITCH + 1):
        try:
            await switch(work)
        except asyncpg.LockNotAvailableError as error:
            if attempt == MOST_ATTEMPTS_TO_SWITCH:
                raise RebuildError(f"a long query holds {work.projection.name}: end it and rebuild again") from error
            await catch_up(work)
        else:
            return


async def switch(work: Rebuild) -> None:
    """Fold the rest while nobody can add to it, and put the view over the new table, in one transaction."""
    connection, name = work.connection, work.projection.name
    async with connection.transaction():
        await connection.execute(LIMIT_LOCK_WAIT.text)
        if work.projection.is_inline:
            await connection.execute(LOCK_LOG.text)
        else:
            await connection.execute(LOCK_CHECKPOINT.text, name)
        head = Position(await connection.fetchval(READ_HEAD.text))
        await step(work, head)
        await connection.execute(SWITCH_READ_MODEL.text, name, work.table, head)


def note(work: Rebuild, events: int) -> None:
    """Count events and tell whoever watches."""
    work.events += events
    work.on_progress(work.events)


def stop_at(failure: Failure | None) -> None:
    """Stop at an event that cannot be folded, naming it."""
    if failure is not None:
        entry = failure.entry.decode(errors="replace")
        message = f"the event at position {failure.position} cannot be folded: {failure.error!r}\n{entry}"
        raise RebuildError(message) from failure.error
