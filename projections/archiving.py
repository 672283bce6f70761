"""What read models keep of usage that leaves the log: the states it led to, where a rebuild begins. Must never detach.

The states are folded by the functions that fold everything else, from the partition that is archived on top of what was
kept before, in the transaction that detaches it. A kept state holds the first event of its key, which is a decision,
and all archived usage of it: so a read model that keeps states may fold no other decision of a key but the first.
"""

from collections.abc import Sequence
from typing import Final

import asyncpg
import orjson

from events.archive import ArchiveError
from events.entry import RecordedEvent
from events.statement import Connection, load
from projections.fold import Failure, decode, evolve
from projections.projection import AnyProjection, Kept
from projections.read_models import READ_MODELS

READ_ARCHIVABLE: Final = load("projections.statements.read_models", "read_archivable")
READ_DECISIONS_ABOUT: Final = load("projections.statements.read_models", "read_decisions_about")
FIND_BEHIND: Final = load("projections.statements.read_models", "find_behind")
LOCK_OUT_REBUILDS: Final = load("projections.statements.read_models", "lock_out_rebuilds")

Key = tuple[str, str]
"""An organization and a key of it."""


async def keep_states(connection: Connection, blocks: Sequence[tuple[int, int]]) -> None:
    """Keep what usage in ranges of positions led to, in the caller's transaction. Raises ArchiveError.

    Refuses while a read model has not folded all of it, or a rebuild, which might begin without what is kept, runs.
    """
    last = blocks[-1][1] - 1
    if not await connection.fetchval(LOCK_OUT_REBUILDS.text):
        raise ArchiveError("a rebuild is running: archive again when it has ended")
    behind = await connection.fetchrow(FIND_BEHIND.text, last)
    if behind is not None and behind["is_rebuild"]:
        raise ArchiveError(
            f"a rebuild is unfinished: finish it with `entri rebuild {behind['name']}`, then archive again"
        )
    if behind is not None:
        raise ArchiveError(
            f"the read model {behind['name']} is at position {behind['position']}, and this goes up to {last}: "
            "let `entri serve` run until it has caught up"
        )
    for projection in READ_MODELS.values():
        if projection.kept is not None:
            for start, end in blocks:
                await keep_block(connection, projection, projection.kept, start=start, end=end)


async def keep_block(connection: Connection, projection: AnyProjection, kept: Kept, *, start: int, end: int) -> None:
    """Fold the usage of one range into what a read model keeps. Raises ArchiveError."""
    usage: list[tuple[str, RecordedEvent]] = []
    stop_at(decode(projection, await connection.fetch(READ_ARCHIVABLE.text, start, end), into=usage))
    keys = sorted({(recorded.organization, key) for key, recorded in usage})
    rows = await connection.fetch(kept.find.text, *columns(keys))
    states = {str(projection.row(state)[0]): state for state in map(projection.state, rows)}
    unknown = [key for key in keys if key[1] not in states]
    about = await connection.fetch(READ_DECISIONS_ABOUT.text, *columns(unknown), end, sorted(projection.ignored))
    changes: list[tuple[str, RecordedEvent]] = []
    stop_at(decode(projection, about, into=changes))
    stop_at(evolve(projection, in_order([*changes, *usage]), states=states))
    if states:
        written = orjson.dumps([projection.row_json(state) for state in states.values()])
        await connection.execute(kept.write.text, written.decode())


def in_order(changes: list[tuple[str, RecordedEvent]]) -> list[tuple[str, RecordedEvent]]:
    """Sort changes as the log has them."""
    return sorted(changes, key=lambda change: change[1].position)


def columns(keys: Sequence[Key]) -> tuple[list[str], list[str]]:
    """Give organizations and keys, pairwise."""
    return [organization for organization, _ in keys], [key for _, key in keys]


def stop_at(failure: Failure | None) -> None:
    """Stop at an event that cannot be folded, naming it."""
    if failure is not None:
        raise ArchiveError(f"the event at position {failure.position} cannot be folded: {failure.error!r}")


async def kept_states(
    connection: Connection, projection: AnyProjection, rows: Sequence[asyncpg.Record]
) -> dict[str, object]:
    """Read what a read model keeps of the subjects of rows that are sorted by organization and subject."""
    if projection.kept is None or not rows:
        return {}
    first, last = orjson.loads(rows[0]["entry"]), orjson.loads(rows[-1]["entry"])
    ends = (first["organization"], first["subject"], last["organization"], last["subject"])
    states = [projection.state(row) for row in await connection.fetch(projection.kept.page.text, *ends)]
    return {str(projection.row(state)[0]): state for state in states}
