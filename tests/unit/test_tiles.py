"""Tiles: a tree that grows by pieces is the tree that was always there, and every proof comes out of its tiles."""

from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import merkle
from events.tiles import Place, TilesMissingError, pieces, places_of, subtree_in, tails

LEAVES = [sha256(number.to_bytes(4, "big")).digest() for number in range(70 * 64 + 3)]


def grown(*counts: int) -> dict[Place, bytes]:
    """Grow a tree by so many leaves at a time, knowing no more of it than what it asks for."""
    tiles: dict[Place, bytes] = {}
    size = 0
    for count in counts:
        known = {place: tiles[place] for place in tails(size, count)}
        for level, tile, start, hashes in pieces(size, b"".join(LEAVES[size : size + count]), known):
            assert len(tiles.get((level, tile), b"")) == start * 32
            tiles[level, tile] = tiles.get((level, tile), b"") + hashes
        size += count
    return tiles


@given(st.lists(st.one_of(st.integers(0, 3), st.integers(60, 70), st.integers(0, 900)), max_size=5))
def test_batches_leave_no_trace(counts: list[int]) -> None:
    """However the leaves came, the tiles are the same, and the root is the one that is computed leaf by leaf."""
    size = sum(counts)
    tiles = grown(*counts)
    assert tiles == grown(size)
    frontier = merkle.Frontier()
    frontier.extend(LEAVES[:size])
    assert merkle.root_of(size, subtree_in(tiles)) == frontier.root()


def test_every_earlier_tree_is_in_the_tiles() -> None:
    """From the tiles of a large tree come the roots and proofs of each size that it had; what is beyond is an error."""
    tiles, random = grown(len(LEAVES)), Random(1)
    assert {level for level, _ in tiles} == {0, 6, 12}
    subtree = subtree_in(tiles)
    for size in (1, 64, 65, 4096, 4097, len(LEAVES)):
        root = merkle.root_of(size, subtree)
        for index in {0, size - 1, random.randrange(size)}:
            proof = merkle.inclusion_proof(index, size, subtree)
            assert merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
            assert len(places_of(merkle.inclusion_subtrees(index, size))) <= 6
        old = random.randrange(1, size + 1)
        proof = merkle.consistency_proof(old, size, subtree)
        assert merkle.verify_consistency(old, size, merkle.root_of(old, subtree), root, proof)
    with pytest.raises(TilesMissingError, match="does not hold subtree"):
        merkle.root_of(len(LEAVES) + 1, subtree)
