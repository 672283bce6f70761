"""Rotates the keys that live outside the database: a new one is put into the file, read by all, then written by all.

Every step is found done or not by looking, so a rotation that was ended anywhere goes on where it was when it is run
again. Must never have anything written under a key that some process cannot read, nor call a key needless that is not.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from events.statement import Connection, Pool, load
from service import keyring
from service.key_files import MEANINGS
from service.key_following import KeyFollower
from service.key_usage import count_uses, find_holders, find_keys, still_writing, supersede, unable
from service.resealing import Resealed, reseal_all

LOCK_ROTATION: Final = load("service.statements", "lock_rotation")
LOOK_EVERY_S: Final = 0.2
MOST_PASSES: Final = 10

Tell = Callable[[str], None]
"""Says how far it is."""


class RotationError(Exception):
    """The keys cannot be rotated, or not to the end; the message says what is missing. Run again, it goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A rotation to one key of a kind."""

    pool: Pool
    kind: str
    path: Path
    key_id: str

    @property
    def name(self) -> str:
        """Name the new key with its kind."""
        return f"{self.kind}/{self.key_id}"


async def begin(pool: Pool, lock: Connection, kind: str, path: Path, *, tell: Tell) -> Rotation:
    """Put a new key into the file, or find the one that an earlier rotation has put there and not finished.

    `lock` is a connection that lives as long as the rotation. Raises RotationError and KeyFileError.
    """
    if not await lock.fetchval(LOCK_ROTATION.text):
        raise RotationError("another rotation of keys is going on")
    what = MEANINGS[kind]
    ring = await asyncio.to_thread(keyring.load, path, what)
    if await is_unfinished(pool, kind, ring.ids):
        tell(f"going on with {ring.ids[0]}, which is the first key of {path}")
        return Rotation(pool=pool, kind=kind, path=path, key_id=ring.ids[0])
    on_record = [key.id for key in await find_keys(pool) if key.kind == kind]
    key_id = keyring.next_id((*ring.ids, *on_record))
    await asyncio.to_thread(keyring.put_first, path, what, key_id, random_bytes=os.urandom)
    tell(f"put {key_id} into {path}")
    return Rotation(pool=pool, kind=kind, path=path, key_id=key_id)


async def is_unfinished(pool: Pool, kind: str, ids: Sequence[str]) -> bool:
    """Say whether the first key of a file is still on its way to be the only one that is used for new things."""
    first, others = ids[0], ids[1:]
    if not others:
        return False
    keys = [key for key in await find_keys(pool) if key.kind == kind]
    if any(key.id in others and not key.is_superseded for key in keys):
        return True
    if still_writing(await find_holders(pool), kind, first):
        return True
    return kind == "kek" and bool(others_in_use(await count_uses(pool), kind, first))


async def switch(rotation: Rotation, follower: KeyFollower, *, wait_s: float, tell: Tell) -> None:
    """Wait until every process can read the new key, and then until each writes under it alone.

    Raises RotationError when the time is over; what has been done stays done.
    """
    pool, kind, key_id = rotation.pool, rotation.kind, rotation.key_id
    give_up_at = time.monotonic() + wait_s

    async def cannot_read() -> str | None:
        if names := unable(await find_holders(pool), rotation.name):
            return f"processes that cannot read {key_id} yet: {', '.join(names)} (on another host: copy the file there)"
        return None

    async def write_another() -> str | None:
        # Asked again each time: a process that came meanwhile may have made it untrue.
        if not await supersede(pool, kind, key_id):
            return await cannot_read() or "processes that have not said what they can read"
        if names := still_writing(await find_holders(pool), kind, key_id):
            return f"processes that write under an older key: {', '.join(names)}"
        return None

    for what_hinders in (cannot_read, write_another):
        told = None
        while (hindrance := await what_hinders()) is not None:
            if time.monotonic() >= give_up_at:
                raise RotationError(f"there still are {hindrance}; run this again to go on")
            if hindrance != told:
                tell(f"waiting for {hindrance}")
                told = hindrance
            await asyncio.sleep(LOOK_EVERY_S)
            await follower.look()
    tell(f"every process writes under {key_id}")


async def reseal_everything(rotation: Rotation, follower: KeyFollower, *, on_progress: Callable[[int], None]) -> int:
    """Seal under the new key what another one has sealed; answers how much that was. Raises RotationError."""
    values = 0
    for _ in range(MOST_PASSES):
        keys = follower.keys
        done: Resealed = await reseal_all(
            rotation.pool, keys.keks.writing_with(rotation.key_id), keys.random_bytes, on_progress
        )
        values += done.values
        if done.problems:
            problems = "\n".join(done.problems)
            raise RotationError(
                f"all that opens is under {rotation.key_id}; this does not, and is left as it is:\n{problems}\n"
                "Rotate or revoke these tokens"
            )
        if not others_in_use(await count_uses(rotation.pool), rotation.kind, rotation.key_id):
            return values
    raise RotationError("something keeps being sealed under an older key: run this again")


def others_in_use(uses: dict[str, dict[str, int]], kind: str, key_id: str) -> int:
    """Count what is under other keys of a kind than one."""
    own = f"{kind}/{key_id}"
    return sum(sum(counted.values()) for name, counted in uses.items() if name.startswith(f"{kind}/") and name != own)
