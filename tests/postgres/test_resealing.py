"""Everything sealed is sealed anew under another key: what opens moves, what does not stays and is named."""

import os

import orjson

from events.statement import Pool
from service.data_key import open_data_key
from service.keyring import KeyRing
from service.resealing import MOST_AT_ONCE, PLACES, renewed_seal, replace, reseal_all
from service.seals import find_seal, seal_row
from service.secret_text import SecretText
from tests.postgres.conftest import Database
from tests.postgres.vaults import keys_of

OLD = KeyRing({"k1": bytes(range(32))})
BOTH = KeyRing({"k2": bytes(range(32, 64)), "k1": bytes(range(32))})
NEW = KeyRing({"k2": bytes(range(32, 64))})
SEALS = PLACES[1]
UNDER = "select key_id, count(*) as seals from vault_seals group by 1 order by 1"


async def seal(database: Database, *generations: int) -> None:
    """Seal a secret for each generation of a token, as appends do."""
    rows = [
        seal_row(keys_of(OLD, OLD), SecretText(f"secret {n}"), token_id="tok_1", generation=n, organization="org_1")
        for n in generations
    ]
    async with database.owner() as owner:
        await owner.execute("select append_companion('vault_seals', $1)", orjson.dumps(rows).decode())


async def opened(pool: Pool, generation: int) -> str | None:
    """Open a seal with the new key alone."""
    found = await find_seal(pool, keys_of(NEW, NEW), token_id="tok_1", generation=generation, organization="org_1")
    return None if found is None else found.reveal()


async def test_all_that_is_sealed_moves(database: Database) -> None:
    """Seals of more than a page and the data key open with the new key alone, and a second pass finds nothing."""
    count = 2 * MOST_AT_ONCE + 1
    await seal(database, *range(count))
    done: list[int] = []
    async with database.pool() as pool:
        data = await open_data_key(pool, OLD, os.urandom)
        resealed = await reseal_all(pool, BOTH, os.urandom, done.append)
        assert (resealed.values, resealed.problems, sum(done)) == (count + 1, (), count + 1)
        assert list((await open_data_key(pool, NEW, os.urandom)).all) == list(data.all)
        assert [await opened(pool, n) for n in (0, count - 1)] == ["secret 0", f"secret {count - 1}"]
        assert (await reseal_all(pool, BOTH, os.urandom, done.append)).values == 0


async def test_what_does_not_open_stays_and_is_named(database: Database) -> None:
    """A seal that was changed, or whose key is not there, holds up no other; its row is named and left as it is."""
    await seal(database, 0, 1, 2)
    async with database.pool() as pool:
        await pool.execute("update vault_seals set ciphertext = substr(ciphertext, 2) where generation = 0")
        await pool.execute("update vault_seals set key_id = 'k0' where generation = 1")
        resealed = await reseal_all(pool, BOTH, os.urandom, lambda _: None)
        assert resealed.values == 1
        changed, missing = resealed.problems
        assert changed.startswith("vault_seals.ciphertext of org_1/tok_1/0: a sealed value does not authenticate")
        assert missing.startswith("vault_seals.ciphertext of org_1/tok_1/1: a value is sealed under a key that is not")
        rows = [(row["key_id"], row["seals"]) for row in await pool.fetch(UNDER)]
        assert rows == [("k0", 1), ("k1", 1), ("k2", 1)]
        assert await opened(pool, 2) == "secret 2"


async def test_a_seal_that_changed_meanwhile_is_not_written_over(database: Database) -> None:
    """What was read before another process sealed the row anew, or dropped it, is not put back."""
    await seal(database, 0, 1)
    async with database.pool() as pool:
        rows = await pool.fetch(SEALS.page.text, "k2", MOST_AT_ONCE, *SEALS.before_all)
        renewed = [(row, renewed_seal(SEALS, row, BOTH, os.urandom)) for row in rows]
        await pool.execute("delete from vault_seals where generation = 0")
        await pool.execute("update vault_seals set nonce = 'another'")
        await replace(pool, SEALS, renewed)
        left = await pool.fetch("select generation, key_id, nonce from vault_seals")
        assert [(row["generation"], row["key_id"], row["nonce"]) for row in left] == [(1, "k1", b"another")]
