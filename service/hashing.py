"""Argon2id (RFC 9106) of digests in a bounded thread pool, and a bounded memory of the matches it has proven.

The secrets behind most digests have 256 bits, so their cost is small on purpose; members' passwords must never be
hashed at that cost, but in processes of their own (`service.hashing_workers`). This module must never see a secret,
wait in an unbounded queue, or run with parameters that only the database vouches for.
"""

import asyncio
import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

# The PHC string exactly as our own hasher writes it: a 16-byte salt is 22 characters, a 32-byte hash 43. A shorter hash
# would match by chance, and a reading looser than the C library's could approve other numbers than it then uses.
_VERIFIER = re.compile(
    r"\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,9})"
    r"\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}"
)

_P = ParamSpec("_P")
_R = TypeVar("_R")


class HashingOverloadError(Exception):
    """No hash can be queued now: answer 503 with `Retry-After`."""


class VerifierError(Exception):
    """A stored verifier is not one of ours, or cannot be computed; the message quotes no part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What new verifiers cost, and what stored ones may cost at most.

    The bounds are above ours, so that they can grow without a flag day, and low enough that a planted verifier cannot
    exhaust the host.
    """

    hasher: PasswordHasher
    most_memory_kib: int
    most_passes: int
    most_lanes: int


SMALL: Final = Cost(
    hasher=PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID),
    most_memory_kib=32_768,
    most_passes=8,
    most_lanes=4,
)
"""Half a millisecond: for digests of secrets that nobody can guess."""


class HashingPool:
    """Threads that hash, with at most `queue_bound` calls waiting; owned by one event loop and ended by `close`."""

    def __init__(self, *, threads: int = 2, queue_bound: int = 256, cost: Cost = SMALL) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._cost = cost
        self._limit = threads + queue_bound
        self._held = 0
        self._lock = threading.Lock()  # permits are taken on the loop and given back on the threads

    @property
    def permits_held(self) -> int:
        """How many calls run or wait, those whose callers have gone away among them."""
        return self._held

    async def hash(self, digest: bytes) -> str:
        """Return a new verifier of a 32-byte digest as a PHC string. Raises `HashingOverloadError`."""
        return await self._run(self._cost.hasher.hash, digest)

    async def verify(self, phc: str, digest: bytes) -> bool:
        """Tell whether `phc` is a verifier of this digest.

        Raises `HashingOverloadError`, and `VerifierError` before any hashing for a verifier beyond our bounds.
        """
        refuse_absurd(self._cost, phc)
        return await self._run(matches, self._cost.hasher, phc, digest)

    async def close(self) -> None:
        """Refuse further calls and return when the last thread has ended; calls already accepted are answered."""
        await asyncio.to_thread(self._executor.shutdown)

    async def _run(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        self._take_permit()
        try:
            future = self._executor.submit(function, *args, **kwargs)
        except RuntimeError:
            self._give_back()
            raise HashingOverloadError("the hashing pool is closed") from None
        # Tied to the thread's own future: a cancelled caller stops waiting at once, but its thread goes on, and a
        # permit given back early would let callers who hang up start more work than the pool has room for.
        future.add_done_callback(self._give_back)
        return await asyncio.wrap_future(future)

    def _take_permit(self) -> None:
        with self._lock:
            if self._held >= self._limit:
                raise HashingOverloadError("the hashing queue is full")
            self._held += 1

    def _give_back(self, _ended: Future[_R] | None = None) -> None:
        with self._lock:
            self._held -= 1


class ProvenMatches:
    """The newest `capacity` proofs that a digest matched a verifier, least recently used first out; for one event loop.

    A proof saves a hash and is never authority: whether the token lives is read from its row each time.
    """

    def __init__(self, *, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._proofs: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        """Count the proofs held."""
        return len(self._proofs)

    def remember(self, digest: bytes, verifier: str) -> None:
        """Keep the proof that this 32-byte digest matched this verifier; call only after `verify` said so."""
        proof = _proof(digest, verifier)
        self._proofs[proof] = None
        self._proofs.move_to_end(proof)
        if len(self._proofs) > self._capacity:
            self._proofs.popitem(last=False)

    def holds(self, digest: bytes, verifier: str) -> bool:
        """Tell whether the match is proven, and keep its proof longer if so."""
        proof = _proof(digest, verifier)
        if proof not in self._proofs:
            return False
        self._proofs.move_to_end(proof)
        return True


def _proof(digest: bytes, verifier: str) -> bytes:
    # The digest has one length, so no other pair gives the same bytes.
    return hashlib.sha256(digest + verifier.encode("utf-8")).digest()


def refuse_absurd(cost: Cost, phc: str) -> None:
    """Refuse a verifier that is not of ours, or costs more than is allowed. Raises VerifierError."""
    match = _VERIFIER.fullmatch(phc)
    if match is None:
        raise VerifierError("a stored verifier is not an Argon2id PHC string of ours")
    memory_kib, passes, lanes = (int(number) for number in match.groups())
    if memory_kib > cost.most_memory_kib or passes > cost.most_passes or lanes > cost.most_lanes:
        raise VerifierError(
            "a stored verifier asks for more than we allow: "
            f"memory {cost.most_memory_kib} KiB, {cost.most_passes} passes, {cost.most_lanes} lanes"
        )


def matches(hasher: PasswordHasher, phc: str, digest: bytes) -> bool:
    """Hash, and tell whether the outcome is the same. Raises VerifierError for what cannot be hashed."""
    try:
        return hasher.verify(phc, digest)
    except VerifyMismatchError:
        return False
    except (VerificationError, InvalidHashError) as error:
        raise VerifierError("a stored verifier could not be computed") from error
