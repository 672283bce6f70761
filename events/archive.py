"""The archive: which usage is no longer in the log, and which files hold it. Must never write; `events.archiving` does.

It is always the oldest usage, by whole partitions: all usage up to a position is archived and none after it, in the
whole log as in each organization's history. Decisions never are.

Whoever reads history reads the archive *after* the page, never before: a page was whole unless the archive says, after
it, that the page reaches into it.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from events.envelope import OrganizationPosition
from events.statement import load
from events.trees import Reader

READ_ARCHIVED_USAGE: Final = load("events.statements", "read_archived_usage")
READ_ARCHIVED_RANGES: Final = load("events.statements", "read_archived_ranges")
READ_ARCHIVED_ORGANIZATION: Final = load("events.statements", "read_archived_organization")
FIND_ARCHIVED_EVENT: Final = load("events.statements", "find_archived_event")


class ArchiveError(Exception):
    """Usage cannot be archived; the log is as it was. The message says why and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRange:
    """A part of the archive: the usage of one partition, in one file."""

    from_position: int
    to_position: int
    """Of the whole log, excluded."""
    events: int
    last_recorded_at: datetime
    file: str
    """The file's name; the archive does not know in which directory it is kept."""
    file_bytes: int
    file_sha256: bytes
    detached_table: str
    archived_at: datetime
    dropped_at: datetime | None
    """When the detached table was dropped; None while it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedShare:
    """What one organization has in a part of the archive, by positions of its own history; both are included."""

    file: str
    from_position: int
    """Which part: the first position of the whole log there."""
    first_position: int
    last_position: int
    events: int


async def archived_usage(reader: Reader, organization: str) -> OrganizationPosition:
    """Read the last position of an organization's history that was archived, 0 when none was: one index probe."""
    return OrganizationPosition(await reader.fetchval(READ_ARCHIVED_USAGE.text, organization))


async def archived_ranges(reader: Reader) -> list[ArchivedRange]:
    """Read the parts of the archive, oldest first: all usage before the last one's `to_position` is in their files."""
    return [ArchivedRange(**dict(row)) for row in await reader.fetch(READ_ARCHIVED_RANGES.text)]


async def archived_shares(reader: Reader, organization: str) -> list[ArchivedShare]:
    """Read which files hold which of an organization's archived usage, oldest first."""
    return [ArchivedShare(**dict(row)) for row in await reader.fetch(READ_ARCHIVED_ORGANIZATION.text, organization)]


async def archive_files(reader: Reader, organization: str | None) -> Callable[[int], str | None]:
    """Make the function that names the file with the archived usage at a position, or None where none was archived.

    Positions are those of an organization's history, or of the whole log where none is given.
    """
    if organization is None:
        whole = await archived_ranges(reader)
        ends = [(each.from_position, each.to_position - 1, each.file) for each in whole]
    else:
        ends = [(s.first_position, s.last_position, s.file) for s in await archived_shares(reader, organization)]
    firsts = [first for first, _, _ in ends]

    def file_of(position: int) -> str | None:
        at = bisect_right(firsts, position) - 1
        return ends[at][2] if at >= 0 and position <= ends[at][1] else None

    return file_of


async def find_archived_event(reader: Reader, event_id: str) -> str | None:
    """Find what an archived event was about (the id of a token or an organization), or None when there is none."""
    stream = await reader.fetchval(FIND_ARCHIVED_EVENT.text, event_id)
    return None if stream is None else str(stream).partition("-")[2]
