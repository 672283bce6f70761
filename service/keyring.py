"""Rings of 256-bit keys that live outside the database: the peppers of digests and the key-encryption keys of seals.

A key file holds one `id:base64(32 bytes)` a line; blank lines and lines that start with `#` are skipped; the first key
writes and all can read. Nothing here may ever print, log or quote key material, or accept a file that others can read.
"""

import base64
import binascii
import hmac
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

KEY_BYTES = 32
BLOCK_BYTES = 64

_FIRST_ID = "k1"
_NUMBERED = re.compile(r"k([1-9][0-9]{0,8})")
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LINE_RULE = "one key a line as id:base64(32 bytes), the id of up to 32 lower-case letters, digits and hyphens"
_NEW_KEY = "`openssl rand -base64 32` makes one"
_MAX_FILE_BYTES = 65_536
_HEADER = """\
# One key a line, id:base64(32 bytes). All are read; written under is the first that every process can read. Keep a
# copy, and keep it apart from the database: what was written under a lost key is lost.
"""


class KeyFileError(Exception):
    """A key file cannot be used; the message says what is wrong and what would be right, and quotes no line of it."""


class KeyFileExistsError(KeyFileError):
    """Another process or an operator has already put a file there: load that one."""


class UnknownKeyError(Exception):
    """A row names a key that is not loaded: our trouble (503), not the caller's (401)."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class KeyRing:
    """One or more 32-byte keys by id, the writing one first; raises `ValueError` for no keys or another length."""

    _keys: Mapping[str, bytes]

    def __post_init__(self) -> None:
        """Take a read-only copy; a mapping proxy can be neither pickled nor deep-copied, so no `asdict` spills keys."""
        if not self._keys or any(len(key) != KEY_BYTES for key in self._keys.values()):
            raise ValueError(f"a key ring holds at least one key, and each is {KEY_BYTES} bytes")
        object.__setattr__(self, "_keys", MappingProxyType(dict(self._keys)))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all readable keys, the writing one first."""
        return tuple(self._keys)

    @property
    def writing_id(self) -> str:
        """The id of the key that new values are written under."""
        return next(iter(self._keys))

    @property
    def all(self) -> Iterable[bytes]:
        """All readable keys, the writing one first."""
        return self._keys.values()

    def key(self, key_id: str) -> bytes | None:
        """Return the 32 bytes of a key, or None where it is not loaded."""
        return self._keys.get(key_id)

    def writing_with(self, key_id: str) -> "KeyRing":
        """Return a ring of the same keys in which this one writes. Raises `KeyError` where it is not among them."""
        return KeyRing({key_id: self._keys[key_id], **self._keys})

    def reading_too(self, other: "KeyRing") -> "KeyRing":
        """Return a ring that reads another's keys as well, after its own."""
        return KeyRing({**self._keys, **{i: other.key(i) or b"" for i in other.ids if i not in self._keys}})

    def derived(self, derive: Callable[[bytes], bytes]) -> "KeyRing":
        """Return a ring with the same ids in the same order, each key replaced by what `derive` makes of it."""
        return KeyRing({key_id: derive(key) for key_id, key in self._keys.items()})

    def __repr__(self) -> str:
        """Show the ids, which rows name in the open, and no key."""
        return f"KeyRing(ids={self.ids!r})"


def load(path: Path, what: str) -> KeyRing:
    """Read a key file; `what` names it in messages ("the pepper file"). Raises `KeyFileError`."""
    where = f"{what} {path}"
    try:
        octets = _read_private(path, where)
    except FileNotFoundError:
        raise KeyFileError(f"{where} does not exist; it must hold {_LINE_RULE} ({_NEW_KEY})") from None
    except OSError as error:
        raise KeyFileError(f"{where} cannot be read ({error.strerror}); this process's user must own it") from None
    try:
        return from_text(octets.decode("utf-8"), where)
    except UnicodeDecodeError:
        raise KeyFileError(f"{where} is not UTF-8 text; it must hold {_LINE_RULE}") from None


def from_text(text: str, what: str) -> KeyRing:
    """Read the text of a key file, from wherever it came; `what` names it in messages. Raises `KeyFileError`."""
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        where = f"{what}, line {number}"
        key_id, key = _parse(entry, where)
        if key_id in keys:
            raise KeyFileError(f"{where}: an earlier line has the same id; give each key its own")
        keys[key_id] = key
    if not keys:
        raise KeyFileError(f"{what} holds no key; it must hold {_LINE_RULE} ({_NEW_KEY})")
    return KeyRing(keys)


def create(path: Path, random_bytes: Callable[[int], bytes]) -> KeyRing:
    """Write a new file with one random key, mode 0600, whole and durable or not at all, never over another.

    `random_bytes(32)` must come from the operating system. Raises `KeyFileExistsError` where `path` exists, so that of
    several processes that start together one creates and the others load, and `KeyFileError` where it cannot write.
    """
    ring = KeyRing({_FIRST_ID: random_bytes(KEY_BYTES)})
    text = f"{_HEADER}{_line(_FIRST_ID, ring)}"
    try:
        with _drafted(path, text.encode("ascii"), random_bytes) as draft:
            # A link fails where the name is taken; a rename would replace a key that rows already depend on.
            path.hardlink_to(draft)
    except FileExistsError:
        raise KeyFileExistsError(f"{path} already exists and is left as it is") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be created ({error.strerror}); its folder must be writable") from None
    return ring


def put_first(path: Path, what: str, key_id: str, *, random_bytes: Callable[[int], bytes]) -> None:
    """Put a new random key before the others of a file, whole and durable or not at all; its owner and mode stay.

    One process at a time may do so. Raises `KeyFileError`, also where the file cannot be used as it is.
    """
    path = path.resolve()  # a link stays one
    if key_id in load(path, what).ids:
        raise KeyFileError(f"{what} {path} has a key {key_id} already")
    line = _line(key_id, KeyRing({key_id: random_bytes(KEY_BYTES)}))
    try:
        status = path.stat()
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        first = next(n for n, text in enumerate(lines) if text.strip() and not text.strip().startswith("#"))
        text = "".join((*lines[:first], line, *lines[first:]))
        with _drafted(path, text.encode("utf-8"), random_bytes) as draft:
            if (status.st_uid, status.st_gid) != (draft.stat().st_uid, draft.stat().st_gid):
                os.chown(draft, status.st_uid, status.st_gid)
            draft.replace(path)
    except OSError as error:
        raise KeyFileError(
            f"{what} {path} cannot be written ({error.strerror}): run this as its owner, with its folder writable"
        ) from None


def next_id(known: Iterable[str]) -> str:
    """Name a new key: k and the number after the highest of those that are known."""
    numbers = [int(match[1]) for key_id in known if (match := _NUMBERED.fullmatch(key_id))]
    return f"k{max(numbers, default=0) + 1}"


def digest(ring: KeyRing, secret: str, *, pepper_id: str) -> bytes:
    """Return HMAC-SHA-256 (RFC 2104) of the secret's UTF-8 under one pepper: 32 bytes. Raises `UnknownKeyError`."""
    pepper = ring.key(pepper_id)
    if pepper is None:
        raise UnknownKeyError(f"a pepper is not loaded; loaded are {', '.join(ring.ids)}")
    # Header values may hold lone surrogates; they are encoded too, so that no presented text can raise here.
    return hmac.digest(pepper, secret.encode("utf-8", "surrogatepass"), "sha256")


def digesting(ring: KeyRing) -> Callable[[str], list[bytes]]:
    """Make the function that returns a secret's digests under every readable pepper, the writing one first.

    What depends on a pepper alone is computed once, as RFC 2104 suggests in section 4: a key that is looked up in
    memory takes half as long.
    """
    states = [(sha256(pad(key, 0x36)), sha256(pad(key, 0x5C))) for key in ring.all]

    def digests(secret: str) -> list[bytes]:
        encoded = secret.encode("utf-8", "surrogatepass")
        made = []
        for inner_state, outer_state in states:
            inner, outer = inner_state.copy(), outer_state.copy()
            inner.update(encoded)
            outer.update(inner.digest())
            made.append(outer.digest())
        return made

    return digests


def pad(key: bytes, octet: int) -> bytes:
    """Return RFC 2104's padded key, one block of SHA-256: `octet` is 0x36 for the inner hash, 0x5C for the outer."""
    return bytes(byte ^ octet for byte in key.ljust(BLOCK_BYTES, b"\0"))


def _read_private(path: Path, where: str) -> bytes:
    # Not blocking, so that a named pipe is refused instead of waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        # The open file is judged, not the path, which may lead elsewhere by the time it is read.
        _refuse_unsafe(os.fstat(descriptor), path, where=where)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(_MAX_FILE_BYTES)
    finally:
        os.close(descriptor)


def _refuse_unsafe(status: os.stat_result, path: Path, *, where: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{where} is not a regular file")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(status.st_mode)
        raise KeyFileError(f"{where} is open to other users (mode {mode:04o}); run: chmod 600 {path}")
    if status.st_size > _MAX_FILE_BYTES:
        raise KeyFileError(f"{where} is larger than {_MAX_FILE_BYTES} bytes; it must hold {_LINE_RULE}")


def _parse(entry: str, where: str) -> tuple[str, bytes]:
    key_id, _, encoded = entry.partition(":")
    if _ID.fullmatch(key_id) is None:
        # Not quoted: where the id was forgotten, this is the key.
        raise KeyFileError(f"{where} does not start with an id; it must be {_LINE_RULE}")
    try:
        key = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        raise KeyFileError(f"{where}: what follows the id is not base64 ({_NEW_KEY})") from None
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"{where}: the key is {len(key)} bytes and must be {KEY_BYTES} ({_NEW_KEY})")
    return key_id, key


def _line(key_id: str, ring: KeyRing) -> str:
    return f"{key_id}:{base64.b64encode(ring.key(key_id) or b'').decode('ascii')}\n"


@contextmanager
def _drafted(path: Path, octets: bytes, random_bytes: Callable[[int], bytes]) -> Iterator[Path]:
    """Write a draft beside a file, to be given the file's name; no draft is left, and the name is durable."""
    draft = path.with_name(f".{path.name}.{random_bytes(8).hex()}.new")
    try:
        _write_durably(draft, octets)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _write_durably(path: Path, octets: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
