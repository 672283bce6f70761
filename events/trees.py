"""The Merkle trees of the log: one over each organization's history, one over the whole, the operator's.

Leaf `index` of an organization's tree is its event at organization position index + 1, of the operator's tree the event
at position index + 1. Nothing is read here but tiles: a proof takes one statement, however large the tree is.
Must never write; `events.tree_growth` does.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from events import merkle
from events.statement import load
from events.tiles import Place, places_of, subtree_in

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from events.fair_pool import FairPool
    from events.statement import Connection, DriverPool

OPERATOR: Final = ""
"""The name of the tree over the whole log; those of organizations have their ids."""

READ_TREE_SIZES: Final = load("events.statements", "read_tree_sizes")
READ_TILES: Final = load("events.statements", "read_tiles")

Reader: TypeAlias = "DriverPool | FairPool | Connection | PoolConnectionProxy[asyncpg.Record]"
"""What a statement can be read over: a pool, or a connection within its transaction."""
TilePlace: TypeAlias = tuple[str, int, int]
"""A tile's tree, level and number."""


async def tree_size(reader: Reader, tree: str) -> int:
    """Read how many leaves a tree holds."""
    return (await tree_sizes(reader, (tree,)))[tree]


async def tree_sizes(reader: Reader, trees: Sequence[str]) -> dict[str, int]:
    """Read how many leaves each of some trees holds."""
    rows = await reader.fetch(READ_TREE_SIZES.text, trees)
    return dict.fromkeys(trees, 0) | {row["tree"]: row["size"] for row in rows}


async def root_at(reader: Reader, tree: str, size: int) -> bytes:
    """Compute the root that a tree had at a size. Raises TilesMissingError where it does not reach that far."""
    if merkle.check_size(size) == 0:
        return merkle.EMPTY_ROOT
    wanted = merkle.complete_subtrees((0, size))
    return merkle.root_of(size, subtree_in(await tiles_of(reader, tree, places_of(wanted))))


async def prove_inclusion(reader: Reader, tree: str, index: int, size: int) -> list[bytes]:
    """Prove that leaf `index` is in the tree of that size. Raises ValueError or TilesMissingError."""
    return (await prove_inclusions(reader, tree, (index,), size))[0]


async def prove_inclusions(reader: Reader, tree: str, indexes: Sequence[int], size: int) -> list[list[bytes]]:
    """Prove that each of some leaves is in the tree of that size. Raises ValueError or TilesMissingError."""
    wanted = [part for index in indexes for part in merkle.inclusion_subtrees(index, size)]
    subtree = subtree_in(await tiles_of(reader, tree, places_of(wanted)))
    return [merkle.inclusion_proof(index, size, subtree) for index in indexes]


async def prove_consistency(reader: Reader, tree: str, old: int, size: int) -> list[bytes]:
    """Prove that the tree of that size begins with the old one. Raises ValueError or TilesMissingError."""
    wanted = places_of(merkle.consistency_subtrees(old, size))
    return merkle.consistency_proof(old, size, subtree_in(await tiles_of(reader, tree, wanted)))


async def tiles_of(reader: Reader, tree: str, places: Iterable[Place]) -> dict[Place, bytes]:
    """Read tiles of one tree."""
    found = await tiles(reader, [(tree, level, tile) for level, tile in places])
    return {(level, tile): hashes for (_, level, tile), hashes in found.items()}


async def tiles(reader: Reader, places: Sequence[TilePlace]) -> dict[TilePlace, bytes]:
    """Read tiles of any trees; those that are not there are left out."""
    if not places:
        return {}
    rows = await reader.fetch(READ_TILES.text, *map(list, zip(*places, strict=True)))
    return {(tree, level, tile): hashes for tree, level, tile, hashes in rows if hashes is not None}
