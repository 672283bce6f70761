"""The hashing pool is bounded even when callers leave and refuses planted verifiers; proofs are few and blind."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher, extract_parameters

from service.hashing import HashingOverloadError, HashingPool, ProvenMatches, VerifierError

DIGEST = hmac.digest(bytes(32), b"entri_hunter2", "sha256")
OTHER = hashlib.sha256(b"other").digest()
SALT = "c2FsdHNhbHRzYWx0c2FsdA"
HASH = "A" * 43
# Far more work than ours and within our bounds, so that there is time to look at a thread while it hashes.
SLOW = PasswordHasher(time_cost=2, memory_cost=32_768, parallelism=1).hash(DIGEST)


@pytest.fixture
async def pool() -> AsyncIterator[HashingPool]:
    """Run a pool of one thread and a queue of one."""
    pool = HashingPool(threads=1, queue_bound=1)
    yield pool
    await pool.close()


async def until_held(pool: HashingPool, permits: int) -> None:
    """Wait for the pool itself to say how many permits are held."""
    async with asyncio.timeout(10):
        while pool.permits_held != permits:  # noqa: ASYNC110  # threads give permits back, and wake nobody
            await asyncio.sleep(0)


async def test_a_digest_matches_its_own_verifier_only(pool: HashingPool) -> None:
    """A verifier accepts the digest it was made of and no other."""
    verifier = await pool.hash(DIGEST)
    assert await pool.verify(verifier, DIGEST)
    assert not await pool.verify(verifier, OTHER)


async def test_verifiers_are_salted_argon2id_of_small_cost(pool: HashingPool) -> None:
    """A verifier says Argon2id with 1 MiB, one pass and one lane, and two of one digest differ."""
    verifier = await pool.hash(DIGEST)
    assert verifier.startswith("$argon2id$v=19$m=1024,t=1,p=1$")
    parameters = extract_parameters(verifier)
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)
    assert verifier != await pool.hash(DIGEST)


async def test_a_full_queue_refuses_at_once(pool: HashingPool) -> None:
    """Beyond one running and one waiting call the next is refused, and there is room again when they end."""
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(pool.verify(SLOW, digest)) for digest in (DIGEST, OTHER)]
        await until_held(pool, 2)
        with pytest.raises(HashingOverloadError):
            await pool.verify(SLOW, DIGEST)
    assert [call.result() for call in calls] == [True, False]
    assert await pool.hash(DIGEST)


async def test_a_permit_is_held_until_the_thread_ends() -> None:
    """A caller who leaves stops waiting at once, but the room is free only when the real hash has run to its end."""
    pool = HashingPool(threads=1, queue_bound=0)
    call = asyncio.create_task(pool.verify(SLOW, DIGEST))
    await until_held(pool, 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert pool.permits_held == 1
    with pytest.raises(HashingOverloadError):
        await pool.hash(DIGEST)
    await until_held(pool, 0)
    assert await pool.hash(DIGEST)
    await pool.close()


async def test_a_waiting_call_that_is_cancelled_leaves_the_queue(pool: HashingPool) -> None:
    """A call that no thread had begun gives its place to another at once."""
    running = asyncio.create_task(pool.verify(SLOW, DIGEST))
    await until_held(pool, 1)
    waiting = asyncio.create_task(pool.verify(SLOW, DIGEST))
    await until_held(pool, 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.permits_held == 1
    assert await pool.hash(OTHER)
    assert await running


async def test_closing_answers_what_was_accepted() -> None:
    """A pool that closes ends the hashes it has begun or queued, and refuses more as overload."""
    pool = HashingPool(threads=1, queue_bound=1)
    calls = [asyncio.create_task(pool.hash(digest)) for digest in (DIGEST, OTHER)]
    await asyncio.sleep(0)  # both tasks run up to their wait
    await pool.close()
    assert len(set(await asyncio.gather(*calls))) == 2
    with pytest.raises(HashingOverloadError, match="closed"):
        await pool.hash(DIGEST)
    assert pool.permits_held == 0


@pytest.mark.parametrize(
    "verifier",
    [
        f"$argon2id$v=19$m=4194304,t=1,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m=32769,t=1,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m=1024,t=9,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m=1024,t=4294967295,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m=1024,t=1,p=5${SALT}${HASH}",
        f"$argon2id$v=19$m=1024,t=0,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m=01024,t=1,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m={'9' * 5000},t=1,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m=8,m=4194304,t=1,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m=1024,t=1,p=1${SALT}$AAAAAA",
        f"$argon2id$v=19$m=1024,t=1,p=1${SALT}${'A' * 90}",
        f"$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHQ${HASH}",
        f"$argon2id$v=16$m=1024,t=1,p=1${SALT}${HASH}",
        f"$argon2id$m=1024,t=1,p=1${SALT}${HASH}",
        f"$argon2i$v=19$m=1024,t=1,p=1${SALT}${HASH}",
        f"$argon2id$v=19$m=1024,t=1,p=1${SALT}${HASH}\n",
        f"$argon2id$v=19$m=1024,t=1,p=1${SALT}${HASH}\x00",
        "",
        "entri_hunter2",
    ],
)
async def test_a_planted_verifier_is_refused_before_hashing(pool: HashingPool, verifier: str) -> None:
    """A verifier beyond our bounds never reaches the library, and the error quotes nothing of it."""
    await pool.close()  # so that a call that came as far as a thread would be another error
    with pytest.raises(VerifierError) as caught:
        await pool.verify(verifier, DIGEST)
    assert SALT not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "verifier",
    [
        f"$argon2id$v=19$m=8,t=1,p=4${SALT}${HASH}",
        f"$argon2id$v=19$m=1024,t=1,p=1${SALT}${'A' * 42}B",
    ],
)
async def test_a_verifier_that_the_library_refuses_is_no_mismatch(pool: HashingPool, verifier: str) -> None:
    """A verifier within our bounds that cannot be computed is an error, since false would blame the caller's key."""
    with pytest.raises(VerifierError, match="could not be computed"):
        await pool.verify(verifier, DIGEST)


def test_a_proof_is_of_one_digest_and_one_verifier() -> None:
    """Only the exact pair that was remembered is proven."""
    proven = ProvenMatches()
    proven.remember(DIGEST, "verifier")
    assert proven.holds(DIGEST, "verifier")
    assert not proven.holds(DIGEST, "another verifier")
    assert not proven.holds(OTHER, "verifier")


def test_the_least_recently_used_proof_goes_first() -> None:
    """At its capacity the memory forgets what was neither proven nor asked for the longest."""
    proven = ProvenMatches(capacity=2)
    proven.remember(DIGEST, "first")
    proven.remember(DIGEST, "second")
    assert proven.holds(DIGEST, "first")
    proven.remember(DIGEST, "third")
    assert len(proven) == 2
    assert [proven.holds(DIGEST, name) for name in ("first", "second", "third")] == [True, False, True]


def test_remembering_again_takes_no_more_room() -> None:
    """A pair that is proven twice is held once, and counts as used."""
    proven = ProvenMatches(capacity=2)
    for name in ("first", "second", "first", "third"):
        proven.remember(DIGEST, name)
    assert len(proven) == 2
    assert proven.holds(DIGEST, "first")


def test_a_memory_shows_no_digest() -> None:
    """What is kept is a hash of the pair, from which neither is read."""
    proven = ProvenMatches()
    proven.remember(DIGEST, "verifier")
    assert list(proven._proofs) == [hashlib.sha256(DIGEST + b"verifier").digest()]
