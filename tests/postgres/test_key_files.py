"""The keys outside the database: made on an empty vault only, held against what the vault was written under."""

import asyncio
import base64
import os
from pathlib import Path

import pytest

from events.statement import Pool
from service.key_files import open_key_file
from service.keyring import KeyFileError, KeyRing
from tests.postgres.conftest import Database

SECRET = "insert into vault_secrets values ('tok_1', 0, 'org_1', $1, $2, '$argon2id$')"


def key_file(path: Path, **keys: int) -> Path:
    """Write a key file; each key is one byte repeated."""
    lines = [f"{key_id}:{base64.b64encode(bytes([byte] * 32)).decode()}\n" for key_id, byte in keys.items()]
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text("".join(lines))
    return path


async def open_pepper(pool: Pool, path: Path) -> KeyRing:
    """Open a file of peppers as the service does."""
    return await open_key_file(pool, "pepper", path, os.urandom)


async def need(database: Database, pepper_id: str) -> None:
    """Put a secret into the vault that was written under a pepper."""
    async with database.owner() as owner:
        await owner.execute(SECRET, pepper_id.encode().ljust(16), pepper_id)


async def test_made_once_on_an_empty_vault(database: Database, tmp_path: Path) -> None:
    """Of two that open a missing file together one makes it, folder and all, and both have the same key."""
    path = tmp_path / "keys" / "pepper"
    async with database.pool() as pool:
        one, other = await asyncio.gather(open_pepper(pool, path), open_pepper(pool, path))
        assert one.key("k1") == other.key("k1") is not None
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        path.unlink()
        path.parent.rmdir()
        with pytest.raises(KeyFileError, match="is missing, and the database holds what was written under k1"):
            await open_pepper(pool, path)
        assert not path.parent.exists()


async def test_a_needed_key_is_never_made_anew(database: Database, tmp_path: Path) -> None:
    """Once a key is on record, a missing file and a file without that key are refused, and no file is made."""
    async with database.pool() as pool:
        await open_pepper(pool, key_file(tmp_path / "pepper", old=1, older=2))
        await need(database, "older")
        with pytest.raises(KeyFileError, match="is missing, and the database holds what was written under old, older"):
            await open_pepper(pool, tmp_path / "gone")
        assert not (tmp_path / "gone").exists()
        with pytest.raises(KeyFileError, match="lacks older, which the database needs"):
            await open_pepper(pool, key_file(tmp_path / "pepper", old=1, new=3))
        assert (await open_pepper(pool, key_file(tmp_path / "pepper", new=3, older=2))).writing_id == "new"


async def test_kinds_do_not_answer_for_each_other(database: Database, tmp_path: Path) -> None:
    """A key-encryption key may have the id of a pepper; a pepper that rows need is not asked of it."""
    async with database.pool() as pool:
        await open_pepper(pool, key_file(tmp_path / "pepper", k1=1))
        await need(database, "k1")
        keks = await open_key_file(pool, "kek", tmp_path / "kek", os.urandom)
        assert keks.ids == ("k1",)
        assert keks.key("k1") != bytes([1] * 32)


async def test_another_key_under_a_known_id_is_refused(database: Database, tmp_path: Path) -> None:
    """The record tells another key from the first one by a check value, which the key does not follow from."""
    async with database.pool() as pool:
        await open_pepper(pool, key_file(tmp_path / "pepper", k1=1))
        with pytest.raises(KeyFileError, match="another key under the id k1") as caught:
            await open_pepper(pool, key_file(tmp_path / "pepper", k1=2))
        assert base64.b64encode(bytes([2] * 32)).decode() not in str(caught.value)
        check_value = await pool.fetchval("select check_value from vault_keys")
        assert len(check_value) == 32
        assert check_value != bytes([1] * 32)


async def test_a_file_open_to_others_is_refused(database: Database, tmp_path: Path) -> None:
    """A key that others can read is no secret; nothing is registered for it."""
    path = key_file(tmp_path / "pepper", k1=1)
    path.chmod(0o604)
    async with database.pool() as pool:
        with pytest.raises(KeyFileError, match="mode 0604"):
            await open_pepper(pool, path)
        assert await pool.fetchval("select count(*) from vault_keys") == 0
