"""Sealing of the few secrets that must be shown again: AES-256-GCM (NIST SP 800-38D) under a key-encryption key.

A seal is bound to its row and column, so that a writer of the database cannot move one. This module must never keep a
key or a plaintext, nor say in an error anything but why. Nonces are 96 random bits, so a key-encryption key should give
way to a new one well before 2**32 seals (SP 800-38D, 8.3).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.keyring import KEY_BYTES, KeyRing
from service.secret_text import SecretText

NONCE_BYTES: Final = 12
_ASSOCIATED_DATA_LABEL = "entri/sealed-value/1"
_IDEMPOTENCY_LABEL = "entri/idempotent-replay/1"


class SealError(Exception):
    """A sealed value does not authenticate: it was moved, cut or changed, or sealed under another key."""


class SealKeyMissingError(SealError):
    """A sealed value names a key-encryption key that is not loaded: our trouble, and mended by loading it."""


@dataclass(frozen=True, slots=True)
class SealedValue:
    """A ciphertext with its 16-byte tag at the end, its 12-byte nonce, and the id of the key it was sealed under."""

    key_id: str
    nonce: bytes
    ciphertext: bytes

    def __repr__(self) -> str:
        """Show the key's id, which an operator needs, and no ciphertext."""
        return f"SealedValue(key_id={self.key_id!r}, …)"


def seal(
    ring: KeyRing, plaintext: SecretText, *, row_id: str, column: str, random_bytes: Callable[[int], bytes]
) -> SealedValue:
    """Seal a secret for one row and column under the ring's writing key.

    `random_bytes(12)` is the nonce: it must come from the operating system, since one nonce used twice breaks the key.
    """
    key_id = ring.writing_id
    nonce = random_bytes(NONCE_BYTES)
    octets = plaintext.reveal().encode("utf-8")
    return SealedValue(key_id, nonce, _cipher(ring, key_id).encrypt(nonce, octets, _associated(row_id, column)))


def unseal(ring: KeyRing, sealed: SealedValue, *, row_id: str, column: str) -> SecretText:
    """Open a seal at the row and column it was made for.

    Raises `SealKeyMissingError` for a key that is not loaded, `SealError` for whatever does not authenticate.
    """
    cipher = _cipher(ring, sealed.key_id)
    try:
        octets = cipher.decrypt(sealed.nonce, sealed.ciphertext, _associated(row_id, column))
    except (InvalidTag, ValueError):  # the latter for a nonce of an impossible length
        raise SealError("a sealed value does not authenticate for its row, column and key") from None
    return SecretText(octets.decode("utf-8"))


def reseal(
    ring: KeyRing, sealed: SealedValue, *, row_id: str, column: str, random_bytes: Callable[[int], bytes]
) -> SealedValue:
    """Seal under the ring's writing key what another key of it has sealed. Raises as `unseal` does."""
    plaintext = unseal(ring, sealed, row_id=row_id, column=column)
    return seal(ring, plaintext, row_id=row_id, column=column, random_bytes=random_bytes)


def idempotency_key_ring(ring: KeyRing, idempotency_key: str) -> KeyRing:
    """Return the ring that seals one idempotent command's secret for its replay: each key derived from one of ours.

    Whoever reads the database and our keys still lacks the idempotency key, which is kept only as an HMAC.
    """
    return ring.derived(lambda key: derive(key, _IDEMPOTENCY_LABEL, idempotency_key.encode("utf-8")))


def derive(key: bytes, label: str, *parts: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA-256 (RFC 5869) without salt; `info` is the label and parts, each behind its length.

    One label means one purpose: two purposes under one label would share a key.
    """
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=framed(label.encode("utf-8"), *parts)).derive(key)


def _cipher(ring: KeyRing, key_id: str) -> AESGCM:
    key = ring.key(key_id)
    if key is None:
        # The id comes from a row that others may have written, so only our own ids are quoted.
        raise SealKeyMissingError(f"a value is sealed under a key that is not loaded; loaded are {', '.join(ring.ids)}")
    return AESGCM(key)


def _associated(row_id: str, column: str) -> bytes:
    return framed(_ASSOCIATED_DATA_LABEL.encode("utf-8"), row_id.encode("utf-8"), column.encode("utf-8"))


def framed(*parts: bytes) -> bytes:
    """Join parts, each behind its length: without the lengths ("a", "bc") and ("ab", "c") would be the same bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
