"""Signs checkpoints of the log's trees and keeps them. Must never sign what a crash or a failover could still lose."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from events.checkpoint import Checkpoint
from events.log import Installation, read_installation, read_organization_head
from events.statement import Pool, load
from events.tree_growth import TreesStoppedError, grow
from events.trees import OPERATOR, root_at, tree_size
from service.log_key import LogKey

READ_TREE: Final = load("service.statements", "read_tree")
SAVE_CHECKPOINT: Final = load("service.statements", "save_checkpoint")
FIND_SIGNING_KEYS: Final = load("service.statements", "find_signing_keys")
LONGEST_WAIT_S: Final = 2.0
PAUSE_S: Final = 0.02
REASONS: Final = {
    "not_flushed": "PostgreSQL has not flushed it yet",
    "standby_behind": "the synchronous standby has not flushed it yet",
    "standby_missing": "fewer synchronous standbys are connected than synchronous_standby_names asks for",
    "may_not_see_standbys": "synchronous_standby_names is set, and the owner of the database may not see how far the "
    "standbys are: grant pg_read_all_stats to it",
}


class NotSignedError(Exception):
    """No checkpoint can be signed now; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCheckpoint:
    """A checkpoint as it is kept: the tree's size and root, and the note, which is what others verify."""

    size: int
    root: bytes
    text: str
    key_id: str
    signed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeStatus:
    """How far a tree is, how far the whole log, and what was signed last in this generation."""

    size: int
    head: int
    generation: int
    unsafe: str | None
    """Why not all of it may be signed, by a name of `REASONS`."""
    newest: SignedCheckpoint | None
    signed_s_ago: float


async def read_tree(pool: Pool, tree: str, *, key_id: str) -> TreeStatus | None:
    """Read how far a tree is, and what this key signed of it; None for a tree that has no leaves."""
    row = await pool.fetchrow(READ_TREE.text, tree, key_id)
    if row is None:
        return None
    newest = None
    if row["signed_size"] is not None:
        newest = SignedCheckpoint(
            size=row["signed_size"],
            root=row["root"],
            text=row["text"],
            key_id=row["key_id"],
            signed_at=row["signed_at"],
        )
    return TreeStatus(
        size=row["size"],
        head=row["head"],
        generation=row["generation"],
        unsafe=row["unsafe"],
        newest=newest,
        signed_s_ago=row["signed_s_ago"] or 0.0,
    )


async def signing_keys(pool: Pool) -> list[str]:
    """Name the keys that must be at hand: those that signed the newest checkpoints of this generation."""
    return [row["key_id"] for row in await pool.fetch(FIND_SIGNING_KEYS.text)]


class Signer:
    """Signs with the key of this process, in the generation that the log is at."""

    def __init__(self, pool: Pool, key: LogKey, installation: Installation) -> None:
        self.pool = pool
        self.key = key
        self.installation = installation
        self._on_generation: list[Callable[[], None]] = []

    def on_generation(self, told: Callable[[], None]) -> None:
        """Call this whenever the log turns out to be of another generation than it was."""
        self._on_generation.append(told)

    async def sign_organization(self, organization: str) -> SignedCheckpoint | None:
        """Sign an organization's history as it is now; None when it has none. Raises NotSignedError.

        What the trees lack of it is taken in first, for two seconds at most: then what they hold is signed. Where
        that was signed before, the same checkpoint is answered again.
        """
        await self._take_in(organization)
        return await self.sign(organization)

    async def sign(self, tree: str = OPERATOR, *, within_s: float = LONGEST_WAIT_S) -> SignedCheckpoint | None:
        """Sign a tree as it has grown, as soon as that is safe; None when it has no leaves. Raises NotSignedError."""
        status: TreeStatus | None = None
        pause_s = PAUSE_S
        try:
            async with asyncio.timeout(within_s):
                while (status := await self.status(tree)) is not None and status.size > 0:
                    if self.is_signed(status):
                        return status.newest
                    if status.unsafe is None and (signed := await self._signed(tree, status)) is not None:
                        return signed
                    await asyncio.sleep(pause_s)  # the standby tells nobody; or another process signs this very tree
                    pause_s *= 2
        except TimeoutError:
            reason = None if status is None or status.unsafe is None else REASONS[status.unsafe]
            raise NotSignedError(f"no checkpoint is signed: {reason or 'the database is slow'}") from None
        return None

    async def status(self, tree: str = OPERATOR) -> TreeStatus | None:
        """Read how far a tree is, and what was signed of it; None for a tree that has no leaves."""
        return await read_tree(self.pool, tree, key_id=self.key.id)

    def is_signed(self, status: TreeStatus) -> bool:
        """Say whether the tree is signed as it is, with this process' key."""
        newest = status.newest
        return newest is not None and newest.size == status.size and newest.key_id == self.key.id

    async def follow_generation(self, generation: int) -> None:
        """Go on in another generation, if another process began one."""
        if generation != self.installation.generation:
            self.go_on_as(await read_installation(self.pool))

    def go_on_as(self, newer: Installation) -> None:
        """Go on as what the log is by now, and tell whoever follows it where that is another generation."""
        if newer.generation == self.installation.generation:
            return
        self.installation.become(newer)
        for told in self._on_generation:
            told()

    async def _signed(self, tree: str, status: TreeStatus) -> SignedCheckpoint | None:
        await self.follow_generation(status.generation)
        generation, origin = self.installation.generation, self.installation.origin(tree or None)
        root = await root_at(self.pool, tree, status.size)
        text = self.key.sign(Checkpoint(origin.text, status.size, root))
        values = (tree, generation, status.size, self.key.id, root, text)
        signed_at = await self.pool.fetchval(SAVE_CHECKPOINT.text, *values)
        if signed_at is None:
            return None
        return SignedCheckpoint(size=status.size, root=root, text=text, key_id=self.key.id, signed_at=signed_at)

    async def _take_in(self, organization: str) -> None:
        head = await read_organization_head(self.pool, organization)
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                while await tree_size(self.pool, organization) < head:
                    if await grow(self.pool) is None:
                        await asyncio.sleep(PAUSE_S)  # another process is at it
        except (TimeoutError, TreesStoppedError):
            return  # what there is can be signed all the same; the keeper says what is wrong
