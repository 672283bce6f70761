"""Proofs in the API: signed checkpoints, that an event is in a tree, that a tree only grew. Must never compute one."""

from datetime import datetime
from typing import Annotated

import strawberry

from service.api.context import Context
from service.api.scalars import position_of
from service.signing import SignedCheckpoint
from service.tree_proofs import ConsistencyProof, InclusionProof

TreeSize = Annotated[str | None, strawberry.argument(description="Prove it in the tree of this many events.")]
FromSize = Annotated[str, strawberry.argument(name="from", description="The size of the earlier tree.")]
ToSize = Annotated[str, strawberry.argument(name="to", description="The size of the later tree.")]


@strawberry.type(description="That the organization's history had this length and this root: signed, as text.")
class LogCheckpoint:
    """A signed checkpoint."""

    position: str = strawberry.field(description="The last position it covers: the size of the tree.")
    root_hash: str = strawberry.field(description="The root of the RFC 9162 tree of that size, in hexadecimal.")
    text: str = strawberry.field(description="The C2SP checkpoint as a signed note, of which GET /log/key has the key.")
    signed_at: datetime = strawberry.field(description="When it was signed.")


@strawberry.type(name="InclusionProof", description="That an event is in a tree, as in RFC 9162, section 2.1.3.")
class ShownInclusionProof:
    """That an event is in a tree."""

    leaf_index: str = strawberry.field(description="The leaf's number in the tree, from 0: the position less one.")
    tree_size: str = strawberry.field(description="How many leaves the tree has.")
    root_hash: str = strawberry.field(description="The tree's root, in hexadecimal: what the proof must lead to.")
    hashes: list[str] = strawberry.field(description="The proof, in hexadecimal, the leaf's sibling first.")
    checkpoint: LogCheckpoint | None = strawberry.field(
        description="The newest checkpoint, where it is of this tree: always, unless another `size` was given."
    )


@strawberry.type(description="That a tree begins with an earlier one, as in RFC 9162, section 2.1.4.")
class LogConsistencyProof:
    """That a tree only grew."""

    from_size: str = strawberry.field(name="from", description="The size of the earlier tree.")
    to_size: str = strawberry.field(name="to", description="The size of the later tree.")
    from_root_hash: str = strawberry.field(description="The root of the earlier tree, in hexadecimal.")
    to_root_hash: str = strawberry.field(description="The root of the later tree, in hexadecimal.")
    hashes: list[str] = strawberry.field(description="The proof, in hexadecimal, in the order of the RFC.")


async def log_checkpoint(context: Context) -> LogCheckpoint | None:
    """Show the newest checkpoint of the caller's organization, signed now where it is not the head of its tree."""
    found = await context.checkpoints.load(context.caller.principal.organization)
    return None if found is None else shown_checkpoint(found)


async def consistency_proof(context: Context, old: str, size: str) -> LogConsistencyProof:
    """Prove that the organization's history only grew between two sizes."""
    proof = await context.services.proofs.consistency(
        context.caller.principal, position_of("from", old, least=0), position_of("to", size, least=0)
    )
    return shown_consistency(proof)


async def inclusion_proof(context: Context, position: int, size: str | None) -> ShownInclusionProof | None:
    """Prove that the event at a position is in the tree of a size, or else in that of the newest checkpoint."""
    wanted = None if size is None else position_of("size", size, least=0)
    proof = await context.inclusion_proofs.load((position, wanted))
    return None if proof is None else shown_inclusion(proof)


def shown_checkpoint(found: SignedCheckpoint) -> LogCheckpoint:
    """Show a checkpoint."""
    return LogCheckpoint(
        position=str(found.size), root_hash=found.root.hex(), text=found.text, signed_at=found.signed_at
    )


def shown_inclusion(proof: InclusionProof) -> ShownInclusionProof:
    """Show a proof that an event is in a tree."""
    return ShownInclusionProof(
        leaf_index=str(proof.index),
        tree_size=str(proof.size),
        root_hash=proof.root.hex(),
        hashes=[one.hex() for one in proof.hashes],
        checkpoint=None if proof.checkpoint is None else shown_checkpoint(proof.checkpoint),
    )


def shown_consistency(proof: ConsistencyProof) -> LogConsistencyProof:
    """Show a proof that a tree only grew."""
    return LogConsistencyProof(
        from_size=str(proof.old),
        to_size=str(proof.size),
        from_root_hash=proof.old_root.hex(),
        to_root_hash=proof.root.hex(),
        hashes=[one.hex() for one in proof.hashes],
    )
