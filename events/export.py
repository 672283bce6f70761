"""Reads the log for an export: the lines of a range of positions as of one checkpoint, and what proves them.

The database writes the lines, thousands at a time. Where what it holds is not what the tree took in, the positions are
read one by one and written as they are, for whoever verifies the export to name. Must never judge, nor skip anything.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Final, NamedTuple

import asyncpg

from events import merkle
from events.archive import archived_ranges, archived_shares
from events.checkpoint import Checkpoint
from events.event_schema import entry_schema
from events.export_format import (
    ExportError,
    Header,
    Manifest,
    absent_line,
    block_end,
    event_line,
    hex_of,
)
from events.merkle import HASH_BYTES
from events.statement import Statement, load
from events.tiles import WIDTH, places_of, subtree_in
from events.trees import OPERATOR, Reader, prove_consistency, tiles_of

EXPORT_LOG: Final = load("events.statements", "export_log")
EXPORT_ORGANIZATION: Final = load("events.statements", "export_organization")
READ_RAW_LOG: Final = load("events.statements", "read_raw_log")
READ_RAW_ORGANIZATION: Final = load("events.statements", "read_raw_organization")
AT_ONCE: Final = 3
"""How many blocks are read at once: the database writes each on a processor of its own."""


class Asked(NamedTuple):
    """Which part of which history to export: the whole log's, or an organization's by its own positions."""

    organization: str | None
    first: int | None
    last: int | None


class Block(NamedTuple):
    """The lines of some positions."""

    first: int
    last: int
    lines: bytes


async def describe_export(reader: Reader, asked: Asked, *, checkpoint: Checkpoint, note: str, key: str) -> Header:
    """Write the header of an export as of a checkpoint. Raises ExportError where it does not reach that far."""
    first, last = range_of(asked, checkpoint.size)
    tree = asked.organization or OPERATOR
    wanted = list(merkle.complete_subtrees((0, first - 1)))
    subtree = subtree_in(await tiles_of(reader, tree, places_of(wanted)))
    growth = await prove_consistency(reader, tree, last, checkpoint.size)
    manifest = Manifest(
        origin=checkpoint.origin,
        organization=asked.organization,
        first=first,
        last=last,
        tree_size=checkpoint.size,
        frontier=tuple(subtree(*place).hex() for place in wanted),
        growth=tuple(one.hex() for one in growth),
    )
    return Header(manifest=manifest, checkpoint=note, key=key, event_types=entry_schema())


def range_of(asked: Asked, size: int) -> tuple[int, int]:
    """Say which positions are asked for of so many. Raises ExportError."""
    first = 1 if asked.first is None else asked.first
    last = size if asked.last is None else asked.last
    if last > size or first > max(size, 1):
        whose = "the log" if asked.organization is None else f"the history of {asked.organization}"
        beyond = last if last > size else first
        raise ExportError(f"{whose} has no position {beyond} yet: the last that a checkpoint speaks for is {size}")
    if first > last + (size == 0):
        raise ExportError(f"there is nothing from position {first} to {last}: --from must not be above --to")
    return first, last


async def read_blocks(reader: Reader, manifest: Manifest, *, after: int) -> AsyncGenerator[Block, None]:
    """Read the lines after a position to the end of an export, in order; the next blocks while one is used."""
    coming: deque[asyncio.Task[Block]] = deque()
    try:
        for first in block_starts(after + 1, manifest):
            if len(coming) == AT_ONCE:
                yield await coming.popleft()
            coming.append(asyncio.create_task(read_block(reader, manifest, first)))
        while coming:
            yield await coming.popleft()
    finally:
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)


def block_starts(first: int, manifest: Manifest) -> Iterator[int]:
    """Say where each block from this position on begins."""
    while first <= manifest.last:
        yield first
        first = block_end(first, manifest) + 1


async def read_block(reader: Reader, manifest: Manifest, first: int) -> Block:
    """Read the lines of one block, each with the leaf hash that the tree took in. Raises ExportError."""
    last = block_end(first, manifest)
    leaves = await leaf_hashes(reader, manifest, first, last)
    statement, arguments = question(manifest, EXPORT_LOG, EXPORT_ORGANIZATION)
    row = await reader.fetchrow(statement.text, first, last, *arguments)
    if row is None:
        raise LookupError("an aggregate has a row")
    if row["events"] == last - first + 1 and row["leaf_hashes"] == leaves:
        return Block(first, last, row["lines"])
    return Block(first, last, await raw_lines(reader, manifest, first, leaves=hex_of(leaves)))


def question(manifest: Manifest, whole: Statement, part: Statement) -> tuple[Statement, tuple[str, ...]]:
    """Choose the statement that reads this history, and what it takes beside positions."""
    return (whole, ()) if manifest.organization is None else (part, (manifest.organization,))


async def leaf_hashes(reader: Reader, manifest: Manifest, first: int, last: int) -> bytes:
    """Read the hashes of leaves as they were when the tree took them in. Raises ExportError."""
    tree = manifest.organization or OPERATOR
    numbers = range((first - 1) // WIDTH, (last - 1) // WIDTH + 1)
    found = await tiles_of(reader, tree, [(0, number) for number in numbers])
    for number in numbers:
        wanted = min(last, (number + 1) * WIDTH) - number * WIDTH
        if (held := len(found.get((0, number), b"")) // HASH_BYTES) < wanted:
            missing = number * WIDTH + held + 1
            raise ExportError("the tree of the log has lost the leaf of this position, so it was altered", missing)
    skipped = (first - 1) % WIDTH * HASH_BYTES
    joined = b"".join(found[0, number] for number in numbers)
    return joined[skipped : skipped + (last - first + 1) * HASH_BYTES]


async def raw_lines(reader: Reader, manifest: Manifest, first: int, *, leaves: Sequence[str]) -> bytes:
    """Write the lines of positions of which some are not as they should be: as they are."""
    statement, arguments = question(manifest, READ_RAW_LOG, READ_RAW_ORGANIZATION)
    rows = await reader.fetch(statement.text, first, first + len(leaves) - 1, *arguments)
    found: defaultdict[int, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        found[row["position"]].append(row)
    archive = await archived_parts(reader, manifest) if len(found) < len(leaves) else []  # after the rows, never before
    lines: list[bytes] = []
    for position, leaf in enumerate(leaves, first):
        events = [raw_line(row, leaf) for row in found[position]]
        lines += events or [absent_line(position, leaf, file_of(position, archive))]
    return b"".join(lines)


def raw_line(row: asyncpg.Record, leaf: str) -> bytes:
    """Write the line of one row."""
    columns = {"position": row["position"], "organization_position": row["organization_position"]}
    texts = {name: row[name] or "" for name in ("organization", "type", "subject", "actor", "occurred_at")}
    return event_line({**columns, "recorded_at": row["recorded_at"] or "", "leaf_hash": leaf, **texts}, row["entry"])


async def archived_parts(reader: Reader, manifest: Manifest) -> list[tuple[int, int, str]]:
    """Read which positions of this history the archive's files hold usage of: the first, the last, and the file."""
    if manifest.organization is None:
        return [(part.from_position, part.to_position - 1, part.file) for part in await archived_ranges(reader)]
    shares = await archived_shares(reader, manifest.organization)
    return [(share.first_position, share.last_position, share.file) for share in shares]


def file_of(position: int, archive: Sequence[tuple[int, int, str]]) -> str | None:
    """Name the file of the archive that holds an event which is not in the log; None where it should be there."""
    return next((file for first, last, file in archive if first <= position <= last), None)
