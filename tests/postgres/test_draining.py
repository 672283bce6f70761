"""Secrets move from an older pepper to the writing one as they are presented, and work before, meanwhile and after."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from events.statement import Pool
from events.tokens import RevokeToken
from service.authorization import operator
from service.credential import UNKNOWN, Failure
from service.keyring import KeyRing
from service.verify import PepperNotLoadedError
from tests.postgres.conftest import Database
from tests.postgres.nodes import observer, until, until_answered
from tests.postgres.vaults import Vault, keys_of, lease, open_vault

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
BOTH = KeyRing({"k2": NEW, "k1": OLD})
PERMIT = "insert into vault_keys (kind, key_id, check_value, permitted_at) values ('pepper', 'k2', '', now())"
MOVING = "from pg_stat_activity where datname = current_database() and state = 'active' and query like '%with moved%'"
BLOCKED = f"select exists (select {MOVING} and wait_event_type = 'Lock')"
IDLE = f"select not exists (select {MOVING} and pid <> pg_backend_pid())"


@asynccontextmanager
async def vault_of(database: Database) -> AsyncIterator[Vault]:
    """Open a vault whose pepper is the old one, for now."""
    old = KeyRing({"k1": OLD})
    async with open_vault(database, keys_of(old, old)) as vault:
        yield vault


async def peppers(pool: Pool) -> list[tuple[str, int, str]]:
    """List which secret is under which pepper."""
    rows = await pool.fetch("select token_id, generation, pepper_id from vault_secrets order by 1, 2")
    return [(row["token_id"], row["generation"], row["pepper_id"]) for row in rows]


async def test_a_secret_moves_when_it_is_presented(database: Database) -> None:
    """It is good at once, its row is under the new pepper soon after, and then the old pepper is not needed for it."""
    async with vault_of(database) as vault:
        token, other = await vault.create("org_1"), await vault.create("org_1")
        vault.keys.peppers = BOTH
        assert (await vault.verifier.verify(token.key)).failure is None
        await until(lambda: vault.drain.moved == 1)
        assert await peppers(vault.pool) == sorted([(token.id, 0, "k2"), (other.id, 0, "k1")])
        vault.keys.peppers = KeyRing({"k2": NEW})
        assert (await vault.verifier.verify(token.key)).failure is None
        assert await vault.verifier.verify(other.key) is UNKNOWN


async def test_a_secret_that_is_remembered_moves_too(database: Database) -> None:
    """One that is answered from memory and so never looked up moves as well, and is offered no second time."""
    async with vault_of(database) as vault:
        token = await vault.create("org_1")
        lease(vault.node, 0)
        await vault.verifier.verify(token.key)
        vault.keys.peppers = BOTH
        assert vault.verifier.recall(token.key) is not None
        await until(lambda: vault.drain.moved == 1)
        assert await peppers(vault.pool) == [(token.id, 0, "k2")]
        vault.keys.peppers = KeyRing({"k2": NEW})
        assert vault.verifier.recall(token.key) is not None


async def test_only_what_is_good_moves_and_only_as_it_was_proved(database: Database) -> None:
    """A revoked token's secret stays where it is; a row that changed meanwhile is not written over."""
    async with vault_of(database) as vault, database.owner() as owner, observer(database) as watcher:
        revoked, changed = await vault.create("org_1"), await vault.create("org_1")
        await vault.commands.change(operator("org_1"), RevokeToken(token_id=revoked.id))
        vault.keys.peppers = BOTH
        assert (await vault.verifier.verify(revoked.key)).failure is Failure.REVOKED
        async with owner.transaction():
            await owner.execute("update vault_secrets set pepper_id = 'k0' where token_id = $1", changed.id)
            assert (await vault.verifier.verify(changed.key)).failure is None
            await until_answered(watcher, BLOCKED)
        await until_answered(watcher, IDLE)
        assert await peppers(vault.pool) == sorted([(revoked.id, 0, "k1"), (changed.id, 0, "k0")])
        assert vault.drain.moved == 0


async def test_old_and_new_secrets_move_each_for_itself(database: Database) -> None:
    """During an overlap both secrets work, and each moves when it is presented."""
    async with vault_of(database) as vault:
        token = await vault.create("org_1")
        newest = await vault.rotate("org_1", token.id, 60)
        vault.keys.peppers = BOTH
        assert (await vault.verifier.verify(token.key)).failure is None
        await until(lambda: vault.drain.moved == 1)
        assert await peppers(vault.pool) == [(token.id, 0, "k2"), (token.id, 1, "k1")]
        assert (await vault.verifier.verify(newest)).failure is None
        await until(lambda: vault.drain.moved == 2)


async def test_a_key_under_a_pepper_that_is_not_loaded_is_not_called_unknown(database: Database) -> None:
    """Where secrets may be under a pepper that this process has not loaded, it cannot tell: 503, not 401."""
    async with vault_of(database) as vault:
        vault.keys.peppers = BOTH
        token = await vault.create("org_1")
        vault.keys.peppers = KeyRing({"k1": OLD})
        async with database.owner() as owner:
            await owner.execute(PERMIT)
        with pytest.raises(PepperNotLoadedError):
            await vault.verifier.verify(token.key)
        vault.keys.peppers = BOTH
        assert (await vault.verifier.verify(token.key)).failure is None


async def test_a_long_connection_outlives_the_move_of_its_secret(database: Database) -> None:
    """Who holds the digests of a secret only, as sessions do, finds its row under the new pepper by whose it is."""
    async with vault_of(database) as vault:
        token, never = await vault.create("org_1"), await vault.create("org_1")
        lease(vault.node, 0)
        await vault.verifier.verify(token.key)
        watch, unproved = vault.verifier.watch(token.key), vault.verifier.watch(never.key)
        assert watch.recall() is not None
        vault.keys.peppers = BOTH
        async with database.owner() as owner:
            await owner.execute(PERMIT)
        for issued in (token, never):
            await vault.verifier.verify(issued.key)
        await until(lambda: vault.drain.moved == 2)
        lease(vault.node, 0)
        assert (await vault.verifier.verify_again(watch)).failure is None
        assert await vault.verifier.verify_again(unproved) is UNKNOWN
        assert (await vault.verifier.verify(never.key)).failure is None
        await vault.commands.change(operator("org_1"), RevokeToken(token_id=token.id))
        lease(vault.node, 1)
        assert (await vault.verifier.verify_again(watch)).failure is Failure.REVOKED
