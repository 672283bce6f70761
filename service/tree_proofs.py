"""Proofs from the trees of the log, as whoever asks gets them: inclusion, consistency, and the checkpoints they end in.

Must never decide who may ask; `service.log_proofs` does.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

from events import merkle
from events.merkle import Subtree
from events.statement import Pool, load
from events.tiles import places_of, subtree_in
from events.tlog_proof import TlogProof
from events.tree_growth import grow
from events.trees import OPERATOR, tiles_of, tree_size
from service.signing import NotSignedError, SignedCheckpoint, Signer, read_tree

FIND_ENTRY: Final = load("service.statements", "find_entry")
PROOFS_A_TURN: Final = 50
LASTING: Final = frozenset({"standby_missing", "may_not_see_standbys"})
"""Why nothing can be signed, where no page of events should wait for that to pass."""

Wanted: TypeAlias = tuple[int, int | None]
"""The position of an event, and the size of the tree that it is to be proved in; None for the newest checkpoint's."""


class NotProvableError(Exception):
    """What is to be proved cannot be: there is no such tree, or the event is not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """That leaf `index` is in the tree of this size and root; the checkpoint that says so, where there is one."""

    index: int
    size: int
    root: bytes
    hashes: list[bytes]
    checkpoint: SignedCheckpoint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """That the tree of this size and root begins with the old one."""

    old: int
    size: int
    old_root: bytes
    root: bytes
    hashes: list[bytes]


Provable: TypeAlias = InclusionProof | NotProvableError | None
"""None for an event that the tree does not hold; an error where there is no such tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeProofs:
    """Proves what is in a tree, named as `events.trees` names them."""

    pool: Pool
    signer: Signer

    async def checkpoint(self, tree: str) -> SignedCheckpoint | None:
        """Give the newest checkpoint, signed now where it is not the tree's head; None where there is no history.

        Raises NotSignedError where it cannot be signed now.
        """
        if tree != OPERATOR:
            return await self.signer.sign_organization(tree)
        while await grow(self.pool) is not None:
            pass
        return await self.signer.sign()

    def key(self, tree: str) -> str:
        """Give the verifier key of the tree's checkpoints."""
        return self.signer.key.verifier_key(self.signer.installation.origin(tree or None).text)

    async def consistency(self, tree: str, old: int, size: int) -> ConsistencyProof:
        """Prove that a tree only grew from one size to another. Raises NotProvableError."""
        if old > size:
            raise NotProvableError("from is larger than to: the earlier tree comes first")
        if size > await tree_size(self.pool, tree):
            raise NotProvableError("to is larger than the tree: there is no such tree yet")
        subtree = await self._subtrees(tree, [*merkle.consistency_subtrees(old, size), *whole(old), *whole(size)])
        return ConsistencyProof(
            old=old,
            size=size,
            old_root=merkle.root_of(old, subtree),
            root=merkle.root_of(size, subtree),
            hashes=merkle.consistency_proof(old, size, subtree),
        )

    async def inclusions(self, tree: str, wanted: Sequence[Wanted]) -> list[Provable]:
        """Prove many events at once, with as many statements as for one."""
        newest, grown = await self._newest(tree, [position for position, size in wanted if size is None])
        judged = [judge(one, newest, grown) for one in wanted]
        places = [one for one in judged if isinstance(one, tuple)]
        parts = [part for index, size in places for part in merkle.inclusion_subtrees(index, size)]
        sizes = {size for _, size in places}
        subtree = await self._subtrees(tree, [*parts, *(part for size in sizes for part in whole(size))])
        roots = {size: merkle.root_of(size, subtree) for size in sizes}

        def proof(index: int, size: int) -> InclusionProof:
            return InclusionProof(
                index=index,
                size=size,
                root=roots[size],
                hashes=merkle.inclusion_proof(index, size, subtree),
                checkpoint=newest if newest is not None and newest.size == size else None,
            )

        proofs: list[Provable] = []
        for one in judged:
            proofs.append(proof(*one) if isinstance(one, tuple) else one)
            if len(proofs) % PROOFS_A_TURN == 0:
                await asyncio.sleep(0)  # let others have the processor
        return proofs

    async def prove_event(self, tree: str, event_id: str) -> TlogProof:
        """Prove an event for whoever has nothing but the public key. Raises NotProvableError or NotSignedError."""
        row = await self.pool.fetchrow(FIND_ENTRY.text, event_id)
        if row is None or tree not in {OPERATOR, row["organization"]}:
            raise NotProvableError("there is no such event there: give an event's id (evt_…), as the API shows it")
        await self.checkpoint(tree)
        position = row["position"] if tree == OPERATOR else row["organization_position"]
        (proof,) = await self.inclusions(tree, [(position, None)])
        if not isinstance(proof, InclusionProof) or proof.checkpoint is None:
            raise NotProvableError("the event is not in a signed tree yet: try again in a second")
        hashes, note = tuple(proof.hashes), proof.checkpoint.text
        return TlogProof(entry=row["entry"], index=proof.index, hashes=hashes, note=note)

    async def _newest(self, tree: str, positions: Sequence[int]) -> tuple[SignedCheckpoint | None, int]:
        """Give the newest checkpoint, signed now where it lacks any of these positions, and the size of the tree."""
        status = await read_tree(self.pool, tree, key_id=self.signer.key.id)
        newest, grown = (None, 0) if status is None else (status.newest, status.size)
        will_pass = status is None or status.unsafe not in LASTING
        if positions and (newest is None or newest.size < max(positions)) and will_pass:
            with contextlib.suppress(NotSignedError):  # what is signed can be proved all the same
                newest = await self.checkpoint(tree)
        return newest, max(grown, newest.size if newest else 0)

    async def _subtrees(self, tree: str, parts: Sequence[tuple[int, int]]) -> Subtree:
        """Read what these complete subtrees are computed from, at once, and compute each of them once."""
        return cache(subtree_in(await tiles_of(self.pool, tree, places_of(parts))))


def judge(wanted: Wanted, newest: SignedCheckpoint | None, grown: int) -> tuple[int, int] | NotProvableError | None:
    """Say which leaf of which tree is to be proved: none where that tree does not hold it, a problem without a tree."""
    position, asked = wanted
    if asked is not None and asked > grown:
        return NotProvableError("size is larger than the tree: there is no such tree yet")
    size = asked if asked is not None else newest.size if newest is not None else 0
    return (position - 1, size) if position <= size else None


def whole(size: int) -> list[tuple[int, int]]:
    """Name the complete subtrees that a tree consists of."""
    return list(merkle.complete_subtrees((0, size)))
