"""What callers may prove of their organization's history: each proof is authorised here, once, beneath every entrance.

Must never take an organization from an input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from service.authorization import Principal
from service.signing import SignedCheckpoint
from service.tree_proofs import ConsistencyProof, Provable, TreeProofs, Wanted

SCOPE: Final = "events:read"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogProofs:
    """Proves an organization's history to a principal of it. All of it raises ForbiddenError."""

    trees: TreeProofs

    async def checkpoint(self, principal: Principal) -> SignedCheckpoint | None:
        """Give the newest checkpoint, signed now where there is more; None without a history. Raises NotSignedError."""
        principal.require(SCOPE)
        return await self.trees.checkpoint(principal.organization)

    def key(self, principal: Principal) -> str:
        """Give the verifier key of the organization's checkpoints."""
        principal.require(SCOPE)
        return self.trees.key(principal.organization)

    async def consistency(self, principal: Principal, old: int, size: int) -> ConsistencyProof:
        """Prove that the history only grew from one size to another. Raises NotProvableError."""
        principal.require(SCOPE)
        return await self.trees.consistency(principal.organization, old, size)

    async def inclusions(self, principal: Principal, wanted: Sequence[Wanted]) -> list[Provable]:
        """Prove many events of the history at once."""
        principal.require(SCOPE)
        return await self.trees.inclusions(principal.organization, wanted)
