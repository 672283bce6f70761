"""Moves secrets from an older pepper to the one that writes, as they are presented: the row of each is written anew.

A digest can only be made from its secret, so this is how an older pepper comes to be of no use. It is done behind the
answers, a few at a time, and given up where more wait: a secret that is still used comes again. Must never hold up an
answer, nor change a row but from what was proved of it.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import structlog

from events.statement import Pool, load
from projections.runner import stopped
from service.hashing import HashingPool
from service.vault import DIGEST_PREFIX_BYTES, bound_digest

if TYPE_CHECKING:
    from collections.abc import Callable

MOVE_SECRETS: Final = load("service.statements", "move_secrets")
FIND_DIGEST_PREFIX: Final = load("service.statements", "find_digest_prefix")
MOST_WAITING: Final = 1_000
MOST_AT_ONCE: Final = 50
PAUSE_S: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """A secret that was proved to be a token's, by its digests under its row's pepper and under the writing one."""

    organization: str
    token_id: str
    generation: int
    digest: bytes
    pepper_id: str
    new_digest: bytes
    new_pepper_id: str

    def __repr__(self) -> str:
        """Show whose secret it is, and nothing that follows from it."""
        return f"Proved({self.token_id!r}, {self.generation!r})"


class Drain:
    """Owns what waits to be moved, and the task that moves it."""

    def __init__(self, pool: Pool, hashing: HashingPool) -> None:
        self._pool = pool
        self._hashing = hashing
        self._waiting: dict[tuple[str, int], Proved] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.moved = 0
        """How many rows were written anew."""
        self.on_moved: Callable[[Proved], None] = lambda _: None
        """Called with each secret whose row is under the new pepper now, whichever process moved it."""

    async def __aenter__(self) -> Self:
        """Begin to move what is offered."""
        self._task = asyncio.create_task(self._run(), name="peppers")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; what is not moved yet stays where it is."""
        await stopped(self._task)

    def offer(self, proved: Proved) -> bool:
        """Take on a secret, if there is room; says whether it was taken on."""
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting[proved.token_id, proved.generation] = proved
        self._wake.set()
        return True

    async def digest_prefix(self, token_id: str, generation: int) -> bytes | None:
        """Find where a secret's row is looked up now; None where there is no such row."""
        prefix: bytes | None = await self._pool.fetchval(FIND_DIGEST_PREFIX.text, token_id, generation)
        return prefix

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                taken = [self._waiting.pop(key) for key in list(self._waiting)[:MOST_AT_ONCE]]
                try:
                    await self._move(taken)
                except Exception as error:  # noqa: BLE001 -- whatever it was, they come again
                    log.debug("secrets_not_moved", error=type(error).__name__, secrets=len(taken))
                    await asyncio.sleep(PAUSE_S)

    async def _move(self, taken: list[Proved]) -> None:
        verifiers = [
            await self._hashing.hash(
                bound_digest(
                    proved.new_digest,
                    organization=proved.organization,
                    token_id=proved.token_id,
                    generation=proved.generation,
                )
            )
            for proved in taken
        ]
        moved: int = await self._pool.fetchval(
            MOVE_SECRETS.text,
            [
                (
                    proved.token_id,
                    proved.generation,
                    proved.organization,
                    proved.new_digest[:DIGEST_PREFIX_BYTES],
                    proved.new_pepper_id,
                    verifier,
                )
                for proved, verifier in zip(taken, verifiers, strict=True)
            ],
            [proved.digest[:DIGEST_PREFIX_BYTES] for proved in taken],
            [proved.pepper_id for proved in taken],
        )
        self.moved += moved
        for proved in taken:
            self.on_moved(proved)
