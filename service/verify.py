"""The verifier: the one function behind every entrance that says whether a presented secret is good, and whose it is.

A presented secret climbs a ladder, each rung stopping junk before the next one costs anything: form and checksum; its
keyed digest and what is remembered of it; one look-up by that digest; Argon2id in a bounded pool. Must never accept on
anything less than the last rung, proved now or remembered under a lease, nor say why a secret failed in a way that
shows any of it.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Final, Generic

import asyncpg

from service.authorization import Principal
from service.credential import (
    ANYTHING,
    MALFORMED,
    UNKNOWN,
    Failure,
    Verification,
    Wanted,
    credential_of,
    failure_of,
    held_against,
)
from service.credential_reader import CredentialReader, Found, ReadingUnavailableError
from service.denials import Denials
from service.hashing import HashingPool, ProvenMatches
from service.keyring import digesting
from service.lease import Clock, Node
from service.secret_format import is_well_formed
from service.vault import DIGEST_PREFIX_BYTES, Keys
from service.verified_cache import Entry, Proved

MOST_READS: Final = 3
"""How often a key is looked up whose token keeps changing meanwhile."""


class Watch(Generic[Proved]):
    """A secret that is verified again and again; of the secret itself it holds the digests only."""

    def __init__(self, node: Node[Proved], digests: tuple[bytes, ...]) -> None:
        self._node = node
        self.digests = digests

    def recall(self) -> Proved | None:
        """Answer what memory says of the secret now; None where it cannot tell."""
        for digest in self.digests:
            if (remembered := self._node.recall(digest)) is not None:
                return remembered
        return None

    def ends_s(self) -> float:
        """Say when what is remembered of the secret ends by itself, on the steady clock."""
        return max(self._node.ends_s(digest) for digest in self.digests)


class Verifier:
    """Verifies presented secrets: from memory under the node's lease, and against the vault otherwise."""

    def __init__(
        self, node: Node[Verification], reader: CredentialReader, *, keys: Keys, hashing: HashingPool, clock: Clock
    ) -> None:
        self._node = node
        self._reader = reader
        self._prefix = keys.prefix
        self._digests = digesting(keys.peppers)
        self._hashing = hashing
        self._clock = clock
        self._denials = Denials(clock.steady)
        self._proven = ProvenMatches()
        self._proving: dict[tuple[bytes, str], asyncio.Future[bool]] = {}

    def recall(self, presented: str, wanted: Wanted = ANYTHING) -> Verification | None:
        """Verify a secret from memory alone; None where that cannot tell."""
        remembered = self._remembered(presented)
        if remembered is None or wanted is ANYTHING:
            return remembered
        verification = held_against(remembered, wanted)
        # A change that gives more is waited for by nobody: what memory lacks is looked up before it is denied.
        return None if verification.failure is Failure.MISSING_SCOPE else verification

    def _remembered(self, presented: str) -> Verification | None:
        if not is_well_formed(self._prefix, presented):
            return MALFORMED
        for digest in self._digests(presented):
            if (remembered := self._node.recall(digest)) is not None:
                return remembered
            if self._denials.holds(digest):
                return UNKNOWN
        return None

    def watch(self, presented: str) -> Watch[Verification]:
        """Digest a secret once, to recall it as often as something is sent on its word."""
        return Watch(self._node, tuple(self._digests(presented)))

    async def verify(self, presented: str, wanted: Wanted = ANYTHING) -> Verification:
        """Say whether a secret is good now for what is wanted.

        Raises ReadingUnavailableError and HashingOverloadError when it cannot be told now, and VerifierError for a
        planted verifier: none of them says anything about the secret.
        """
        remembered = self.recall(presented, wanted)
        if remembered is not None:
            return remembered
        return held_against(await self._look_up(self._digests(presented)), wanted)

    async def verify_again(self, watch: Watch[Verification]) -> Verification:
        """Say whether a secret that was good is good now. Raises as `verify` does."""
        remembered = watch.recall()
        return await self._look_up(watch.digests) if remembered is None else remembered

    async def verify_for(self, principal: Principal, presented: str, wanted: Wanted) -> Verification:
        """Say whether a secret that a principal received is good for what is wanted. Raises ForbiddenError too."""
        principal.require("tokens:verify")
        return await self.verify(presented, wanted)

    async def _look_up(self, digests: Sequence[bytes]) -> Verification:
        by_prefix = {digest[:DIGEST_PREFIX_BYTES]: digest for digest in digests}
        for _ in range(MOST_READS):
            incarnation = self._node.incarnation
            found = await self._reader.find(tuple(by_prefix))
            row = found.row
            matches = row is not None and await self._matches(by_prefix[row["asked"]], row["verifier"])
            # Nothing is waited for from here on: what is decided is decided on what the node has applied by now.
            if not self._node.is_current(found.epoch, found.sent_s, incarnation):
                continue
            if row is None or not matches:
                for digest in by_prefix.values():
                    self._denials.add(digest)
                return UNKNOWN
            return self._decide(by_prefix[row["asked"]], row, found)
        raise ReadingUnavailableError("the token changes faster than it can be read")

    def _decide(self, digest: bytes, row: asyncpg.Record, found: Found) -> Verification:
        verification = Verification(failure=failure_of(row), credential=credential_of(row))
        deadline_s = math.inf if row["left_s"] is None else found.sent_s + row["left_s"]
        if verification.failure is None and self._clock.steady() >= deadline_s:
            return Verification(failure=Failure.EXPIRED, credential=verification.credential)
        if verification.failure is not None:
            deadline_s = math.inf  # what the database says has ended stays so
        self._node.remember(digest, Entry(row["id"], verification, deadline_s))
        return verification

    async def _matches(self, digest: bytes, verifier: str) -> bool:
        if self._proven.holds(digest, verifier):
            return True
        proof = (digest, verifier)
        proving = self._proving.get(proof)
        if proving is None:
            proving = self._proving[proof] = asyncio.ensure_future(self._hashing.verify(verifier, digest))
            proving.add_done_callback(lambda _: self._proving.pop(proof))
        # One caller that goes away takes the hash from nobody else.
        if matches := await asyncio.shield(proving):
            self._proven.remember(digest, verifier)
        return matches
