"""The Merkle tree of RFC 9162, section 2.1: roots, and proofs that a leaf or an earlier tree is part of a tree.

Must never do I/O: whoever keeps the tree hands in a function that gives the root of a complete subtree. A subtree is
named by its level and index: the complete subtree of 2**level leaves that begins at leaf index * 2**level.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, TypeAlias

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of the tree without leaves."""

Subtree: TypeAlias = Callable[[int, int], bytes]
"""Gives the root of the complete subtree of this level and index."""
Range: TypeAlias = tuple[int, int]
"""Leaves from the first number to before the second that are one subtree, complete or at the right edge."""


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash a node of two subtrees: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The roots of the complete subtrees that a tree consists of, largest first: all it takes to grow it.

    There are as many as the size has bits that are 1. Raises ValueError where they do not fit the size.
    """

    __slots__ = ("_roots", "_size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        roots = list(hashes)
        if size < 0 or len(roots) != size.bit_count():
            wanted = f"{size.bit_count()} hashes" if size >= 0 else "a size of at least 0"
            raise ValueError(f"the frontier of a tree of {size} leaves takes {wanted}, and {len(roots)} were given")
        for root in roots:
            check_hash(root)
        self._size = size
        self._roots = roots

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The roots of its complete subtrees, largest first."""
        return tuple(self._roots)

    def add(self, leaf: bytes) -> None:
        """Take in the hash of the next leaf."""
        roots, rest = self._roots, self._size
        while rest & 1:
            leaf = sha256(b"\x01" + roots.pop() + leaf).digest()
            rest >>= 1
        roots.append(leaf)
        self._size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Take in the hashes of many leaves, level by level: a fifth quicker than one by one."""
        nodes, rest, edge = list(leaves), self._size, []
        self._size += len(nodes)
        while nodes:
            if rest & 1:
                nodes.insert(0, self._roots.pop())
            if len(nodes) & 1:
                edge.append(nodes.pop())
            pairs = iter(nodes)
            nodes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            rest >>= 1
        self._roots += reversed(edge)

    def root(self) -> bytes:
        """Compute the root of the tree."""
        return joined(self._roots) if self._roots else EMPTY_ROOT


def root_of(size: int, subtree: Subtree) -> bytes:
    """Compute the root of the tree of the first `size` leaves. Raises ValueError for a size below 0."""
    return range_root((0, check_size(size)), subtree) if size else EMPTY_ROOT


def inclusion_subtrees(index: int, size: int) -> list[tuple[int, int]]:
    """Name the complete subtrees that the proof for a leaf is made from. Raises ValueError."""
    return [part for one in inclusion_ranges(index, size) for part in complete_subtrees(one)]


def consistency_subtrees(old: int, size: int) -> list[tuple[int, int]]:
    """Name the complete subtrees that the proof of a tree's growth is made from. Raises ValueError."""
    return [part for one in consistency_ranges(old, size) for part in complete_subtrees(one)]


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Prove that leaf `index` (from 0) is in the tree of `size` leaves (RFC 9162, 2.1.3.1). Raises ValueError."""
    return [range_root(one, subtree) for one in inclusion_ranges(index, size)]


def consistency_proof(old: int, size: int, subtree: Subtree) -> list[bytes]:
    """Prove that the tree of `size` leaves begins with those of the `old` one (2.1.4.1). Raises ValueError.

    The proof for the empty tree is empty, as every tree begins with it; RFC 9162 leaves it undefined.
    """
    return [range_root(one, subtree) for one in consistency_ranges(old, size)]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether the proof leads from this leaf to this root (RFC 9162, 2.1.3.2). Never raises."""
    if not 0 <= index < size or not are_hashes(leaf, root, *proof):
        return False
    hashed, place, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            hashed = node_hash(sibling, hashed)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Say whether the proof shows that the tree with this root begins with the old one (2.1.4.2). Never raises."""
    if not 0 <= old <= size or not are_hashes(old_root, root, *proof):
        return False
    if old == 0:
        return not proof and old_root == EMPTY_ROOT and (size > 0 or root == EMPTY_ROOT)
    if old == size:
        return not proof and old_root == root
    path = proof if old & (old - 1) else [old_root, *proof]
    return bool(path) and leads_to_both(old, size, path) == (old_root, root)


def leads_to_both(old: int, size: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Compute the two roots that a consistency proof leads to, None where it has too many or too few hashes."""
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        place, last = place >> 1, last >> 1
    return (before, after) if last == 0 else None


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Name the leaves under each hash of an inclusion proof, the leaf's sibling first. Raises ValueError."""
    if not 0 <= index < check_size(size):
        raise ValueError(f"there is no leaf {index} in a tree of {size}: leaves are counted from 0")
    first, end = 0, size
    siblings: list[Range] = []
    while end - first > 1:
        middle = first + left_of(end - first)
        if index < middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((first, middle))
            first = middle
    return siblings[::-1]


def consistency_ranges(old: int, size: int) -> list[Range]:
    """Name the leaves under each hash of a consistency proof, in its order. Raises ValueError."""
    if not 0 <= old <= check_size(size):
        raise ValueError(f"a tree of {size} leaves cannot have grown from one of {old}")
    if old == 0:
        return []
    first, end = 0, size
    siblings: list[Range] = []
    while end != old:
        middle = first + left_of(end - first)
        if old <= middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((first, middle))
            first = middle
    return [(first, end)] * (first > 0) + siblings[::-1]


def complete_subtrees(leaves: Range) -> Iterator[tuple[int, int]]:
    """Name the complete subtrees that a subtree consists of, largest first."""
    first, end = leaves
    while first < end:
        level = (end - first).bit_length() - 1
        yield level, first >> level
        first += 1 << level


def range_root(leaves: Range, subtree: Subtree) -> bytes:
    """Compute the root of the subtree of these leaves."""
    return joined([subtree(level, index) for level, index in complete_subtrees(leaves)])


def joined(roots: Sequence[bytes]) -> bytes:
    """Join the roots of complete subtrees, largest first, to the root of what they make up."""
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = node_hash(left, root)
    return root


def left_of(size: int) -> int:
    """Say how many leaves are left of a tree's root: the largest power of two below its size."""
    return 1 << (size - 1).bit_length() - 1


def are_hashes(*values: bytes) -> bool:
    """Say whether all of these have the length of a hash."""
    return all(len(value) == HASH_BYTES for value in values)


def check_hash(value: bytes) -> None:
    """Refuse what cannot be a hash. Raises ValueError."""
    if len(value) != HASH_BYTES:
        raise ValueError(f"a hash is {HASH_BYTES} bytes, and one of {len(value)} was given")


def check_size(size: int) -> int:
    """Refuse a tree of fewer than no leaves. Raises ValueError."""
    if size < 0:
        raise ValueError(f"a tree has at least 0 leaves, not {size}")
    return size
