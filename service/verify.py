"""The verifier: the one function behind every entrance that says whether a presented secret is good, and whose it is.

A presented secret climbs a ladder, each rung stopping junk before the next one costs anything: form and checksum; its
keyed digest and what is remembered of it; one look-up by that digest; Argon2id in a bounded pool. Must never accept on
anything less than the last rung, proved now or remembered under a lease, nor say why a secret failed in a way that
shows any of it.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar

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
from service.draining import Drain, Proved
from service.hashing import HashingPool, ProvenMatches
from service.keyring import KeyRing, digesting
from service.lease import Clock, Node
from service.secret_format import is_well_formed
from service.vault import DIGEST_PREFIX_BYTES, Keys, bound_digest
from service.verified_cache import Entry

Remembered = TypeVar("Remembered")

MOST_READS: Final = 3
"""How often a key is looked up whose token keeps changing meanwhile."""


class PepperNotLoadedError(ReadingUnavailableError):
    """No row was found, but secrets may be under a pepper that was not asked for: it says nothing about the key."""


class Watch(Generic[Remembered]):
    """A secret that is verified again and again; of the secret itself it holds the digests only."""

    def __init__(self, node: Node[Remembered], digests: tuple[bytes, ...], peppers: KeyRing) -> None:
        self._node = node
        self.digests = digests
        self.peppers = peppers
        """Those that the digests are under."""
        self.known: tuple[str, int] | None = None
        """Which token's secret it was proved to be, and of which generation: that never changes."""

    def recall(self) -> Remembered | None:
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
        self._keys = keys
        self._prefix = keys.prefix
        self._peppers = keys.peppers
        self._digests = digesting(keys.peppers)
        self._hashing = hashing
        self._clock = clock
        self._denials = Denials(clock.steady)
        self._proven = ProvenMatches()
        self._proving: dict[tuple[bytes, str], asyncio.Future[bool]] = {}
        self.drain: Drain | None = None
        """Where secrets under an older pepper are offered; None where that is not done."""

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
        digests = self._digested(presented)
        for digest in digests:
            if (remembered := self._node.recall(digest)) is not None:
                if digest is not digests[0]:
                    self._offer(digest, digests, remembered)
                return remembered
            if self._denials.holds(digest):
                return UNKNOWN
        return None

    def _digested(self, presented: str) -> list[bytes]:
        """Digest a secret under every pepper that is loaded now, `self._peppers`, the writing one first."""
        if self._peppers is not self._keys.peppers:
            self._peppers = self._keys.peppers
            self._digests = digesting(self._peppers)
        return self._digests(presented)

    def watch(self, presented: str) -> Watch[Verification]:
        """Digest a secret once, to recall it as often as something is sent on its word."""
        digests = tuple(self._digested(presented))
        watch = Watch(self._node, digests, self._peppers)
        note(watch, watch.recall())
        return watch

    async def verify(self, presented: str, wanted: Wanted = ANYTHING) -> Verification:
        """Say whether a secret is good now for what is wanted.

        Raises ReadingUnavailableError and HashingOverloadError when it cannot be told now, and VerifierError for a
        planted verifier: none of them says anything about the secret.
        """
        remembered = self.recall(presented, wanted)
        if remembered is not None:
            return remembered
        digests = self._digested(presented)
        return held_against(await self._look_up(by_prefix(digests), self._peppers), wanted)

    async def verify_again(self, watch: Watch[Verification]) -> Verification:
        """Say whether a secret that was good is good now. Raises as `verify` does."""
        remembered = watch.recall()
        if remembered is None:
            remembered = await self._look_up_again(watch)
        note(watch, remembered)
        return remembered

    async def _look_up_again(self, watch: Watch[Verification]) -> Verification:
        digests, known = by_prefix(watch.digests), None
        if watch.known is not None and watch.peppers is not self._keys.peppers and self.drain is not None:
            # Its row may have been moved to a pepper that there was none of then, and the secret itself is not here.
            prefix = await self.drain.digest_prefix(*watch.known)
            if prefix is not None and prefix not in digests:
                digests, known = {prefix: watch.digests[0]}, watch.known
        try:
            return await self._look_up(digests, watch.peppers, known)
        except PepperNotLoadedError:
            if watch.known is None:
                return UNKNOWN  # to this connection: on another one the secret itself is presented
            raise

    async def verify_for(self, principal: Principal, presented: str, wanted: Wanted) -> Verification:
        """Say whether a secret that a principal received is good for what is wanted. Raises ForbiddenError too."""
        principal.require("tokens:verify")
        return await self.verify(presented, wanted)

    async def _look_up(
        self, digests: Mapping[bytes, bytes], peppers: KeyRing, known: tuple[str, int] | None = None
    ) -> Verification:
        """Look a secret up by its digests, under these peppers; one that is known already need not match again."""
        for _ in range(MOST_READS):
            incarnation = self._node.incarnation
            found = await self._reader.find(tuple(digests))
            row = found.row
            matches = row is not None and (
                known == (row["id"], row["secret_generation"]) or await self._matches(digests[row["asked"]], row)
            )
            # Nothing is waited for from here on: what is decided is decided on what the node has applied by now.
            if not self._node.is_current(found.epoch, found.sent_s, incarnation):
                continue
            if row is None and not set(found.peppers) <= set(peppers.ids):
                raise PepperNotLoadedError("secrets may be under a pepper that is not loaded")
            if row is None or not matches:
                for digest in digests.values():
                    self._denials.add(digest)
                return UNKNOWN
            verification = self._decide(digests[row["asked"]], row, found)
            if peppers is self._peppers and known is None:
                self._offer(digests[row["asked"]], tuple(digests.values()), verification)
            return verification
        raise ReadingUnavailableError("the token changes faster than it can be read")

    def _offer(self, digest: bytes, digests: Sequence[bytes], verification: Verification) -> None:
        """Have a good secret moved that was found under an older pepper of `self._peppers`."""
        credential = verification.credential
        if self.drain is None or digest == digests[0] or verification.failure is not None or credential is None:
            return
        self.drain.offer(
            Proved(
                organization=credential.organization,
                token_id=credential.token_id,
                generation=credential.generation,
                digest=digest,
                pepper_id=self._peppers.ids[digests.index(digest)],
                new_digest=digests[0],
                new_pepper_id=self._peppers.writing_id,
            )
        )

    def _decide(self, digest: bytes, row: asyncpg.Record, found: Found) -> Verification:
        verification = Verification(failure=failure_of(row), credential=credential_of(row))
        deadline_s = math.inf if row["left_s"] is None else found.sent_s + row["left_s"]
        if verification.failure is None and self._clock.steady() >= deadline_s:
            return Verification(failure=Failure.EXPIRED, credential=verification.credential)
        if verification.failure is not None:
            deadline_s = math.inf  # what the database says has ended stays so
        self._node.remember(digest, Entry(row["id"], verification, deadline_s))
        return verification

    async def _matches(self, digest: bytes, row: asyncpg.Record) -> bool:
        # Bound to the token that the row is joined with, so a verifier that was moved to another row matches nothing.
        bound = bound_digest(
            digest, organization=row["organization"], token_id=row["id"], generation=row["secret_generation"]
        )
        proof = (bound, row["verifier"])
        if self._proven.holds(*proof):
            return True
        proving = self._proving.get(proof)
        if proving is None:
            proving = self._proving[proof] = asyncio.ensure_future(self._hashing.verify(row["verifier"], bound))
            proving.add_done_callback(lambda _: self._proving.pop(proof))
        # One caller that goes away takes the hash from nobody else.
        if matches := await asyncio.shield(proving):
            self._proven.remember(*proof)
        return matches


def note(watch: Watch[Verification], verification: Verification | None) -> None:
    """Note whose secret it was proved to be, if that is known."""
    if watch.known is None and verification is not None and (credential := verification.credential) is not None:
        watch.known = credential.token_id, credential.generation


def by_prefix(digests: Iterable[bytes]) -> dict[bytes, bytes]:
    """Map where a secret is looked up, under each pepper in turn, to its digest."""
    return {digest[:DIGEST_PREFIX_BYTES]: digest for digest in digests}
