"""Checkpoints: signed of the trees as they are, kept for ever, and by whichever process comes first."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from events.merkle import verify_consistency
from events.statement import Pool
from events.trees import OPERATOR, prove_consistency, tree_size
from service.host_checkpoint import FILE_NAME
from service.keyring import KeyFileError, create
from service.log_key import verify
from service.tree_keeper import TreeKeeper
from tests.postgres.conftest import Database
from tests.postgres.logs import append, durable_pool, signer_of
from tests.postgres.nodes import until

SIGNED = "select count(*) from checkpoints where tree = $1"


@asynccontextmanager
async def kept(pool: Pool, data_dir: Path, *, round_s: float = 0.02) -> AsyncIterator[TreeKeeper]:
    """Keep the trees as a process does, only sooner."""
    async with TreeKeeper(*await signer_of(pool, data_dir), round_s=round_s) as keeper:
        yield keeper


async def test_keepers_sign_what_is_new_once(database: Database, tmp_path: Path) -> None:
    """Two hosts keep one log: what is new is signed, not twice in a round, and each keeps it outside."""
    hosts = [tmp_path / "one", tmp_path / "two"]
    hosts[0].mkdir()
    create(hosts[0] / "log.key", os.urandom)
    hosts[1].mkdir()
    (hosts[1] / "log.key").hardlink_to(hosts[0] / "log.key")
    async with durable_pool(database) as pool:
        await append(database, 3)
        async with kept(pool, hosts[0], round_s=60) as one:
            await until(lambda: one.signed_size == 3)
            async with kept(pool, hosts[1], round_s=60) as two:
                await until(lambda: two.signed_size == 3)
                await append(database, 4, 5)
                assert (one.problem, two.problem) == (None, None)
        assert (one.lag, one.signed_size, two.signed_size) == (0, 12, 12)
        assert await pool.fetchval(SIGNED, OPERATOR) == 2
        signer, host = await signer_of(pool, hosts[1])
        texts = {(path / FILE_NAME).read_text() for path in hosts}
        assert len(texts) == 1
        checkpoint = verify(texts.pop(), signer.key.verifier_key(signer.installation.origin().text))
        assert checkpoint == host.known
        assert checkpoint.size == 12
        assert (hosts[0] / FILE_NAME).stat().st_mode & 0o777 == 0o600


async def test_signing_does_not_wait_for_a_pause(database: Database, tmp_path: Path) -> None:
    """A round takes in what was there when it began, and no more than there is time for; the next ones the rest."""
    async with durable_pool(database) as pool:
        await append(database, *[500] * 9)
        keeper = TreeKeeper(*await signer_of(pool, tmp_path), round_s=60)
        await keeper._grow(1)
        assert await tree_size(pool, OPERATOR) == 2000
        keeper = TreeKeeper(*await signer_of(pool, tmp_path), round_s=0)
        await keeper._grow(4500)
        assert await tree_size(pool, OPERATOR) == 4000
        async with keeper:
            await until(lambda: keeper.signed_size == 4500)


async def test_an_organization_signs_when_asked(database: Database, tmp_path: Path) -> None:
    """Asking takes in what is new and signs it; asking again answers the same, and earlier ones prove the growth."""
    async with durable_pool(database) as pool:
        signer, _ = await signer_of(pool, tmp_path)
        assert await signer.sign_organization("org_1") is None
        await append(database, 70)
        await append(database, 2, organization="org_2")
        old = await signer.sign_organization("org_1")
        assert old == await signer.sign_organization("org_1")
        await append(database, 30)
        new = await signer.sign_organization("org_1")
        assert old is not None
        assert new is not None
        assert (old.size, new.size) == (70, 100)
        proof = await prove_consistency(pool, "org_1", 70, 100)
        assert verify_consistency(70, 100, old.root, new.root, proof)
        vkey = signer.key.verifier_key(f"entri/{signer.installation.id}/org_1")
        assert verify(new.text, vkey).root == new.root
        assert await pool.fetchval(SIGNED, OPERATOR) == 0


async def test_signers_at_the_same_time(database: Database, tmp_path: Path) -> None:
    """Whoever is first signs a tree, and everybody answers that."""
    async with durable_pool(database) as pool:
        await append(database, 5)
        signers = [(await signer_of(pool, tmp_path))[0] for _ in range(4)]
        answers = await asyncio.gather(*[signer.sign_organization("org_1") for signer in signers])
        assert len(set(answers)) == 1
        assert await pool.fetchval(SIGNED, "org_1") == 1


async def test_a_new_key_signs_what_the_old_one_signed(database: Database, tmp_path: Path) -> None:
    """A key that is put before the old one signs the same tree anew; one in its place is refused until it has."""
    file = tmp_path / "log.key"
    async with durable_pool(database) as pool:
        await append(database, 5)
        old, _ = await signer_of(pool, tmp_path)
        await old.sign_organization("org_1")
        assert await old.sign() is not None
        was = file.read_text()
        file.unlink()
        create(file, os.urandom)
        with pytest.raises(KeyFileError, match="lacks"):
            await signer_of(pool, tmp_path)
        file.write_text(file.read_text() + was.replace("k1:", "k0:"))
        new, _ = await signer_of(pool, tmp_path)
        for signer in (new, old, new, old):
            signed = await signer.sign()
            assert signed is not None
            assert signed.key_id == signer.key.id
        assert await pool.fetchval(SIGNED, OPERATOR) == 2
        assert await pool.fetchval("select count(distinct root) from checkpoints") == 1


async def test_a_gap_is_told_and_harms_nothing(database: Database, tmp_path: Path) -> None:
    """While an event is missing nothing is signed past it, and the keeper says which; when it is back, it goes on."""
    disable = "alter table events_decisions_1 {} trigger all"

    def says(keeper: TreeKeeper, what: str | None) -> Callable[[], bool]:
        return lambda: keeper.problem == what if what is None else what in (keeper.problem or "")

    async with durable_pool(database) as pool, database.owner() as owner:
        await append(database, 5)
        async with kept(pool, tmp_path) as keeper:
            await until(lambda: keeper.signed_size == 5)
            await owner.execute(disable.format("disable"))
            async with owner.transaction():
                await owner.execute("select from trees for update")  # so that they do not grow meanwhile
                await append(database, 3)
                await owner.execute("update events set position = 1006 where position = 6")
            await append(database, 1)
            await until(says(keeper, "at position 6: the event is missing"))
            assert keeper.signed_size == 5
            await owner.execute("update events set position = 6 where position = 1006")
            await until(says(keeper, None))
            await until(lambda: keeper.signed_size == 9)


async def test_a_file_that_cannot_be_written_is_told(database: Database, tmp_path: Path) -> None:
    """Where the host's checkpoint cannot be kept, signing goes on and the keeper says so."""
    async with durable_pool(database) as pool:
        await append(database, 5)
        keeper = TreeKeeper(*await signer_of(pool, tmp_path), round_s=0.02)
        (tmp_path / FILE_NAME).mkdir()
        async with keeper:
            await until(lambda: "cannot be written: Is a directory" in (keeper.problem or ""))
            assert keeper.signed_size == 5
