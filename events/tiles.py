"""Tiles: how the hashes of a Merkle tree are cut into pieces of 64, so that it grows and is proved by few of them.

A tile holds up to 64 hashes in a row of level 0, 6, 12 …: of leaves, or the roots of full tiles six levels below. Only
complete subtrees are in tiles, so nothing in one ever changes. Must never do I/O.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from events.merkle import HASH_BYTES, Subtree

LEVELS: Final = 6
"""How many levels of the tree are between a tile and the one above it."""
WIDTH: Final = 1 << LEVELS
TILE_BYTES: Final = WIDTH * HASH_BYTES

Place: TypeAlias = tuple[int, int]
"""A tile's level and its number on that level."""


class Piece(NamedTuple):
    """Hashes to add to a tile that has `start` of them."""

    level: int
    tile: int
    start: int
    hashes: bytes


class TilesMissingError(LookupError):
    """The tiles do not reach as far as was asked."""


def tails(size: int, count: int) -> Iterator[Place]:
    """Name the unfinished tiles of a tree that `count` more leaves will fill: they are needed to go on."""
    level = 0
    while (size + count) >> level + LEVELS > size >> level + LEVELS:
        entries = size >> level
        if entries % WIDTH:
            yield level, entries // WIDTH
        level += LEVELS


def pieces(size: int, leaves: bytes, tiles: Mapping[Place, bytes]) -> Iterator[Piece]:
    """Compute what the next leaves (their hashes, one after the other) add to a tree whose tails are given."""
    level = 0
    while leaves:
        number, start = divmod(size >> level, WIDTH)
        roots: list[bytes] = []
        offset = 0
        while offset < len(leaves):
            piece = Piece(level, number, start, leaves[offset : offset + TILE_BYTES - start * HASH_BYTES])
            yield piece
            if start * HASH_BYTES + len(piece.hashes) == TILE_BYTES:
                roots.append(root_of_full(tiles[level, number] + piece.hashes if start else piece.hashes))
            offset += len(piece.hashes)
            number, start = number + 1, 0
        leaves = b"".join(roots)
        level += LEVELS


def root_of_full(hashes: bytes) -> bytes:
    """Compute the root of a complete subtree from the hashes of one of its levels."""
    while len(hashes) > HASH_BYTES:
        steps = range(0, len(hashes), 2 * HASH_BYTES)
        hashes = b"".join([sha256(b"\x01" + hashes[at : at + 2 * HASH_BYTES]).digest() for at in steps])
    return hashes


def place_of(level: int, index: int) -> Place:
    """Say in which tile the hashes are that make up a complete subtree."""
    inside = level % LEVELS
    return level - inside, (index << inside) // WIDTH


def places_of(subtrees: Iterable[tuple[int, int]]) -> list[Place]:
    """Say which tiles complete subtrees are computed from, each once."""
    return list(dict.fromkeys(place_of(level, index) for level, index in subtrees))


def subtree_in(tiles: Mapping[Place, bytes]) -> Subtree:
    """Make the function that computes complete subtrees from these tiles, each once; it raises TilesMissingError."""

    @cache
    def subtree(level: int, index: int) -> bytes:
        inside = level % LEVELS
        start = (index << inside) % WIDTH * HASH_BYTES
        hashes = tiles.get(place_of(level, index), b"")[start : start + (HASH_BYTES << inside)]
        if len(hashes) != HASH_BYTES << inside:
            raise TilesMissingError(f"the tree does not hold subtree {index} of level {level}")
        return root_of_full(hashes)

    return subtree
