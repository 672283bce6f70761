"""The keys that live outside the database: found, created on an empty vault, and held against what the vault needs.

Must never create a key where the vault needs one that is missing, nor start with another key under a known id.
"""

import asyncio
import hmac
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from events.statement import Pool, load
from service import keyring
from service.keyring import KeyFileError, KeyFileExistsError, KeyRing
from service.log_key import LogKey, log_key

VAULT_KEY_IDS: Final = load("service.statements", "vault_key_ids")
REGISTER_KEY: Final = load("service.statements", "register_key")
MEANINGS: Final = {"pepper": "the pepper file", "kek": "the key-encryption key file"}
LOG_KEY_FILE: Final = "the log key file"


async def open_key_file(pool: Pool, kind: str, path: Path, random_bytes: Callable[[int], bytes]) -> KeyRing:
    """Load the keys of a kind (`pepper`, `kek`), or create the file on an empty vault. Raises KeyFileError."""
    what = MEANINGS[kind]
    on_record = [row["key_id"] for row in await pool.fetch(VAULT_KEY_IDS.text, kind, None)]
    ring = await asyncio.to_thread(load_or_create, path, what, on_record, random_bytes=random_bytes)
    rows = await pool.fetch(VAULT_KEY_IDS.text, kind, ring.ids)
    if lacking := [row["key_id"] for row in rows if row["is_needed"]]:
        raise KeyFileError(f"{what} {path} lacks {', '.join(lacking)}, which the database needs: add it back")
    await register(pool, kind, ring, where=f"{what} {path}")
    return ring


async def open_log_key(path: Path, signed_by: Sequence[str], random_bytes: Callable[[int], bytes]) -> LogKey:
    """Load the key that signs checkpoints, or create it where none was ever signed. Raises KeyFileError.

    `signed_by` are the ids of the keys that the newest checkpoints on record were signed with: each must be in the
    file, so that the key is never changed by accident. To change it, put the new one above the old one.
    """
    ring = await asyncio.to_thread(load_or_create, path, LOG_KEY_FILE, sorted(signed_by), random_bytes=random_bytes)
    key = log_key(ring)
    if lacking := set(signed_by) - set(key.ids):
        raise KeyFileError(
            f"{LOG_KEY_FILE} {path} lacks {', '.join(sorted(lacking))}, which signed the newest checkpoint: add it "
            "back, below the key that is to sign from now on"
        )
    return key


def load_or_create(path: Path, what: str, on_record: Sequence[str], *, random_bytes: Callable[[int], bytes]) -> KeyRing:
    """Load a key file, or create it when no key was ever on record. Raises KeyFileError."""
    if is_there(path, what):
        return keyring.load(path, what)
    if on_record:
        raise KeyFileError(
            f"{what} {path} is missing, and the database holds what was written under {', '.join(on_record)}: "
            "restore the file from its backup; a new key cannot take its place"
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileError(f"the folder of {what} {path} cannot be made: {error.strerror}") from None
    try:
        return keyring.create(path, random_bytes)
    except KeyFileExistsError:
        return keyring.load(path, what)


def is_there(path: Path, what: str) -> bool:
    """Tell a file that is missing from one that this process cannot get to. Raises KeyFileError."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise KeyFileError(f"{what} {path} cannot be reached: {error.strerror}") from None
    return True


async def register(pool: Pool, kind: str, ring: KeyRing, *, where: str) -> None:
    """Put each key on record, or notice that another key is on record under its id. Raises KeyFileError."""
    for key_id in ring.ids:
        check = hmac.digest(ring.key(key_id) or b"", f"entri/key-check/{kind}/{key_id}".encode(), "sha256")
        on_record = None
        while on_record is None:  # a key that another process registers meanwhile is there for the next statement
            on_record = await pool.fetchval(REGISTER_KEY.text, kind, key_id, check)
        if not hmac.compare_digest(on_record, check):
            raise KeyFileError(f"{where} holds another key under the id {key_id} than the database was written with")
