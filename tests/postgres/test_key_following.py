"""Processes that follow their key files: a new key is written under when all of them can read it, and not before."""

import base64
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from events.statement import Pool
from service.data_key import open_data_key
from service.key_following import KeyFollower
from service.keyring import KeyFileError, put_first
from service.vault import KeysBehindError
from tests.postgres.conftest import Database

NEVER = 3600
HOLD = "update key_holders set seen_at = clock_timestamp() - interval '11 seconds' where name = $1"


def files_in(folder: Path) -> dict[str, Path]:
    """Name the key files of a host."""
    return {"pepper": folder / "pepper", "kek": folder / "kek"}


def lines(**keys: int) -> str:
    """Write keys, each one byte repeated."""
    return "".join(f"{key_id}:{base64.b64encode(bytes([byte] * 32)).decode()}\n" for key_id, byte in keys.items())


def write(path: Path, **keys: int) -> None:
    """Put a key file in place, as an operator does."""
    draft = path.with_name("draft")
    draft.touch(0o600)
    draft.write_text(lines(**keys))
    draft.replace(path)


@asynccontextmanager
async def holding(pool: Pool, folder: Path, called: str) -> AsyncIterator[KeyFollower]:
    """Hold keys as a process on a host does, which looks at its files when it is told to."""
    async with KeyFollower(pool, files_in(folder), called=called, prefix="entri_", every_s=NEVER) as follower:
        yield follower


def add(folder: Path, kind: str = "kek", key_id: str = "k2") -> None:
    """Put a new key first."""
    put_first(files_in(folder)[kind], kind, key_id, random_bytes=os.urandom)


async def holders(pool: Pool) -> dict[str, tuple[list[str], list[str]]]:
    """List who can read what, and writes under what."""
    rows = await pool.fetch("select name, readable, writes from key_holders")
    return {row["name"]: (row["readable"], row["writes"]) for row in rows}


async def test_a_process_alone_writes_under_a_new_key_at_once(database: Database, tmp_path: Path) -> None:
    """Where one process holds keys, the first key of its file writes as soon as it has looked."""
    async with database.pool() as pool:
        async with holding(pool, tmp_path / "a", "a") as a:
            first = a.keys.keks.key("k1")
            add(tmp_path / "a")
            await a.look()
            assert (a.keys.keks.ids, a.keys.peppers.ids) == (("k2", "k1"), ("k1",))
            assert a.keys.keks.key("k1") == first
            assert await holders(pool) == {"a": (["pepper/k1", "kek/k2", "kek/k1"], ["kek/k1", "kek/k2", "pepper/k1"])}
            await a.look()
            assert await holders(pool) == {"a": (["pepper/k1", "kek/k2", "kek/k1"], ["kek/k2", "pepper/k1"])}
        assert await holders(pool) == {}


async def test_no_process_writes_under_a_key_that_another_cannot_read(database: Database, tmp_path: Path) -> None:
    """Until the file is copied to the other host everything is written under the old key, whatever is first."""
    async with database.pool() as pool, holding(pool, tmp_path / "a", "a") as a:
        (tmp_path / "b").mkdir()
        for kind, path in files_in(tmp_path / "a").items():
            shutil.copy2(path, files_in(tmp_path / "b")[kind])
        async with holding(pool, tmp_path / "b", "b") as b:
            add(tmp_path / "a", "pepper")
            await a.look()
            await b.look()
            await a.look()
            assert a.keys.peppers.ids == ("k1", "k2")
            files_in(tmp_path / "b")["pepper"].write_bytes(files_in(tmp_path / "a")["pepper"].read_bytes())
            await b.look()
            assert b.keys.peppers.ids == ("k2", "k1")
            assert a.keys.peppers.ids == ("k1", "k2")
            await a.look()
            assert a.keys.peppers.ids == ("k2", "k1")


async def test_a_process_that_is_gone_is_not_waited_for(database: Database, tmp_path: Path) -> None:
    """A process that was killed, and so was not seen for ten seconds, holds nothing up."""
    async with database.pool() as pool, holding(pool, tmp_path / "a", "a") as a:
        await pool.execute("insert into key_holders values ('x', 'killed', '{pepper/k1,kek/k1}', '{}')")
        add(tmp_path / "a")
        await a.look()
        assert a.keys.keks.writing_id == "k1"
        await pool.execute(HOLD, "killed")
        await a.look()
        assert a.keys.keks.writing_id == "k2"
        assert list(await holders(pool)) == ["a"]


async def test_a_process_that_lacks_a_key_in_use_does_not_come_in(database: Database, tmp_path: Path) -> None:
    """Where others write under a key, a process without it refuses to start, and holds nothing."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write(files_in(tmp_path / "a")["pepper"], k2=2, k1=1)
    write(files_in(tmp_path / "b")["pepper"], k1=1)
    async with database.pool() as pool, holding(pool, tmp_path / "a", "a") as a:
        files_in(tmp_path / "b")["kek"].hardlink_to(files_in(tmp_path / "a")["kek"])
        with pytest.raises(KeyFileError, match="cannot read pepper/k2, which is in use"):
            async with holding(pool, tmp_path / "b", "b"):
                pass
        assert a.keys.peppers.writing_id == "k2"
        assert list(await holders(pool)) == ["a"]


async def test_a_process_that_was_left_behind_writes_nothing(database: Database, tmp_path: Path) -> None:
    """One that stood still and was not waited for issues nothing until it has the key that others write under."""
    async with database.pool() as pool, holding(pool, tmp_path / "a", "a") as a:
        (tmp_path / "b").mkdir()
        for kind, path in files_in(tmp_path / "a").items():
            shutil.copy2(path, files_in(tmp_path / "b")[kind])
        async with holding(pool, tmp_path / "b", "b") as b:
            await pool.execute(HOLD, "b")
            add(tmp_path / "a")
            await a.look()
            assert a.keys.keks.writing_id == "k2"
            with pytest.raises(KeyFileError, match="cannot read kek/k2, which is in use"):
                await b.look()
            with pytest.raises(KeysBehindError), b.keys.writing():
                pass
            shutil.copy2(files_in(tmp_path / "a")["kek"], files_in(tmp_path / "b")["kek"])
            await b.look()
            assert b.keys.keks.writing_id == "k2"
            with b.keys.writing():
                assert list(await holders(pool)) == ["a", "b"]


async def test_a_key_that_nobody_needs_may_leave_the_file(database: Database, tmp_path: Path) -> None:
    """A line that is taken out is not read any more, and the key is permitted no more; a later one gets another id."""
    async with database.pool() as pool, holding(pool, tmp_path / "a", "a") as a:
        path = files_in(tmp_path / "a")["pepper"]
        add(tmp_path / "a", "pepper")
        await a.look()
        await a.look()
        path.write_text(path.read_text().split("k1:")[0])
        await a.look()
        assert a.keys.peppers.ids == ("k2",)
        permitted = await pool.fetch("select key_id from vault_keys where kind = 'pepper' and permitted_at is not null")
        assert [row["key_id"] for row in permitted] == ["k2"]
        async with holding(pool, tmp_path / "a", "b") as b:
            assert b.keys.peppers.ids == ("k2",)


async def test_a_key_in_use_that_leaves_the_file_is_kept(database: Database, tmp_path: Path) -> None:
    """The data key is sealed under the first key-encryption key: a file without that one is read, and it is kept."""
    async with database.pool() as pool, holding(pool, tmp_path / "a", "a") as a:
        first = a.keys.keks.key("k1")
        write(files_in(tmp_path / "a")["kek"], k2=2)
        await a.look()
        assert a.keys.keks.ids == ("k2", "k1")
        assert a.keys.keks.key("k1") == first


@pytest.mark.parametrize("text", ["", "k1:short\n", "k1:" + base64.b64encode(bytes([9] * 32)).decode() + "\n"])
async def test_a_file_that_cannot_be_used_changes_nothing(database: Database, tmp_path: Path, text: str) -> None:
    """An empty file, a broken one, and another key under a known id: the process goes on with what it has."""
    async with database.pool() as pool, holding(pool, tmp_path / "a", "a") as a:
        before = a.keys.keks
        files_in(tmp_path / "a")["kek"].write_text(text)
        await a.look()
        assert a.keys.keks is before


async def test_what_is_on_its_way_keeps_its_key_in_use(database: Database, tmp_path: Path) -> None:
    """A command that began under a key is told of until it has ended, though another key writes by then."""
    async with database.pool() as pool, holding(pool, tmp_path / "a", "a") as a:
        with a.keys.writing():
            add(tmp_path / "a")
            await a.look()
            await a.look()
            assert await holders(pool) == {"a": (["pepper/k1", "kek/k2", "kek/k1"], ["kek/k1", "kek/k2", "pepper/k1"])}
        await a.look()
        assert (await holders(pool))["a"][1] == ["kek/k2", "pepper/k1"]


async def test_all_processes_have_the_same_data_key(database: Database, tmp_path: Path) -> None:
    """Whoever comes first makes it; a database whose data key was sealed under another key is refused by name."""
    async with (
        database.pool() as pool,
        holding(pool, tmp_path / "a", "a") as a,
        holding(pool, tmp_path / "a", "b") as b,
    ):
        assert list(a.keys.data.all) == list(b.keys.data.all)
        await pool.execute("update vault_data_keys set ciphertext = substr(ciphertext, 2)")
        with pytest.raises(KeyFileError, match="the data key idempotency in the database cannot be opened"):
            await open_data_key(pool, a.keys.keks, os.urandom)
