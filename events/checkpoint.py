"""Checkpoints and signed notes: the text that says how large a log's tree is and what its root is, and who signed it.

The text is that of https://c2sp.org/tlog-checkpoint, the note around it that of https://c2sp.org/signed-note. Must
never sign or verify: there is no cryptography here but the hash that names a key.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from events.merkle import EMPTY_ROOT, HASH_BYTES

ED25519: Final = b"\x01"
"""The type of signature, as signed-note numbers them."""
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
KEY_ID_BYTES: Final = 4
DASH: Final = "\N{EM DASH}"
MOST_NOTE_BYTES: Final = 1_000_000
MOST_SIGNATURES: Final = 100
"""As Go's sumdb/note; the specification asks for at least 16."""
NAME: Final = re.compile(r"[^\s+\x00-\x1f]+")
SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class CheckpointError(ValueError):
    """A checkpoint, note or key is not what it should be; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """That the tree of this origin had this size and root. Raises CheckpointError where it cannot be written."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse what could not be read again."""
        check_name(self.origin, "the origin")
        if not 0 <= self.size < 2**63:
            raise CheckpointError("the tree size of a checkpoint is from 0 to 2^63 - 1")
        if len(self.root) != HASH_BYTES:
            raise CheckpointError(f"the root hash of a checkpoint is {HASH_BYTES} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointError("the root hash of an empty tree is the SHA-256 of nothing")

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{encode(self.root)}\n"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note: the signer's name, the id of its key, and the signature itself."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line without its newline."""
        return f"{DASH} {self.name} {encode(self.key_id + self.signature)}"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, not yet verified."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of an Ed25519 key under a name, written `name+id+key` ("vkey")."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        """Refuse what could not be read again."""
        check_name(self.name, "the name of a key")
        if len(self.public_key) != KEY_BYTES:
            raise CheckpointError(f"an Ed25519 public key is {KEY_BYTES} bytes")

    @property
    def key_id(self) -> bytes:
        """The four bytes that name this key in a note."""
        return key_id(self.name, self.public_key)

    @property
    def text(self) -> str:
        """The key as it is handed out."""
        return f"{self.name}+{self.key_id.hex()}+{encode(ED25519 + self.public_key)}"


def key_id(name: str, public_key: bytes) -> bytes:
    """Name an Ed25519 key in notes: SHA-256(name || 0x0A || 0x01 || public key), the first four bytes."""
    return sha256(name.encode() + b"\n" + ED25519 + public_key).digest()[:KEY_ID_BYTES]


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint's text, the part of a note that is signed; extension lines are skipped. Raises."""
    if not text.endswith("\n"):
        raise CheckpointError("the checkpoint does not end with a newline")
    lines = text[:-1].split("\n")
    if len(lines) < 3:  # noqa: PLR2004 -- the lines named in the message
        raise CheckpointError(f"a checkpoint has three lines: origin, tree size, root hash; this has {len(lines)}")
    if "" in lines:
        raise CheckpointError(f"line {lines.index('') + 1} of the checkpoint is empty")
    origin, size, root = lines[:3]
    if SIZE.fullmatch(size) is None:
        raise CheckpointError("the tree size (line 2) is not a decimal number of at most 19 digits with no zero before")
    return Checkpoint(origin, int(size), decode(root, "the root hash (line 3)"))


def write_note(text: str, signatures: Sequence[Signature]) -> str:
    """Put a note together. Raises CheckpointError where it would not be read again as what it was."""
    note = text + "\n" + "".join(f"{signature.line}\n" for signature in signatures)
    if parse_note(note) != Note(text, tuple(signatures)):
        raise CheckpointError("the text or a signature has a form that a note cannot hold")
    return note


def parse_note(note: str) -> Note:
    """Take a note apart, strictly. Whether a signature is good is not looked at. Raises CheckpointError."""
    if len(note.encode(errors="surrogatepass")) > MOST_NOTE_BYTES:
        raise CheckpointError(f"the note is longer than {MOST_NOTE_BYTES} bytes")
    if CONTROL.search(note) is not None or not is_unicode(note):
        raise CheckpointError("the note holds a control character or is not Unicode text (a line ends with LF alone)")
    if not note.endswith("\n"):
        raise CheckpointError("the note does not end with a newline")
    body, blank, signed = note.rpartition("\n\n")
    if not blank:
        raise CheckpointError("the note has no blank line between its text and its signatures")
    lines = signed.split("\n")[:-1]
    if not 1 <= len(lines) <= MOST_SIGNATURES:
        raise CheckpointError(f"the note must have from 1 to {MOST_SIGNATURES} signatures after its last blank line")
    return Note(f"{body}\n", tuple(parse_signature(line, number) for number, line in enumerate(lines, 1)))


def parse_signature(line: str, number: int) -> Signature:
    """Read one signature line, the `number`th. Raises CheckpointError."""
    where = f"signature line {number}"
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != DASH or not encoded:
        raise CheckpointError(f"{where} is not an em dash, a space, the key's name, a space and the signature")
    check_name(name, f"the name in {where}")
    octets = decode(encoded, f"the signature in {where}")
    if len(octets) <= KEY_ID_BYTES:
        raise CheckpointError(f"the signature in {where} is too short: it is {KEY_ID_BYTES} bytes of key id and more")
    return Signature(name, octets[:KEY_ID_BYTES], octets[KEY_ID_BYTES:])


def parse_verifier_key(text: str) -> VerifierKey:
    """Read a verifier key ("vkey"), with or without a newline at its end. Raises CheckpointError."""
    # Base64 has "+" too, so only the first two part the three.
    name, _, rest = text.removesuffix("\n").partition("+")
    claimed, _, encoded = rest.partition("+")
    if not encoded:
        raise CheckpointError("a verifier key is name+id+key, as `entri log key` prints it")
    octets = decode(encoded, "the key")
    if octets[:1] != ED25519:
        raise CheckpointError("the verifier key is not an Ed25519 key (type 1)")
    key = VerifierKey(name, octets[1:])
    if claimed != key.key_id.hex():
        raise CheckpointError("the id in the verifier key is not that of its name and key: a character is wrong")
    return key


def check_name(name: str, what: str) -> None:
    """Refuse a name that a note cannot hold. Raises CheckpointError."""
    if NAME.fullmatch(name) is None or not is_unicode(name):
        raise CheckpointError(f"{what} is empty or holds a space, a control character or a plus sign")


def is_unicode(text: str) -> bool:
    """Say whether the text can be written as UTF-8: it holds no lone surrogate."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def encode(octets: bytes) -> str:
    """Write bytes in the base64 of RFC 4648, section 4."""
    return base64.b64encode(octets).decode("ascii")


def decode(text: str, what: str) -> bytes:
    """Read base64 that is written the one right way. Raises CheckpointError."""
    try:
        octets = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except ValueError:
        octets = None
    if octets is None or encode(octets) != text:
        raise CheckpointError(f"{what} is not standard base64 with its padding")
    return octets
