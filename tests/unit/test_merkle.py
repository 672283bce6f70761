"""The Merkle tree: the published vectors, the laws of its proofs, and an implementation that is not ours.

The vectors are those of Certificate Transparency's reference implementation (cpp/merkletree/merkle_tree_test.cc of
github.com/google/certificate-transparency; also testonly/constants.go of github.com/transparency-dev/merkle): eight
leaves, the roots of the trees of the first of them, nodes of the whole tree, and proofs.
"""

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from events.entry import leaf_hash
from events.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    consistency_subtrees,
    inclusion_proof,
    inclusion_subtrees,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
NODES = {
    (0, 0): "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    (0, 1): "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    (0, 4): "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    (1, 0): "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    (1, 1): "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    (1, 2): "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    (1, 3): "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    (2, 0): "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    (2, 1): "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
}
INCLUSION: list[tuple[int, int, list[tuple[int, int]]]] = [
    (0, 1, []),
    (0, 8, [(0, 1), (1, 1), (2, 1)]),
    (5, 8, [(0, 4), (1, 3), (2, 0)]),
    (2, 3, [(1, 0)]),
    (1, 5, [(0, 0), (1, 1), (0, 4)]),
]
CONSISTENCY: list[tuple[int, int, list[tuple[int, int]]]] = [
    (1, 1, []),
    (1, 8, [(0, 1), (1, 1), (2, 1)]),
    (6, 8, [(1, 2), (1, 3), (2, 0)]),
    (2, 5, [(1, 1), (0, 4)]),
]
MOST = 70
ENTRIES = [b"%d" % number for number in range(MOST)]
OURS = [leaf_hash(entry) for entry in ENTRIES]
PUBLISHED = [leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES]


@cache
def subtree(level: int, index: int) -> bytes:
    """Give the root of a complete subtree of the tree of our leaves, by the definition."""
    return node_hash(subtree(level - 1, 2 * index), subtree(level - 1, 2 * index + 1)) if level else OURS[index]


@cache
def published(level: int, index: int) -> bytes:
    """Give the same of the published leaves."""
    if level == 0:
        return PUBLISHED[index]
    return node_hash(published(level - 1, 2 * index), published(level - 1, 2 * index + 1))


def altered(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """Change a proof: a bit flipped, a hash left out, put in twice, or one too many, two swapped, one too short."""
    ways = ["add"] + ["flip", "drop", "double", "cut"] * bool(proof) + ["swap"] * (len(proof) > 1)
    way, place = data.draw(st.sampled_from(ways)), data.draw(st.integers(0, max(len(proof) - 1, 0)))
    changed = list(proof)
    if way == "flip":
        bit = data.draw(st.integers(0, 255))
        changed[place] = (int.from_bytes(proof[place], "big") ^ 1 << bit).to_bytes(32, "big")
    elif way == "swap":
        changed[place - 1], changed[place] = proof[place], proof[place - 1]
    elif way == "cut":
        changed[place] = proof[place][:-1]
    elif way == "drop":
        del changed[place]
    else:
        changed.insert(place, OURS[0] if way == "add" else proof[place])
    return changed


def test_the_published_roots_and_proofs() -> None:
    """The trees of the reference leaves have the reference's roots, and our proofs are the reference's."""
    frontier = Frontier()
    for size, root in enumerate(ROOTS):
        assert frontier.root().hex() == root_of(size, published).hex() == root
        if size < len(PUBLISHED):
            frontier.add(PUBLISHED[size])
    for index, size, nodes in INCLUSION:
        assert [one.hex() for one in inclusion_proof(index, size, published)] == [NODES[node] for node in nodes]
    for old, size, nodes in CONSISTENCY:
        assert [one.hex() for one in consistency_proof(old, size, published)] == [NODES[node] for node in nodes]


def test_every_proof_of_every_small_tree() -> None:
    """For every tree, leaf and earlier tree the proof verifies, and verifies for nothing else."""
    roots = [root_of(size, subtree) for size in range(MOST + 1)]
    for size in range(MOST + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, subtree)
            assert verify_inclusion(OURS[index], index, size, proof, roots[size])
            assert not verify_inclusion(OURS[index - 1], index, size, proof, roots[size]) or size == 1
            assert not verify_inclusion(OURS[index], (index + 1) % size, size, proof, roots[size]) or size == 1
            assert not verify_inclusion(OURS[index], index, size, proof, roots[size - 1])
        for old in range(size + 1):
            proof = consistency_proof(old, size, subtree)
            assert verify_consistency(old, size, roots[old], roots[size], proof)
            assert not verify_consistency(old, size, roots[old - 1], roots[size], proof) or size == 0
            assert not verify_consistency(old, size, roots[old], roots[size - 1], proof) or old == 0


@given(st.integers(1, MOST), st.data())
def test_no_altered_proof_is_believed(size: int, data: st.DataObject) -> None:
    """A proof in which anything was changed is refused, whatever it is a proof of, and without an exception."""
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    root, old_root = root_of(size, subtree), root_of(old, subtree)
    inclusion, consistency = inclusion_proof(index, size, subtree), consistency_proof(old, size, subtree)
    if (changed := altered(inclusion, data)) != inclusion:
        assert not verify_inclusion(OURS[index], index, size, changed, root)
    if (changed := altered(consistency, data)) != consistency:
        assert not verify_consistency(old, size, old_root, root, changed)


@given(st.integers(-3, 9), st.integers(-3, 9), st.lists(st.binary(min_size=31, max_size=33), max_size=4))
def test_verifying_answers_and_never_raises(one: int, other: int, proof: list[bytes]) -> None:
    """What has been made up is no proof, whatever its numbers; growth from nothing and no growth need none."""
    assert not verify_inclusion(OURS[0], one, other, proof, OURS[1])
    believed = verify_consistency(one, other, EMPTY_ROOT, EMPTY_ROOT, proof)
    assert believed == (not proof and 0 <= one <= other and one in {0, other})


@given(st.lists(st.integers(0, 40), max_size=6))
def test_a_frontier_grows_alike_in_any_steps(steps: list[int]) -> None:
    """Adding one by one, extending by many and going on from a stored frontier come to the same."""
    one_by_one = Frontier()
    in_steps = Frontier()
    for step in steps:
        leaves = [leaf_hash(b"%d" % (in_steps.size + number)) for number in range(step)]
        for leaf in leaves:
            one_by_one.add(leaf)
        in_steps.extend(iter(leaves))
        assert (one_by_one.size, one_by_one.hashes, one_by_one.root()) == (
            in_steps.size,
            in_steps.hashes,
            in_steps.root(),
        )
        in_steps = Frontier(in_steps.size, in_steps.hashes)


@given(st.integers(1, MOST), st.data())
def test_proofs_are_made_from_the_subtrees_they_name(size: int, data: st.DataObject) -> None:
    """A proof asks for the complete subtrees that were named before and for no others: they are fetched at once."""
    asked: list[tuple[int, int]] = []

    def asking(level: int, index: int) -> bytes:
        asked.append((level, index))
        assert (index + 1) << level <= size
        return subtree(level, index)

    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    inclusion_proof(index, size, asking)
    assert asked == inclusion_subtrees(index, size)
    asked.clear()
    consistency_proof(old, size, asking)
    assert asked == consistency_subtrees(old, size)


def test_another_implementation_agrees() -> None:
    """Roots and inclusion proofs are those of the published library pymerkle, and its own growth ends in our roots."""
    tree = InmemoryTree(algorithm="sha256")
    for size, entry in enumerate(ENTRIES, start=1):
        tree.append_entry(entry)
        assert tree.get_root() == root_of(size, subtree)
        for index in range(0, size, 5):
            path = tree.prove_inclusion(index + 1, size).path
            assert path == [OURS[index], *inclusion_proof(index, size, subtree)]
        for old in range(1, size + 1, 7):
            growth = tree.prove_consistency(old, size)
            growth.verify(root_of(old, subtree), root_of(size, subtree), prior_size=old, later_size=size)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: inclusion_proof(3, 3, subtree), "there is no leaf 3 in a tree of 3"),
        (lambda: inclusion_subtrees(-1, 3), "there is no leaf -1 in a tree of 3"),
        (lambda: consistency_proof(4, 3, subtree), "a tree of 3 leaves cannot have grown from one of 4"),
        (lambda: consistency_subtrees(-1, 3), "cannot have grown from one of -1"),
        (lambda: root_of(-1, subtree), "at least 0 leaves, not -1"),
        (lambda: Frontier(3, [OURS[0]]), "a tree of 3 leaves takes 2 hashes, and 1 were given"),
        (lambda: Frontier(-1), "a size of at least 0"),
        (lambda: Frontier(1, [b"short"]), "a hash is 32 bytes, and one of 5 was given"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[], object], message: str) -> None:
    """Whoever asks for a proof that cannot exist is told what is wrong."""
    with pytest.raises(ValueError, match=message):
        call()
