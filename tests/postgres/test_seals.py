"""Sealed values open in their own row, under their own key; one that does not is named. They go with their secrets."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest

from events.statement import Pool
from service.forgetting import forget_what_ended
from service.keyring import KeyRing
from service.sealing import SealError, SealKeyMissingError
from service.seals import find_seal, seal_row
from service.secret_text import SecretText
from service.vault import Keys
from tests.postgres.appends import decided
from tests.postgres.conftest import Database
from tests.postgres.vaults import keys_of, open_vault

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
KEYS = keys_of(KeyRing({"k1": OLD}), KeyRing({"k1": OLD}))
SECRET = "entri_hunter2"


async def keep(database: Database, *rows: Mapping[str, Any]) -> None:
    """Write seals as an append does."""
    async with database.owner() as owner:
        await owner.execute("select append_companion('vault_seals', $1)", orjson.dumps(rows).decode())


async def drop(database: Database, *rows: Mapping[str, Any]) -> None:
    """Drop seals as an append does."""
    async with database.owner() as owner:
        await owner.execute("select append_companion('vault_drop_seals', $1)", orjson.dumps(rows).decode())


def row(token_id: str, generation: int = 0, *, organization: str = "org_1") -> dict[str, Any]:
    """Seal the sample secret for a row."""
    secret = SecretText(f"{SECRET}-{token_id}-{generation}")
    return seal_row(KEYS, secret, token_id=token_id, generation=generation, organization=organization)


async def opened(pool: Pool, token_id: str, generation: int = 0, *, keys: Keys = KEYS) -> str | None:
    """Open a seal."""
    found = await find_seal(pool, keys, token_id=token_id, generation=generation, organization="org_1")
    return None if found is None else found.reveal()


async def left(pool: Pool) -> list[tuple[str, int]]:
    """List the seals that are there."""
    rows = await pool.fetch("select token_id, generation from vault_seals order by 1, 2")
    return [(found["token_id"], found["generation"]) for found in rows]


async def test_a_seal_opens_in_its_row(database: Database) -> None:
    """What was sealed for a token's generation comes back for that one, and for its own organization only."""
    await keep(database, row("tok_1"), row("tok_1", 1))
    async with database.pool() as pool:
        assert await opened(pool, "tok_1") == f"{SECRET}-tok_1-0"
        assert await opened(pool, "tok_1", 1) == f"{SECRET}-tok_1-1"
        assert await opened(pool, "tok_2") is None
        assert await find_seal(pool, KEYS, token_id="tok_1", generation=0, organization="org_2") is None


SWAP = """
update vault_seals s set key_id = o.key_id, nonce = o.nonce, ciphertext = o.ciphertext
from vault_seals o where o.token_id <> s.token_id
"""
TAMPERINGS = {
    "swapped between rows": SWAP,
    "truncated": "update vault_seals set ciphertext = substr(ciphertext, 1, length(ciphertext) - 1)",
    "emptied": "update vault_seals set ciphertext = ''",
    "another nonce": "update vault_seals set nonce = ''",
    "moved": "update vault_seals set organization = 'org_1', generation = generation + 1 where generation = 6",
    "from another organization": "update vault_seals set organization = 'org_1' where organization = 'org_2'",
}


@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS.keys())
async def test_a_seal_that_was_tampered_with_is_refused_and_named(database: Database, tampering: str) -> None:
    """The error names the row and quotes nothing of what is in it."""
    await keep(database, row("tok_1", 7) if "generation + 1" not in tampering else row("tok_1", 6))
    if "org_2" in tampering:
        await drop(database, {"token_id": "tok_1"})
        await keep(database, row("tok_1", 7, organization="org_2"))
    await keep(database, row("tok_2", 7))
    async with database.owner() as owner, database.pool() as pool:
        await owner.execute(tampering)
        with pytest.raises(
            SealError, match=r"the seal of org_1/tok_1/7 cannot be opened: .*does not authenticate"
        ) as e:
            await opened(pool, "tok_1", 7)
        assert_says_nothing(str(e.value), await pool.fetch("select * from vault_seals"))


def assert_says_nothing(message: str, rows: list[Any]) -> None:
    """See that a message holds nothing of seals and secrets."""
    assert SECRET not in message
    spell: list[Callable[[bytes], str]] = [bytes.hex, lambda octets: base64.b64encode(octets).decode()]
    for found in rows:
        for octets in (found["ciphertext"], found["nonce"]):
            assert not octets or all(way(octets) not in message for way in spell)


async def test_the_wrong_key_is_refused_and_named(database: Database) -> None:
    """Another key under the same id opens nothing; a key that is not there is told apart from it."""
    await keep(database, row("tok_1"))
    async with database.pool() as pool:
        wrong = keys_of(KEYS.peppers, KeyRing({"k1": NEW}))
        with pytest.raises(SealError, match=r"the seal of org_1/tok_1/0 cannot be opened: .*does not authenticate"):
            await opened(pool, "tok_1", keys=wrong)
        missing = keys_of(KEYS.peppers, KeyRing({"k2": OLD}))
        with pytest.raises(SealKeyMissingError, match=r"the seal of org_1/tok_1/0 .* not loaded; loaded are k2"):
            await opened(pool, "tok_1", keys=missing)


async def test_seals_go_with_the_append_that_ends_them(database: Database) -> None:
    """A row drops the token's generations below one, or all of them, and nobody else's."""
    await keep(database, *(row(token, generation) for token in ("tok_1", "tok_2") for generation in range(3)))
    async with database.pool() as pool:
        await drop(database, {"token_id": "tok_1", "below": 2}, {"token_id": "tok_2", "below": 1})
        assert await left(pool) == [("tok_1", 2), ("tok_2", 1), ("tok_2", 2)]
        await drop(database, {"token_id": "tok_2"})
        assert await left(pool) == [("tok_1", 2)]


async def test_an_append_drops_before_it_seals(database: Database) -> None:
    """An append that drops all of a token's seals and brings one leaves that one."""
    await keep(database, row("tok_1"))
    rows = {"vault_seals": [row("tok_1", 1)], "vault_drop_seals": [{"token_id": "tok_1"}]}
    async with database.history() as history, database.pool() as pool:
        await history.writer.append(replace(decided("tok_1"), companions=rows))
        assert await left(pool) == [("tok_1", 1)]


async def test_seals_of_ended_secrets_are_forgotten(database: Database) -> None:
    """The seal of a secret that has ended by itself is deleted by a task; one whose overlap goes on stays."""
    past = "update tokens set {} = clock_timestamp() - interval '1 second' where id = $1"
    async with open_vault(database, KEYS) as vault, database.owner() as owner:
        overlapping, over, replaced, revoked = [(await vault.create("org_1")).id for _ in range(4)]
        for token_id, overlap_s in ((overlapping, 60), (over, 60), (replaced, 0)):
            await vault.rotate("org_1", token_id, overlap_s)
        await owner.execute(past.format("overlap_ends_at"), over)
        await owner.execute(past.format("revoked_at"), revoked)
        await keep(database, row(revoked), *(row(t, n) for t in (overlapping, over, replaced) for n in (0, 1)))
        await forget_what_ended(vault.pool)
        kept = [(overlapping, 0), (overlapping, 1), (over, 1), (replaced, 1)]
        assert await left(vault.pool) == sorted(kept)
        await vault.rotate("org_1", overlapping, 60)
        await forget_what_ended(vault.pool)
        assert await left(vault.pool) == sorted(kept[1:])
