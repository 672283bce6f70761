"""Grows the trees of the log: the operator's and those of the organizations in a batch, in one transaction.

The lock on the operator's row is the lease of whoever grows them, and the database ends it with the transaction, so any
number of processes may. Must never grow over a gap: what is not where it should be stops it, and says where.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import asyncpg

from events.log import READ_HEAD
from events.merkle import HASH_BYTES
from events.statement import Pool, load
from events.tiles import Piece, pieces, tails
from events.trees import OPERATOR, Reader, tiles, tree_sizes

LEASE_TREES: Final = load("events.statements", "lease_trees")
READ_LEAVES: Final = load("events.statements", "read_leaves")
EXTEND_TILES: Final = load("events.statements", "extend_tiles")
SAVE_TREE_SIZES: Final = load("events.statements", "save_tree_sizes")
BATCH: Final = 2_000
"""Events in a transaction: to decode them holds up whatever else this process does for a few milliseconds."""
PIECES_A_TURN: Final = 8


class TreesStoppedError(Exception):
    """An event is not where it should be, so the trees do not grow past the one before it."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"at position {position}: {problem}")
        self.position = position


class Growing(NamedTuple):
    """A tree that grows: its next size less one, and the hashes of what it takes in."""

    size: int
    leaves: list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """How far the trees are after a batch."""

    size: int
    head: int


async def grow(pool: Pool, *, batch: int = BATCH) -> Grown | None:
    """Take in the next events; None when there are none or another process is at it. Raises TreesStoppedError."""
    async with pool.acquire() as connection, connection.transaction():
        size = await connection.fetchval(LEASE_TREES.text)
        if size is None:
            return None
        head = int(await connection.fetchval(READ_HEAD.text))
        if head < size:
            raise TreesStoppedError(head + 1, f"the log ends before it, and its tree holds {size} events")
        until = min(size + batch, head)
        if size == until:
            return None
        rows = await connection.fetch(READ_LEAVES.text, size, until)
        check_positions(rows, size, until)
        growing = await grouped(connection, rows)
        growing[OPERATOR] = Growing(size, [row["leaf_hash"] for row in rows])
        await write(connection, growing)
        return Grown(size=until, head=head)


def check_positions(rows: list[asyncpg.Record], size: int, until: int) -> None:
    """Hold the positions of the whole log against those that must follow. Raises TreesStoppedError."""
    found = [row["position"] for row in rows]
    if found == list(range(size + 1, until + 1)):
        return
    there = set(found)
    missing = next((position for position in range(size + 1, until + 1) if position not in there), None)
    if missing is not None:
        raise TreesStoppedError(missing, "the event is missing")
    twice = next(here for here, after in pairwise(found) if here == after)
    raise TreesStoppedError(twice, "there is more than one event")


async def grouped(connection: Reader, rows: list[asyncpg.Record]) -> dict[str, Growing]:
    """Sort a batch by organization, each event to its next place there. Raises TreesStoppedError."""
    leaves: defaultdict[str, list[bytes]] = defaultdict(list)
    names = list({row["organization"] for row in rows})
    sizes = await tree_sizes(connection, names)
    for position, organization, place, leaf in rows:
        own = leaves[organization]
        expected = sizes[organization] + len(own) + 1
        if place != expected:
            problem = f"the event is number {place} of its organization's history, and number {expected} is next"
            raise TreesStoppedError(position, problem)
        own.append(leaf)
    return {name: Growing(sizes[name], leaves[name]) for name in names}


async def write(connection: Reader, growing: dict[str, Growing]) -> None:
    """Add what the trees take in to their tiles, and save their sizes."""
    needed = [
        (tree, level, tile) for tree, (size, leaves) in growing.items() for level, tile in tails(size, len(leaves))
    ]
    found = await tiles(connection, needed)
    added: list[tuple[str, Piece]] = []
    for tree, (size, leaves) in growing.items():
        own = {place: found[tree, *place] for place in tails(size, len(leaves))}
        for piece in pieces(size, b"".join(leaves), own):
            added.append((tree, piece))
            if len(added) % PIECES_A_TURN == 0:
                await asyncio.sleep(0)  # let others have the processor: this is not the work that anybody waits for
    await extend_tiles(connection, added)
    sizes = [size + len(leaves) for size, leaves in growing.values()]
    await connection.execute(SAVE_TREE_SIZES.text, list(growing), sizes)


async def extend_tiles(connection: Reader, added: list[tuple[str, Piece]]) -> None:
    """Add hashes to tiles, which must then be as long as they should. Raises AssertionError."""
    columns = zip(*((tree, piece.level, piece.tile, piece.hashes) for tree, piece in added), strict=True)
    rows = await connection.fetch(EXTEND_TILES.text, *map(list, columns))
    expected = {(tree, piece.level, piece.tile, piece.start + len(piece.hashes) // HASH_BYTES) for tree, piece in added}
    if wrong := {tuple(row) for row in rows} ^ expected:
        raise AssertionError(f"tiles are not as long as their trees: {sorted(wrong)[:2]}")
