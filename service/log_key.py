"""The key that signs checkpoints of the log (Ed25519, RFC 8032), and the verifying of what it signed.

The key's name in a note is the checkpoint's origin. Must never print a private key, nor sign what is not a checkpoint.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from events.checkpoint import (
    Checkpoint,
    CheckpointError,
    Signature,
    VerifierKey,
    key_id,
    parse_checkpoint,
    parse_note,
    parse_verifier_key,
    write_note,
)
from service.keyring import KeyRing

ID_CHARACTERS: Final = 16


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class LogKey:
    """The private key that signs, and what all keys of its file are called."""

    _private: Ed25519PrivateKey
    ids: tuple[str, ...]
    """The ids of the keys in the file, the signing one first: 16 hexadecimal digits of their public keys' SHA-256."""

    @property
    def id(self) -> str:
        """The id of the key that signs. It does not depend on the origin, as the id in a note does."""
        return self.ids[0]

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public half."""
        return self._private.public_key().public_bytes_raw()

    def sign(self, checkpoint: Checkpoint) -> str:
        """Sign a checkpoint; answers the text of the note."""
        name, text = checkpoint.origin, checkpoint.text
        signature = self._private.sign(text.encode())
        return write_note(text, [Signature(name, key_id(name, self.public_key), signature)])

    def verifier_key(self, origin: str) -> str:
        """Write the public key under this origin ("vkey"), as those who verify need it."""
        return VerifierKey(origin, self.public_key).text

    def __repr__(self) -> str:
        """Show the ids, which the database names in the open, and no key."""
        return f"LogKey(ids={self.ids!r})"


def log_key(ring: KeyRing) -> LogKey:
    """Make the key that signs of the first of a key file's keys, which are Ed25519 seeds."""
    keys = [Ed25519PrivateKey.from_private_bytes(seed) for seed in ring.all]
    return LogKey(keys[0], tuple(fingerprint(key.public_key().public_bytes_raw()) for key in keys))


def fingerprint(public_key: bytes) -> str:
    """Name a public key whatever its origin."""
    return sha256(public_key).hexdigest()[:ID_CHARACTERS]


def verify(note: str, vkey: str) -> Checkpoint:
    """Read the checkpoint that this key signed. Raises CheckpointError, which says what is wrong.

    Signatures of other keys are skipped, as signed-note asks, and a wrong one of this key refuses the whole note.
    """
    parsed, key = parse_note(note), parse_verifier_key(vkey)
    own = [one for one in parsed.signatures if one.name == key.name and one.key_id == key.key_id]
    if not own:
        signers = ", ".join(f"{one.name}+{one.key_id.hex()}" for one in parsed.signatures)
        raise CheckpointError(f"the note is not signed by {key.name}+{key.key_id.hex()} but by {signers}")
    public_key = Ed25519PublicKey.from_public_bytes(key.public_key)
    for one in own:
        try:
            public_key.verify(one.signature, parsed.text.encode())
        except InvalidSignature:
            raise CheckpointError(
                f"the signature of {key.name} is wrong: the text is not what it signed, or another key did"
            ) from None
    checkpoint = parse_checkpoint(parsed.text)
    if checkpoint.origin != key.name:
        raise CheckpointError(f"the checkpoint is about {checkpoint.origin}, and {key.name} signed it")
    return checkpoint
