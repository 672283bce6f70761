"""The vault: how secrets are issued, found again and replayed. Must never let a secret out but in a `SecretText`.

The log holds facts, the vault holds what proves a secret: a keyed digest's first bytes to find it by, an Argon2id
verifier to check it with. Its rows travel as companions of the events they belong to.
"""

import base64
import hmac
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from events.identifiers import derived_id, following_id
from events.statement import Pool, load
from service.hashing import HashingPool
from service.keyring import KeyRing, digest
from service.sealing import NONCE_BYTES, SealedValue, derive, framed, idempotency_key_ring, seal, unseal
from service.secret_format import generate, hint
from service.secret_text import SecretText

FIND_REPLAY: Final = load("service.statements", "find_replay")
FORGET_OLD_REPLAYS: Final = load("service.statements", "forget_old_replays")
DIGEST_PREFIX_BYTES: Final = 16
REPLAY_COLUMN: Final = "replays.ciphertext"


class KeysBehindError(Exception):
    """This process lacks a key that others write under: nothing is issued until its key files are up to date."""


@dataclass(slots=True, kw_only=True, eq=False)
class Keys:
    """The keys that live outside the database, the form of secrets, and where randomness comes from.

    The two rings of key files are replaced as the files change and as new keys may be written under
    (`service.key_following`): look them up each time, and take what is made of one for stale when it is another.
    """

    peppers: KeyRing
    keks: KeyRing
    data: KeyRing
    """The data key, sealed in the database: it stays when the others are replaced."""
    prefix: str
    random_bytes: Callable[[int], bytes]
    may_write: bool = field(default=True, init=False)
    """Not while this process lacks a key that others write under: an old one may be of no use to them any more."""
    _in_use: Counter[str] = field(default_factory=Counter, init=False, repr=False)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say of the keys that write now that something is on its way under them, until it is committed or given up.

        Whoever waits for nothing to be written under a key any more waits for that. Raises KeysBehindError.
        """
        if not self.may_write:
            raise KeysBehindError("this process lacks a key that others write under")
        names = written_under(self.peppers.writing_id, self.keks.writing_id)
        self._in_use.update(names)
        try:
            yield
        finally:
            self._in_use.subtract(names)

    @property
    def writes(self) -> frozenset[str]:
        """Name the keys, with their kind, that something is or may be written under."""
        on_its_way = (name for name, count in self._in_use.items() if count)
        return frozenset((*written_under(self.peppers.writing_id, self.keks.writing_id), *on_its_way))


def written_under(pepper_id: str, kek_id: str) -> tuple[str, str]:
    """Name a pepper and a key-encryption key with their kind."""
    return f"pepper/{pepper_id}", f"kek/{kek_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new secret, which token's it is to be, and what the vault keeps of it."""

    secret: SecretText
    hint: str
    organization: str
    token_id: str
    generation: int
    digest_prefix: bytes
    pepper_id: str
    verifier: str
    """Of the digest bound to organization, token and generation: no row but that one may hold it."""

    def row(self) -> dict[str, Any]:
        """Write the vault's row of this secret, for the companion."""
        return {
            "token_id": self.token_id,
            "generation": self.generation,
            "organization": self.organization,
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


async def issue(keys: Keys, hashing: HashingPool, *, organization: str, token_id: str, generation: int) -> Issued:
    """Make a secret of a token, generation 0 for its first, and hash it. Raises HashingOverloadError."""
    secret = generate(keys.prefix, keys.random_bytes)
    pepper_id = keys.peppers.writing_id
    digested = digest(keys.peppers, secret.reveal(), pepper_id=pepper_id)
    bound = bound_digest(digested, organization=organization, token_id=token_id, generation=generation)
    return Issued(
        secret=secret,
        hint=hint(keys.prefix, secret),
        organization=organization,
        token_id=token_id,
        generation=generation,
        digest_prefix=digested[:DIGEST_PREFIX_BYTES],
        pepper_id=pepper_id,
        verifier=await hashing.hash(bound),
    )


async def bind_anew(keys: Keys, hashing: HashingPool, issued: Issued, *, generation: int) -> Issued:
    """Bind a secret that nobody has seen yet to another generation. Raises HashingOverloadError and UnknownKeyError."""
    digested = digest(keys.peppers, issued.secret.reveal(), pepper_id=issued.pepper_id)
    bound = bound_digest(digested, organization=issued.organization, token_id=issued.token_id, generation=generation)
    return replace(issued, generation=generation, verifier=await hashing.hash(bound))


def bound_digest(digested: bytes, *, organization: str, token_id: str, generation: int) -> bytes:
    """Return what Argon2id hashes: 32 bytes that follow from a secret's digest and from whose secret it is.

    So a verifier answers for its own row alone: whoever can write to the database cannot point it at another token.
    """
    whose = framed(organization.encode("utf-8"), token_id.encode("utf-8"), str(generation).encode("ascii"))
    return hmac.digest(digested, whose, "sha256")


def idempotency_key(keys: Keys, text: str, *, principal: tuple[str, str], command: dict[str, Any]) -> IdempotencyKey:
    """Bind a key to (organization, actor id) and to the command's input."""
    # Under the data key, so that no newer key makes yesterday's idempotency keys unknown.
    mac_key = derive(data_key(keys), "entri/idempotency-key/1")
    mac = hmac.digest(mac_key, orjson.dumps([*principal, text]), "sha256")
    fingerprint = hmac.digest(mac_key, orjson.dumps(command, option=orjson.OPT_SORT_KEYS), "sha256")
    return IdempotencyKey(text=text, event_id=derived_id("evt", "idempotency", mac.hex()), fingerprint=fingerprint)


def data_key(keys: Keys) -> bytes:
    """Return the 32 bytes of the data key."""
    return next(iter(keys.data.all))


def replay_row(
    keys: Keys, key: IdempotencyKey, *, secret: SecretText, token_id: str, organization: str
) -> dict[str, Any]:
    """Write the row that answers a retry with the same secret.

    It is sealed twice: under a key derived from data key and idempotency key, and around that under the key-encryption
    key, so that the outer seal can be renewed by whoever does not know the idempotency key.
    """
    where = {"row_id": key.event_id, "column": REPLAY_COLUMN}
    inner = seal(idempotency_key_ring(keys.data, key.text), secret, **where, random_bytes=keys.random_bytes)
    packed = SecretText(base64.b64encode(inner.nonce + inner.ciphertext).decode("ascii"))
    sealed = seal(keys.keks, packed, **where, random_bytes=keys.random_bytes)
    return {
        "event_id": key.event_id,
        "organization": organization,
        "token_id": token_id,
        "fingerprint": bytea(key.fingerprint),
        "key_id": sealed.key_id,
        "nonce": bytea(sealed.nonce),
        "ciphertext": bytea(sealed.ciphertext),
    }


def open_replay(keys: Keys, key: IdempotencyKey, sealed: SealedValue) -> SecretText:
    """Open both seals of a replay. Raises SealError."""
    where = {"row_id": key.event_id, "column": REPLAY_COLUMN}
    packed = base64.b64decode(unseal(keys.keks, sealed, **where).reveal())
    inner_ring = idempotency_key_ring(keys.data, key.text)
    inner = SealedValue(inner_ring.writing_id, packed[:NONCE_BYTES], packed[NONCE_BYTES:])
    return unseal(inner_ring, inner, **where)


async def find_replay(pool: Pool, keys: Keys, key: IdempotencyKey) -> Replay | None:
    """Find what the key led to, with its secret while that may still be shown. Raises SealError."""
    row = await pool.fetchrow(FIND_REPLAY.text, key.event_id, following_id(key.event_id, 1))
    if row is None:
        return None
    same_input = hmac.compare_digest(row["fingerprint"], key.fingerprint)
    secret = None
    if same_input and row["ciphertext"] is not None and row["is_fresh"]:
        secret = open_replay(keys, key, SealedValue(row["key_id"], row["nonce"], row["ciphertext"]))
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
