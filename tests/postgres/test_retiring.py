"""A pepper that is retired by force takes with it what depends on it, and no more."""

from typing import Final

import pytest

from events.applications import CreateApplication, Environment, SecretPolicy
from events.token_kinds import TokenKind
from events.tokens import CreateToken, RevokeToken
from service.application_commands import ApplicationCommands
from service.authorization import operator
from service.credential import Failure
from service.issuing import Done
from service.key_usage import count_uses
from service.keyring import KeyRing
from service.retiring import Dependents, count_dependents, retire
from tests.postgres.conftest import Database
from tests.postgres.vaults import keys_of, open_vault

OLD, NEW = KeyRing({"k1": bytes(range(32))}), bytes(range(32, 64))
BOTH: Final = KeyRing({"k2": NEW, "k1": bytes(range(32))})
NEEDED = "select key_is_needed('pepper', $1)"
PASSWORD = """
insert into passwords (member_id, organization, generation, verifier, pepper_id, must_change)
values ('mem_1', 'org_1', 1, '$argon2id$', 'k1', false)
"""


async def test_what_depends_on_a_pepper_goes_with_it(database: Database) -> None:
    """Revoked is whose newest secret is under it; where only an overlapping one is, the overlap ends; others stay."""
    async with open_vault(database, keys_of(OLD, OLD)) as vault:
        vault.verifier.drain = None
        old, gone, over = [await vault.create("org_1") for _ in range(3)]
        elsewhere, both_old = await vault.create("org_2"), await vault.create("org_1")
        await vault.rotate("org_1", both_old.id, 60)
        await vault.commands.change(operator("org_1"), RevokeToken(token_id=gone.id, reason="leaked"))
        vault.keys.peppers = BOTH
        newest = await vault.rotate("org_1", over.id, 60)
        untouched = await vault.create("org_1")
        done: list[int] = []
        assert await count_dependents(vault.pool, "k1") == Dependents(revoked=3, reset=0, overlaps_ended=1)
        retired = await retire(vault.pool, vault.commands, "k1", on_progress=done.append)
        assert (retired.revoked, retired.overlaps_ended, retired.refused, sum(done)) == (3, 1, (), 4)
        for token in (old, elsewhere, both_old):
            assert (await vault.verifier.verify(token.key)).failure is Failure.REVOKED
        assert (await vault.verifier.verify(over.key)).failure is Failure.REVOKED
        for key in (newest, untouched.key):
            assert (await vault.verifier.verify(key)).failure is None
        assert await count_dependents(vault.pool, "k1") == Dependents(revoked=0, reset=0, overlaps_ended=0)
        assert await vault.pool.fetchval(NEEDED, "k1") is False
        reasons = await vault.pool.fetch("select revoked_reason from tokens where revoked_at is not null")
        assert sorted(row["revoked_reason"] for row in reasons) == ["its pepper k1 was retired"] * 3 + ["leaked"]
        assert await count_uses(vault.pool) == {"pepper/k2": {"secrets": 2}}


async def test_force_goes_past_what_protects_a_kind(database: Database) -> None:
    """The API secret that signs goes too, with what is kept of it; an application keeps its place with a new secret."""
    async with open_vault(database, keys_of(OLD, OLD)) as vault:
        vault.verifier.drain = None
        caller, applications = operator("org_1"), ApplicationCommands(issuing=vault.commands.issuing)
        secret = CreateToken(token_id="", kind=TokenKind.API_SECRET, name="signs", hint="", scopes=())
        application = CreateApplication(
            application_id="",
            name="kept",
            environment=Environment.PRODUCTION,
            secret_policy=SecretPolicy.RECOVERABLE,
            token_id="",
            hint="",
            scopes=(),
        )
        signer = await vault.commands.create(caller, secret)
        made = await applications.create(caller, application)
        assert isinstance(signer, Done)
        assert isinstance(made, Done)
        assert made.secret is not None
        vault.keys.peppers = BOTH
        assert await count_dependents(vault.pool, "k1") == Dependents(revoked=1, reset=1, overlaps_ended=0)
        retired = await retire(vault.pool, vault.commands, "k1", on_progress=lambda _: None)
        assert (retired.revoked, retired.reset, retired.refused) == (1, (made.token_id,), ())
        assert (
            await vault.pool.fetchval("select revoked_at is null from tokens where id = $1", signer.token_id) is False
        )
        assert (await vault.verifier.verify(made.secret.reveal())).failure is not None
        sealed = await vault.pool.fetch("select token_id, generation from vault_seals")
        assert [tuple(row) for row in sealed] == [(made.token_id, 1)]
        reset = await vault.rotate("org_1", made.token_id)
        assert (await vault.verifier.verify(reset)).failure is None
        assert await vault.pool.fetchval(NEEDED, "k1") is False


async def test_a_password_keeps_a_pepper_needed(database: Database) -> None:
    """Members' passwords are digested under a pepper too, and counted where there are any."""
    async with open_vault(database, keys_of(OLD, OLD)) as vault, database.owner() as owner:
        assert await vault.pool.fetchval(NEEDED, "k1") is False
        await owner.execute(PASSWORD)
        assert await vault.pool.fetchval(NEEDED, "k1") is True
        assert await count_uses(vault.pool) == {"pepper/k1": {"passwords": 1}}


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
async def test_a_secret_that_does_not_work_needs_no_pepper(database: Database, column: str) -> None:
    """The row of a token that is revoked or has expired stays, and keeps nothing in the file."""
    async with open_vault(database, keys_of(OLD, OLD)) as vault, database.owner() as owner:
        await vault.create("org_1")
        assert await vault.pool.fetchval(NEEDED, "k1") is True
        await owner.execute(f"update tokens set {column} = clock_timestamp() - interval '1 second'")
        assert await vault.pool.fetchval(NEEDED, "k1") is False
