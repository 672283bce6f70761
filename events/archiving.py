"""Archiving usage: find the partitions, write them to files, read those back, take the partitions out of the log.

Must never detach what no verified file on the disk holds. Nothing is noted before the transaction that detaches, so
whatever stops this, the log and the archive agree; the files that are there already are verified again and used.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg

from events.archive import ArchivedRange, ArchiveError
from events.archive_file import (
    Contents,
    Manifest,
    create,
    file_name,
    finish,
    is_there,
    leaves_of,
    take,
    told_plainly,
    write_manifest,
)
from events.log import Installation
from events.registry import utc_text
from events.statement import Connection, load
from events.tiles import WIDTH
from events.trees import OPERATOR, tiles_of, tree_size

LOCK_ARCHIVE: Final = load("events.statements", "lock_archive")
UNLOCK_ARCHIVE: Final = load("events.statements", "unlock_archive")
READ_USAGE_PARTITIONS: Final = load("events.statements", "read_usage_partitions")
MEASURE_USAGE: Final = load("events.statements", "measure_usage")
COUNT_DECISIONS: Final = load("events.statements", "count_decisions")
ARCHIVE_LINES: Final = load("events.statements", "archive_lines")
ADD_ARCHIVED_ORGANIZATIONS: Final = load("events.statements", "add_archived_organizations")
LIMIT_LOCK_WAIT: Final = load("events.statements", "limit_lock_wait")
DETACH_USAGE_PARTITION: Final = load("events.statements", "detach_usage_partition")
DROP_ARCHIVED_USAGE: Final = load("events.statements", "drop_archived_usage")
BLOCK: Final = 64 * WIDTH
"""How many positions are read at once: a few megabytes of lines."""
LOCK_WAIT: Final = "5s"
"""Whoever archived before and was killed may hold the lock until the server has noticed."""
DETACH_WAIT: Final = "200ms"
MOST_ATTEMPTS_TO_DETACH: Final = 60
PAUSE_S: Final = 0.5

OnProgress = Callable[[int], None]
"""Called with a number of positions that were worked through since the last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePartition:
    """A partition of usage that can be archived."""

    name: str
    from_position: int
    to_position: int
    """Excluded."""
    last_recorded_at: datetime
    """When the last event of the range was recorded, whether it is usage or not; no other was later."""

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """Cut the range into what is read at once."""
        starts = range(self.from_position, self.to_position, BLOCK)
        return [(start, min(start + BLOCK, self.to_position)) for start in starts]


async def lock(connection: Connection) -> None:
    """Be the only one who archives. Raises ArchiveError."""
    try:
        async with connection.transaction():
            await connection.execute(LIMIT_LOCK_WAIT.text, LOCK_WAIT)
            await connection.execute(LOCK_ARCHIVE.text)
    except asyncpg.LockNotAvailableError:
        raise ArchiveError("somebody else is archiving: wait until that has ended") from None


async def unlock(connection: Connection) -> None:
    """Let others archive; when the connection is gone, the server has."""
    if not connection.is_closed():
        await connection.execute(UNLOCK_ARCHIVE.text)


async def partitions_before(connection: Connection, before: datetime | int) -> list[UsagePartition]:
    """Find the partitions of usage behind the head all of whose range is before an instant or a position.

    Raises ArchiveError where the last event of a range, whose instant decides, is missing.
    """
    rows = await connection.fetch(READ_USAGE_PARTITIONS.text)
    for row in rows:
        if row["last_recorded_at"] is None:
            raise ArchiveError(f"the event at position {row['to_position'] - 1} is missing from the log")
    found = [UsagePartition(**dict(row)) for row in rows]
    if isinstance(before, datetime):
        return [partition for partition in found if partition.last_recorded_at < before]
    return [partition for partition in found if partition.to_position <= before]


async def measure(connection: Connection, partition: UsagePartition) -> tuple[int, int]:
    """Count the events of a partition, and the bytes of their entries."""
    row = await connection.fetchrow(MEASURE_USAGE.text, partition.from_position, partition.to_position)
    return (0, 0) if row is None else (row["events"], row["bytes"])


async def check_trees(connection: Connection, partition: UsagePartition) -> None:
    """Refuse what the trees of the log have not taken in yet: they could never again. Raises ArchiveError."""
    size = await tree_size(connection, OPERATOR)
    if size < partition.to_position - 1:
        raise ArchiveError(
            f"the log's tree reaches position {size}, and {partition.name} goes up to {partition.to_position - 1}: "
            "let `entri serve` run until the tree has caught up"
        )


async def write_file(connection: Connection, partition: UsagePartition, path: Path, on_progress: OnProgress) -> None:
    """Write a partition's file, unless it is there. Raises ArchiveError."""
    with told_plainly(path):
        if is_there(path):
            on_progress(partition.to_position - partition.from_position)
            return
        with create(path) as file:
            for start, end in partition.blocks:
                file.write(await lines_of(connection, start, end))
                on_progress(end - start)
            finish(file, path)


async def lines_of(connection: Connection, start: int, end: int) -> bytes:
    """Read the usage in a range of positions as lines. Raises ArchiveError."""
    row = await connection.fetchrow(ARCHIVE_LINES.text, start, end)
    if row is None or row["lines"] is None:
        return b""
    if row["is_odd"]:
        raise ArchiveError(
            f"an event from position {start} to {end - 1} was altered: its columns are not what we write"
        )
    lines: bytes = row["lines"]
    return lines


async def read_back(connection: Connection, partition: UsagePartition, path: Path, on_progress: OnProgress) -> Contents:
    """Read a partition's file and hold it against the log and the log's tree. Raises ArchiveError."""
    contents = Contents()
    with told_plainly(path), path.open("rb") as file:
        for start, end in partition.blocks:
            expected = await lines_of(connection, start, end)
            read = file.read(len(expected))
            if read != expected:
                raise ArchiveError(f"{path} is something else than {partition.name} of this log: move it away")
            wanted = [(0, tile) for tile in range((start - 1) // WIDTH, (end - 2) // WIDTH + 1)]
            take(contents, read, leaves_of(await tiles_of(connection, OPERATOR, wanted), WIDTH))
            on_progress(end - start)
        if file.read(1):
            raise ArchiveError(f"{path} holds more than {partition.name} of this log: move it away")
    return contents


async def describe(
    connection: Connection, partition: UsagePartition, contents: Contents, *, installation: Installation
) -> Manifest:
    """Write a file's manifest down. Raises ArchiveError where events of its range are missing."""
    first, end = partition.from_position, partition.to_position
    decisions = await connection.fetchval(COUNT_DECISIONS.text, first, end)
    if decisions + contents.events != end - first:
        raise ArchiveError(
            f"positions {first} to {end - 1} hold {decisions} decisions and {contents.events} uses, fewer than there "
            "are positions: events are missing (`entri verify-log` shows which)"
        )
    return Manifest(
        installation=installation.id,
        partition=partition.name,
        from_position=first,
        to_position=end - 1,
        last_recorded_at=utc_text(partition.last_recorded_at.astimezone(UTC)),
        events=contents.events,
        decisions=decisions,
        file=file_name(first),
        file_bytes=contents.file_bytes,
        sha256=contents.sha256.hex(),
        organizations=contents.shares,
    )


async def store(
    connection: Connection,
    partition: UsagePartition,
    directory: Path,
    *,
    installation: Installation,
    on_progress: OnProgress,
) -> Contents:
    """See to it that a directory holds a partition's file and manifest, verified. Raises ArchiveError."""
    path = directory / file_name(partition.from_position)
    await write_file(connection, partition, path, on_progress)
    contents = await read_back(connection, partition, path, on_progress)
    write_manifest(await describe(connection, partition, contents, installation=installation), path)
    return contents


async def detach(connection: Connection, partition: UsagePartition, contents: Contents) -> None:
    """Take a partition out of the log, in the caller's transaction, once nobody reads it. Raises ArchiveError.

    Whoever uses the log waits for it from when it asks for the lock: 0.2 seconds at most before it lets them pass and
    asks again, a moment when it is granted.
    """
    shares = contents.shares
    columns = [list(column) for column in zip(*shares.values(), strict=True)] or [[], [], []]
    await connection.execute(ADD_ARCHIVED_ORGANIZATIONS.text, partition.from_position, list(shares), *columns)
    for _ in range(MOST_ATTEMPTS_TO_DETACH):
        try:
            async with connection.transaction():
                await connection.execute(LIMIT_LOCK_WAIT.text, DETACH_WAIT)
                await connection.execute(
                    DETACH_USAGE_PARTITION.text,
                    partition.from_position,
                    contents.events,
                    partition.last_recorded_at,
                    file_name(partition.from_position),
                    contents.file_bytes,
                    contents.sha256,
                )
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(PAUSE_S)
        else:
            return
    raise ArchiveError("a long read holds the log: wait until it has ended, or end it, and archive again")


async def drop(connection: Connection, archived: ArchivedRange) -> None:
    """Drop the detached table of a part of the archive."""
    await connection.execute(DROP_ARCHIVED_USAGE.text, archived.from_position)
