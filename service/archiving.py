"""Archiving usage from end to end: what is to do, each partition in turn, and what may be dropped afterwards.

Must never drop a table whose file it has not just held against the archive's record of it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncpg

from events import archiving
from events.archive import ArchivedRange, ArchiveError, archived_ranges
from events.archive_file import check_file, told_plainly
from events.archiving import OnProgress, UsagePartition
from events.log import read_installation
from events.statement import Connection
from projections.archiving import keep_states


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A partition that can be archived, and how much is in it."""

    partition: UsagePartition
    events: int
    entry_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What there is to do."""

    archive: Sequence[Measured]
    drop: Sequence[ArchivedRange]
    """Parts that were archived earlier, whose detached tables are still there."""

    @property
    def is_empty(self) -> bool:
        """Say whether there is nothing to do."""
        return not self.archive and not self.drop


@asynccontextmanager
async def only_archiver(connection: Connection) -> AsyncIterator[None]:
    """Be the only one who archives. Raises ArchiveError."""
    await archiving.lock(connection)
    try:
        yield
    finally:
        await archiving.unlock(connection)


async def make_plan(connection: Connection, before: datetime | int, *, drops: bool) -> Plan:
    """Find what can be archived before an instant or a position, and, if asked, what can be dropped."""
    partitions = await archiving.partitions_before(connection, before)
    measured = [await archiving.measure(connection, partition) for partition in partitions]
    return Plan(
        archive=[
            Measured(partition=partition, events=events, entry_bytes=entry_bytes)
            for partition, (events, entry_bytes) in zip(partitions, measured, strict=True)
        ],
        drop=[each for each in await archived_ranges(connection) if drops and is_droppable(each, before)],
    )


def is_droppable(archived: ArchivedRange, before: datetime | int) -> bool:
    """Say whether a part of the archive still has its table and lies before an instant or a position."""
    if archived.dropped_at is not None:
        return False
    return archived.last_recorded_at < before if isinstance(before, datetime) else archived.to_position <= before


def open_directory(directory: Path) -> None:
    """Make the directory that the files go to, for its owner alone, unless it is there. Raises ArchiveError."""
    with told_plainly(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)


async def archive(
    connection: Connection, partition: UsagePartition, directory: Path, *, on_progress: OnProgress
) -> ArchivedRange:
    """Write a partition's file, verify it, and only then take the partition out of the log. Raises ArchiveError."""
    await archiving.check_trees(connection, partition)
    installation = await read_installation(connection)
    contents = await archiving.store(
        connection, partition, directory, installation=installation, on_progress=on_progress
    )
    try:
        async with connection.transaction():
            await keep_states(connection, partition.blocks)
            await archiving.detach(connection, partition, contents)
    except asyncpg.NoDataFoundError:
        raise ArchiveError(f"{partition.name} is not in the log any more") from None
    return (await archived_ranges(connection))[-1]


async def drop(connection: Connection, archived: Sequence[ArchivedRange], directory: Path) -> None:
    """Drop detached tables, after all of their files were found in the directory, unharmed. Raises ArchiveError."""
    for each in archived:
        await asyncio.to_thread(check_file, directory / each.file, file_bytes=each.file_bytes, digest=each.file_sha256)
    for each in archived:
        await archiving.drop(connection, each)
