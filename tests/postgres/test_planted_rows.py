"""Rows that somebody plants who can write all of the database, but has no key from outside of it: no credential."""

import asyncio
import hashlib
import os

import pytest
from argon2 import PasswordHasher

from events.statement import Connection
from service.credential import UNKNOWN
from service.hashing import VerifierError
from service.secret_format import generate
from service.vault import bound_digest
from tests.postgres.conftest import Database
from tests.postgres.vaults import open_vault

MOVE = "update vault_secrets set token_id = $2 where token_id = $1"
DROP = "delete from vault_secrets where token_id = $1"
PLANT = "insert into vault_secrets values ($1, 0, $2, $3, 'k1', $4)"


async def pointed(owner: Connection, mine: str, victim: str) -> None:
    """Point the vault's row of one token at another."""
    await owner.execute(DROP, victim)
    await owner.execute(MOVE, mine, victim)


async def test_a_row_that_is_pointed_at_another_token_is_unknown(database: Database) -> None:
    """A secret that one holds does not become another token's by moving its row, in whichever organization that is."""
    async with open_vault(database) as vault, database.owner() as owner:
        for victim_organization in ("org_1", "org_2"):
            mine, victim = await vault.create("org_1"), await vault.create(victim_organization)
            assert (await vault.verifier.verify(mine.key)).failure is None
            await pointed(owner, mine.id, victim.id)
            assert await vault.verifier.verify(mine.key) is UNKNOWN


async def test_a_verifier_that_is_moved_with_its_prefix_is_unknown(database: Database) -> None:
    """Copying what the vault keeps of one's own secret into the victim's row gives nothing either."""
    async with open_vault(database) as vault, database.owner() as owner:
        mine, victim = await vault.create("org_1"), await vault.create("org_2")
        row = await owner.fetchrow("delete from vault_secrets where token_id = $1 returning *", mine.id)
        assert row is not None
        await owner.execute(
            "update vault_secrets set digest_prefix = $2, verifier = $3 where token_id = $1",
            victim.id,
            row["digest_prefix"],
            row["verifier"],
        )
        assert await vault.verifier.verify(mine.key) is UNKNOWN
        assert await vault.verifier.verify(victim.key) is UNKNOWN


async def test_a_secret_that_was_rotated_away_is_not_brought_back(database: Database) -> None:
    """Making an old secret's row that of the newest generation does not make it work."""
    async with open_vault(database) as vault, database.owner() as owner:
        token = await vault.create("org_1")
        newest = await vault.rotate("org_1", token.id)
        await owner.execute("delete from vault_secrets where generation = 1")
        await owner.execute("update vault_secrets set generation = 1")
        assert await vault.verifier.verify(token.key) is UNKNOWN
        assert await vault.verifier.verify(newest) is UNKNOWN


async def test_a_token_that_is_moved_to_another_organization_is_unknown(database: Database) -> None:
    """The organization that a key acts in is the one that its verifier was made for, whatever the read model says."""
    async with open_vault(database) as vault, database.owner() as owner:
        token = await vault.create("org_1")
        await owner.execute("update tokens set organization = 'org_2' where id = $1", token.id)
        assert await vault.verifier.verify(token.key) is UNKNOWN


async def test_a_row_without_the_pepper_is_unknown(database: Database) -> None:
    """A secret of one's own choice cannot be planted: where it is looked up, and what is checked, need the pepper."""
    hasher = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1, hash_len=32, salt_len=16)
    async with open_vault(database) as vault, database.owner() as owner:
        victim = await vault.create("org_1")
        chosen = generate("entri_", os.urandom).reveal()
        guessed = hashlib.sha256(chosen.encode()).digest()
        bound = bound_digest(guessed, organization="org_1", token_id=victim.id, generation=0)
        await owner.execute(DROP, victim.id)
        await owner.execute(PLANT, victim.id, "org_1", guessed[:16], hasher.hash(bound))
        assert await vault.verifier.verify(chosen) is UNKNOWN


async def test_a_planted_verifier_that_is_absurd_gives_no_credential(database: Database) -> None:
    """What is no verifier of ours is told as an error that quotes nothing, not as a credential."""
    async with open_vault(database) as vault, database.owner() as owner:
        token = await vault.create("org_1")
        for planted in ("$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA"):
            await owner.execute("update vault_secrets set verifier = $1", planted)
            with pytest.raises(VerifierError) as caught:
                await vault.verifier.verify(token.key)
            assert planted not in str(caught.value)


async def test_rotations_that_race_bind_the_secret_to_the_generation_it_gets(database: Database) -> None:
    """A rotation that is decided anew because another came first issues a secret that works all the same."""
    async with open_vault(database) as vault:
        token = await vault.create("org_1")
        secrets = await asyncio.gather(*(vault.rotate("org_1", token.id, 3600) for _ in range(3)))
        verified = [await vault.verifier.verify(secret) for secret in secrets]
        working = [v.credential.generation for v in verified if v.failure is None and v.credential is not None]
        assert sorted(working) == [2, 3]
        assert all(v.credential is not None for v in verified)
