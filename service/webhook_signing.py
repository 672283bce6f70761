"""Signatures of webhooks, after Standard Webhooks (https://www.standardwebhooks.com, specification 1.0.0).

The key is the UTF-8 bytes of the whole API secret that is designated, as the organization was shown it; a consumer
configures it as `whsec_` and the base64 of those bytes. While a rotation overlaps, both secrets sign, so that consumers
may change over at any time. Must never keep a secret, nor sign with one that has ended.
"""

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from events.statement import Pool
from events.tokens import TokenState
from projections.tokens import find_signer
from service.seals import find_seal
from service.secret_text import SecretText
from service.vault import Keys

VERSION: Final = "v1"
MOST_READS: Final = 3
"""How often the signer is looked up that keeps changing meanwhile."""


class NoSignerError(Exception):
    """The organization has no API secret that signs its webhooks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a webhook delivers."""

    id: str
    timestamp: int
    """In seconds since 1970."""
    payload: bytes = field(repr=False)

    @property
    def signed(self) -> bytes:
        """Write what is signed."""
        return b".".join((self.id.encode("utf-8"), str(self.timestamp).encode("ascii"), self.payload))


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSigning:
    """Signs for organizations, with what the vault keeps sealed."""

    pool: Pool
    keys: Keys
    clock: Callable[[], datetime]

    async def sign(self, organization: str, message: Message) -> str:
        """Return the value of the header `webhook-signature`. Raises NoSignerError and SealError."""
        for _ in range(MOST_READS):
            signer = await find_signer(self.pool, organization)
            if signer is None:
                raise NoSignerError("the organization has no API secret that signs its webhooks")
            secrets = [await self._opened(signer, generation) for generation in generations(signer, self.clock())]
            if secrets[0] is not None:
                return " ".join(signature(secret, message) for secret in secrets if secret is not None)
        raise NoSignerError("the secret that signs the organization's webhooks changes faster than it can be read")

    async def _opened(self, signer: TokenState, generation: int) -> SecretText | None:
        organization = signer.organization
        return await find_seal(
            self.pool, self.keys, token_id=signer.id, generation=generation, organization=organization
        )


def generations(signer: TokenState, now: datetime) -> tuple[int, ...]:
    """List the generations of a token whose secrets work, the newest first."""
    if signer.has_overlap(now):
        return signer.generation, signer.generation - 1
    return (signer.generation,)


def signature(secret: SecretText, message: Message) -> str:
    """Sign with one secret."""
    key = secret.reveal().encode("utf-8")
    return f"{VERSION},{base64.b64encode(hmac.digest(key, message.signed, 'sha256')).decode('ascii')}"
