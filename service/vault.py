"""The vault: how secrets are issued, found again and replayed. Must never let a secret out but in a `SecretText`.

The log holds facts, the vault holds what proves a secret: a keyed digest's first bytes to find it by, an Argon2id
verifier to check it with. Its rows travel as companions of the events they belong to.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from events.identifiers import derived_id
from events.statement import Pool, load
from service.hashing import HashingPool
from service.keyring import KeyRing, digest
from service.sealing import SealedValue, derive, idempotency_key_ring, seal, unseal
from service.secret_format import generate, hint
from service.secret_text import SecretText

FIND_REPLAY: Final = load("service.statements", "find_replay")
FORGET_OLD_REPLAYS: Final = load("service.statements", "forget_old_replays")
DIGEST_PREFIX_BYTES: Final = 16
REPLAY_COLUMN: Final = "replays.ciphertext"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys that live outside the database, the form of secrets, and where randomness comes from."""

    peppers: KeyRing
    keks: KeyRing
    prefix: str
    random_bytes: Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new secret and what the vault keeps of it."""

    secret: SecretText
    hint: str
    digest_prefix: bytes
    pepper_id: str
    verifier: str

    def row(self, *, token_id: str, generation: int, organization: str) -> dict[str, Any]:
        """Write the vault's row of this secret, for the companion."""
        return {
            "token_id": token_id,
            "generation": generation,
            "organization": organization,
            "digest_prefix": bytea(self.digest_prefix),
            "pepper_id": self.pepper_id,
            "verifier": self.verifier,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """A client's idempotency key, bound to the principal that gave it and to the input it came with."""

    text: str
    event_id: str
    """Derived from principal and key by HMAC: the first event of whatever the key leads to."""
    fingerprint: bytes
    """An HMAC of the input, to tell another command under the same key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What an idempotency key led to before."""

    token_id: str
    organization_position: int
    same_input: bool
    secret: SecretText | None


async def issue(keys: Keys, hashing: HashingPool) -> Issued:
    """Make a secret and hash it. Raises HashingOverloadError."""
    secret = generate(keys.prefix, keys.random_bytes)
    pepper_id = keys.peppers.writing_id
    digested = digest(keys.peppers, secret.reveal(), pepper_id=pepper_id)
    return Issued(
        secret=secret,
        hint=hint(keys.prefix, secret),
        digest_prefix=digested[:DIGEST_PREFIX_BYTES],
        pepper_id=pepper_id,
        verifier=await hashing.hash(digested),
    )


def idempotency_key(keys: Keys, text: str, *, principal: tuple[str, str], command: dict[str, Any]) -> IdempotencyKey:
    """Bind a key to (organization, actor id) and to the command's input."""
    # Under the oldest key, so that adding a newer one does not make yesterday's keys unknown.
    oldest = keys.keks.key(keys.keks.ids[-1]) or b""
    mac_key = derive(oldest, "entri/idempotency-key/1")
    mac = hmac.digest(mac_key, orjson.dumps([*principal, text]), "sha256")
    fingerprint = hmac.digest(mac_key, orjson.dumps(command, option=orjson.OPT_SORT_KEYS), "sha256")
    return IdempotencyKey(text=text, event_id=derived_id("evt", "idempotency", mac.hex()), fingerprint=fingerprint)


def replay_row(
    keys: Keys, key: IdempotencyKey, *, secret: SecretText, token_id: str, organization: str
) -> dict[str, Any]:
    """Write the row that answers a retry with the same secret: sealed under KEK and idempotency key together."""
    ring = idempotency_key_ring(keys.keks, key.text)
    sealed = seal(ring, secret, row_id=key.event_id, column=REPLAY_COLUMN, random_bytes=keys.random_bytes)
    return {
        "event_id": key.event_id,
        "organization": organization,
        "token_id": token_id,
        "fingerprint": bytea(key.fingerprint),
        "key_id": sealed.key_id,
        "nonce": bytea(sealed.nonce),
        "ciphertext": bytea(sealed.ciphertext),
    }


async def find_replay(pool: Pool, keys: Keys, key: IdempotencyKey) -> Replay | None:
    """Find what the key led to, with its secret while that may still be shown. Raises SealError."""
    row = await pool.fetchrow(FIND_REPLAY.text, key.event_id)
    if row is None:
        return None
    same_input = hmac.compare_digest(row["fingerprint"], key.fingerprint)
    secret = None
    if same_input and row["ciphertext"] is not None and row["is_fresh"]:
        sealed = SealedValue(row["key_id"], row["nonce"], row["ciphertext"])
        ring = idempotency_key_ring(keys.keks, key.text)
        secret = unseal(ring, sealed, row_id=key.event_id, column=REPLAY_COLUMN)
    return Replay(
        token_id=row["token_id"],
        organization_position=row["organization_position"],
        same_input=same_input,
        secret=secret,
    )


async def forget_old_replays(pool: Pool) -> None:
    """Delete the sealed secrets of replays that are older than 24 hours."""
    await pool.execute(FORGET_OLD_REPLAYS.text)


def bytea(value: bytes) -> str:
    r"""Write bytes as PostgreSQL reads them from JSON text: `\x` and hexadecimal."""
    return "\\x" + value.hex()
