"""A restore is noticed by what the host keeps outside the database, and begins one generation."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from events.checkpoint import Checkpoint
from events.log import read_installation
from service.cursors import Cursors, ExpiredCursorError
from service.generations import settled
from service.host_checkpoint import FILE_NAME, HostCheckpoint, HostCheckpointError
from service.signing import Signer
from service.tree_keeper import TreeKeeper
from tests.postgres.conftest import Database
from tests.postgres.logs import append, durable_pool, signer_of
from tests.postgres.nodes import until

BEGUN = "select generation, predecessor_size, predecessor_root, restored_size from generations"


def pretend(signer: Signer, host: HostCheckpoint, known: Checkpoint) -> HostCheckpoint:
    """Let the host know of a checkpoint that the log, as it is now, was not signed with."""
    host.keep(signer.key.sign(known))
    return host


async def signed(database: Database, signer: Signer, events: int) -> Checkpoint:
    """Append events and sign the whole log."""
    await append(database, events)
    assert (await signer.sign_organization("org_1")) is not None
    checkpoint = await signer.sign()
    assert checkpoint is not None
    return Checkpoint(signer.installation.origin().text, checkpoint.size, checkpoint.root)


@pytest.mark.parametrize(("size", "found"), [(25, "the log ends at 20"), (15, "the first 15 events are not the same")])
async def test_one_generation_begins(database: Database, tmp_path: Path, size: int, found: str) -> None:
    """Of processes that notice together one begins a generation; origins name what is lost, cursors expire."""
    async with durable_pool(database) as pool:
        signer, host = await signer_of(pool, tmp_path)
        known = replace(await signed(database, signer, 20), size=size, root=b"\x07" * 32)
        cursor = Cursors(installation=await read_installation(pool), organization="org_1").of_event(3)
        pretend(signer, host, known)
        with structlog.testing.capture_logs() as lines:
            started = await asyncio.gather(*[signer_of(pool, tmp_path) for _ in range(4)])
        assert [found in line["found"] for line in lines if line["event"] == "log_restored"] == [True]
        assert [tuple(row) for row in await pool.fetch(BEGUN)] == [(2, size, b"\x07" * 32, 20)]
        for one, _ in started:
            assert one.installation.origin().text == f"entri/{signer.installation.id}/2-{size}-{'07' * 32}"
            with pytest.raises(ExpiredCursorError):
                Cursors(installation=one.installation, organization="org_1").event_position(cursor)
        await settled(pool, started[0][1])
        assert await pool.fetchval("select count(*) from generations") == 1


async def test_running_processes_go_on_in_it(database: Database, tmp_path: Path) -> None:
    """A process that runs on sees another's generation in its next round, signs in it, and keeps that outside."""
    async with durable_pool(database) as pool:
        signer, host = await signer_of(pool, tmp_path / "one")
        told: list[int] = []
        signer.on_generation(lambda: told.append(signer.installation.generation))
        async with TreeKeeper(signer, host, round_s=0.02) as keeper:
            await append(database, 20)
            await until(lambda: keeper.signed_size == 20)
            assert await pool.fetchval("select begin_generation(1, 2, 25, sha256('lost'))")
            await until(lambda: signer.installation.generation == 2)
            await until(lambda: host.origin == signer.installation.origin())
            await until(lambda: keeper.problem is None)
            assert told == [2]
        assert (tmp_path / "one" / FILE_NAME).read_text().startswith(f"entri/{signer.installation.id}/2-25-")


async def test_a_keeper_notices_while_it_runs(database: Database, tmp_path: Path) -> None:
    """A log that gets shorter, or another, under a process that runs begins a generation then and there."""
    async with durable_pool(database) as pool:
        signer, host = await signer_of(pool, tmp_path)
        async with TreeKeeper(signer, host, round_s=0.02):
            await append(database, 20)
            await until(lambda: host.known is not None and host.known.size == 20)
            host.known = Checkpoint(signer.installation.origin().text, 25, b"\x07" * 32)
            await until(lambda: signer.installation.generation == 2)
            await append(database, 1)
            await until(lambda: host.known is not None and host.known.size == 21)  # and so keeps none any more
            host.known = Checkpoint(signer.installation.origin().text, 21, b"\x08" * 32)
            await append(database, 1)
            await until(lambda: signer.installation.generation == 3)
        assert [row["predecessor_size"] for row in await pool.fetch(f"{BEGUN} order by 1")] == [25, 21]


async def test_a_generation_that_the_backup_has_not_is_not_used_again(database: Database, tmp_path: Path) -> None:
    """Where the database was restored to before a generation began, the next one has a number of its own."""
    async with durable_pool(database) as pool:
        signer, host = await signer_of(pool, tmp_path)
        known = await signed(database, signer, 20)
        origin = f"entri/{signer.installation.id}/4-9-{'07' * 32}"
        pretend(signer, host, replace(known, origin=origin))
        assert (await settled(pool, host)).generation == 5


async def test_what_a_failover_forgot_of_the_trees_is_no_restore(database: Database, tmp_path: Path) -> None:
    """Trees that lack what the log has are grown before they are compared."""
    async with durable_pool(database) as pool, database.owner() as owner:
        signer, host = await signer_of(pool, tmp_path)
        pretend(signer, host, await signed(database, signer, 20))
        await owner.execute("alter table trees disable trigger all; update trees set size = 0")
        await owner.execute("alter table tree_tiles disable trigger all; delete from tree_tiles")
        assert (await settled(pool, host)).generation == 1


async def test_a_file_of_no_use_is_refused(database: Database, tmp_path: Path) -> None:
    """Another installation's checkpoint, a damaged one or none at all: the message says what is wrong and right."""
    file = tmp_path / FILE_NAME
    async with durable_pool(database) as pool:
        signer, _ = await signer_of(pool, tmp_path)
        known = await signed(database, signer, 20)
        note = signer.key.sign(known)
        other = signer.key.sign(replace(known, origin="entri/ins_other"))
        organization = signer.key.sign(replace(known, origin=f"{known.origin}/org_1"))
        damaged = {
            "is of the installation ins_other, and the database is": other,
            "the whole log's is kept here": organization,
            "is not a checkpoint of this log: the signature of": note.replace("\n20\n", "\n21\n"),
            "the note does not end with a newline": note[:40],
            "is not a checkpoint": "",
        }
        for problem, text in damaged.items():
            file.write_text(text)
            with pytest.raises(HostCheckpointError, match=f"{problem}.*Put the right file back, or move this one away"):
                await signer_of(pool, tmp_path)
        file.unlink()
        file.mkdir()
        with pytest.raises(HostCheckpointError, match="cannot be read: Is a directory"):
            await signer_of(pool, tmp_path)
