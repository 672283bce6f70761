"""Rebuilding a read model from the log while the old one serves. Must never change what it cannot finish.

The log is read subject by subject, so one state is held at a time and rows are copied in as they are complete; then the
indexes are made; what was appended meanwhile is folded in by position; then, for a moment, nobody appends (or nobody
follows the log), the rest is folded, and the view is put over the new table. Each step is committed together with how
far it goes, so a run that was killed is gone on with by the next.
"""

import time
from dataclasses import dataclass
from typing import Final

import asyncpg
import orjson

from events.envelope import Position
from events.log import READ_HEAD
from events.statement import Connection, Statement, load
from projections.definition import definition_of
from projections.filling import fill, index, kinds_of
from projections.projection import AnyProjection
from projections.read_models import READ_MODELS
from projections.rebuilding import OnProgress, Phase, Rebuild, RebuildError, Start
from projections.switching import LIMIT_WAITING, catch_up, switch_when_possible

__all__ = ("RebuildError", "RebuildReport", "drop_leftovers", "rebuild")

BEGIN_REBUILD: Final = load("projections.statements.read_models", "begin_rebuild")
FIND_REBUILD: Final = load("projections.statements.read_models", "find_rebuild")
SHOW_REBUILT: Final = load("projections.statements.read_models", "show_rebuilt")
ESTIMATE_EVENTS: Final = load("projections.statements.read_models", "estimate_events")
LOCK_REBUILDS: Final = load("projections.statements.read_models", "lock_rebuilds")
WATCH_CLIENT: Final = load("projections.statements.read_models", "watch_client")
END_REBUILD: Final = load("projections.statements.read_models", "end_rebuild")
FORGET_PLANS: Final = load("projections.statements.read_models", "forget_plans")
DROP_LEFTOVERS: Final = load("projections.statements.read_models", "drop_leftovers")
PATIENCE_MS: Final = 1500
"""For another rebuild to end, whose session outlives its killed client by half a second; and for tables to drop."""
BEYOND: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReport:
    """What a rebuild did."""

    events: int
    """Folded, by earlier runs of it too."""
    resumed: int
    """How many of those earlier runs had folded."""
    seconds: float
    """That this run took."""
    rows: int
    """Rows that were copied in; what was folded in afterwards is not among them."""
    locked_s: float
    """For how long nobody could append (or follow the log) and read."""


def silently(progress: object) -> None:
    """Show nothing."""
    del progress


async def rebuild(
    connection: Connection, name: str, *, restart: bool = False, on_progress: OnProgress = silently
) -> RebuildReport:
    """Rebuild a read model on a connection of the owner's that nothing else uses. Raises RebuildError.

    Goes on with an unfinished rebuild, unless that is of another definition of the read model or it is told to restart.
    """
    started = time.perf_counter()
    await lock(connection)
    try:
        work = await opened(connection, READ_MODELS[name], restart=restart, on_progress=on_progress)
        if work.phase is Phase.FILL:
            await fill(work)
        if work.phase is Phase.INDEX:
            await index(work)
        await catch_up(work)
        locked_s = await switch_when_possible(work)
    finally:
        await unlock(connection, name)
    return RebuildReport(
        events=work.events,
        resumed=work.start.events_before,
        seconds=time.perf_counter() - started,
        rows=work.rows,
        locked_s=locked_s,
    )


async def drop_leftovers(connection: Connection, name: str) -> list[str]:
    """Drop what rebuilds of a read model left and name the tables. Raises RebuildError while one is running."""
    await lock(connection)
    try:
        return await dropping(connection, DROP_LEFTOVERS, name)
    finally:
        await unlock(connection, name)


async def dropping(connection: Connection, statement: Statement, *arguments: object) -> list[str]:
    """Run a statement that drops tables and names them; nobody reads these but a backup, say. Raises RebuildError."""
    try:
        async with connection.transaction():
            await connection.execute(LIMIT_WAITING.text, str(PATIENCE_MS), "0")
            dropped: list[str] = await connection.fetchval(statement.text, *arguments)
            return dropped
    except asyncpg.LockNotAvailableError:
        message = "something reads a table that an earlier rebuild left, a backup perhaps: try again when it has ended"
        raise RebuildError(message) from None


async def lock(connection: Connection) -> None:
    """Be the only rebuild. Raises RebuildError."""
    await connection.execute(WATCH_CLIENT.text)
    try:
        async with connection.transaction():
            await connection.execute(LIMIT_WAITING.text, str(PATIENCE_MS), "0")
            await connection.execute(LOCK_REBUILDS.text)
    except asyncpg.LockNotAvailableError:
        raise RebuildError("another rebuild is running: wait until it has ended") from None


async def unlock(connection: Connection, name: str) -> None:
    """Let others rebuild; when the connection is gone, the server has."""
    if not connection.is_closed():
        await connection.execute(END_REBUILD.text, name)
        await connection.execute(FORGET_PLANS.text)


async def opened(
    connection: Connection, projection: AnyProjection, *, restart: bool, on_progress: OnProgress
) -> Rebuild:
    """Find the unfinished rebuild, or begin one."""
    name, definition = projection.name, definition_of(projection)
    found = await connection.fetchrow(FIND_REBUILD.text, name, definition)
    resumes = found is not None and found["can_go_on"] and not restart
    if not resumes:
        head = Position(await connection.fetchval(READ_HEAD.text))
        expected = await estimate(connection, projection, head)
        await dropping(connection, BEGIN_REBUILD, name, definition, head, expected)
    begun = await connection.fetchrow(FIND_REBUILD.text, name, definition)
    if begun is None:
        raise AssertionError(f"a rebuild of {name} was begun and is not there")
    await connection.execute(SHOW_REBUILT.text, name, begun["fresh_table"])
    await connection.execute(FORGET_PLANS.text)
    outdated = found is not None and not resumes and not restart
    start = start_of(begun, resumes=resumes, outdated=outdated)
    return rebuild_of(begun, (connection, projection), start=start, on_progress=on_progress)


async def estimate(connection: Connection, projection: AnyProjection, head: Position) -> int:
    """Estimate how many events there are to fold; counting them would cost a look at each."""
    ignored = sorted(projection.ignored)
    plan = orjson.loads(await connection.fetchval(ESTIMATE_EVENTS.text, head, ignored, kinds_of(projection)))
    return min(int(plan[0]["Plan"]["Plan Rows"]), head)


def start_of(begun: asyncpg.Record, *, resumes: bool, outdated: bool) -> Start:
    """Say how this run starts."""
    phase = Phase(begun["phase"]) if resumes else None
    return Start(began_at=begun["began_at"], events_before=begun["events"], resumes=phase, outdated=outdated)


def rebuild_of(
    begun: asyncpg.Record, filled: tuple[Connection, AnyProjection], *, start: Start, on_progress: OnProgress
) -> Rebuild:
    """Read a rebuild back from its row."""
    connection, projection = filled
    return Rebuild(
        connection=connection,
        projection=projection,
        on_progress=on_progress,
        start=start,
        table=begun["fresh_table"],
        phase=Phase(begun["phase"]),
        until=Position(begun["until_position"]),
        after=(begun["after_organization"], begun["after_subject"], BEYOND),
        position=Position(begun["position"]),
        expected=begun["expected_events"] if begun["phase"] == Phase.FILL else begun["events"],
        events=begun["events"],
        rows=begun["rows"],
    )
