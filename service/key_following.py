"""Keeps a process's keys as its key files are, and as every other process can read them.

A process says which keys it can read and which it may still write under (`key_holders`), every second. A key of the
files is read from the moment it is there, and written under when every process that holds keys can read it. Must never
write under a key before that is so, give up one that the database needs, or stop because a file cannot be used.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import asyncpg
import structlog

from events.statement import Pool, load
from events.writer import CONNECTION_LOST
from projections.runner import stopped
from service import keyring
from service.data_key import open_data_key
from service.key_files import MEANINGS, open_key_file, register
from service.keyring import KeyFileError, KeyRing
from service.vault import Keys, written_under

HOLD_KEYS: Final = load("service.statements", "hold_keys")
LEAVE_KEYS: Final = load("service.statements", "leave_keys")
LOOK_EVERY_S: Final = 1.0
LEAVE_LIMIT_S: Final = 2.0
KINDS: Final = ("pepper", "kek")

Stamp = tuple[int, int, int]
"""What tells one state of a file from another: its inode, its size, when it was written."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the database answers a process that says what it can read."""

    lacking: tuple[str, ...]
    permitted: frozenset[str]
    superseded: frozenset[str]


@dataclass(slots=True, kw_only=True)
class Followed:
    """A key file as it was last read."""

    kind: str
    path: Path
    ring: KeyRing
    """The keys of the file, in its order."""
    stamp: Stamp | None

    @property
    def where(self) -> str:
        """Name the file in messages."""
        return f"{MEANINGS[self.kind]} {self.path}"

    def writing_id(self, held: Held) -> str:
        """Choose the key to write under: the first that all can read, a superseded one only where there is no other.

        Raises KeyFileError where there is none.
        """
        readable = [key_id for key_id in self.ring.ids if f"{self.kind}/{key_id}" in held.permitted]
        newest = [key_id for key_id in readable if f"{self.kind}/{key_id}" not in held.superseded]
        if not readable:
            raise KeyFileError(f"{self.where} has no key that all processes can read: copy it to all hosts")
        return (*newest, *readable)[0]


class KeyFollower:
    """Owns the keys of a process, its row among those that hold keys, and the task that looks at the files."""

    def __init__(
        self, pool: Pool, files: Mapping[str, Path], *, called: str, prefix: str, every_s: float = LOOK_EVERY_S
    ) -> None:
        self._pool = pool
        self._files = files
        self._called = called
        self._prefix = prefix
        self._every_s = every_s
        self._holder = secrets.token_hex(16)
        self._followed: dict[str, Followed] = {}
        self._keys: Keys | None = None
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._told: dict[str, object] = {}
        """What is wrong, each by its kind: it is logged once."""

    @property
    def keys(self) -> Keys:
        """The keys, from the moment that the block is entered."""
        if self._keys is None:
            raise RuntimeError("the keys are not loaded yet")
        return self._keys

    async def __aenter__(self) -> Self:
        """Load the keys, or create them on an empty vault, and hold them. Raises KeyFileError."""
        for kind in KINDS:
            path = self._files[kind]
            stamp = await asyncio.to_thread(stamp_of, path)
            ring = await open_key_file(self._pool, kind, path, os.urandom)
            self._followed[kind] = Followed(kind=kind, path=path, ring=ring, stamp=stamp)
        try:
            peppers, keks = await self._rings(frozenset())
            data = await open_data_key(self._pool, keks, os.urandom)
        except BaseException:
            await self._leave()
            raise
        self._keys = Keys(peppers=peppers, keks=keks, data=data, prefix=self._prefix, random_bytes=os.urandom)
        self._task = asyncio.create_task(self._follow(), name="keys")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hold no keys any more, so that nobody waits for this process."""
        await stopped(self._task)
        await self._leave()

    async def look(self) -> None:
        """Read what has changed in the files, and write under what may be written under now.

        Raises KeyFileError where the database needs, or others write under, a key that this process cannot read.
        """
        async with self._looking:
            for followed in self._followed.values():
                await self._read_again(followed)
            keys = self.keys
            try:
                peppers, keks = await self._rings(keys.writes)
            except KeyFileError:
                keys.may_write = False
                raise
            # Replaced only when they are others: what was made of a ring stands as long as that ring does.
            keys.peppers = keys.peppers if keys.peppers.ids == peppers.ids else peppers
            keys.keks = keys.keks if keys.keks.ids == keks.ids else keks
            keys.may_write = True

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except KeyFileError as error:
                self._tell("keys_lacking", str(error))
            except Exception as error:  # noqa: BLE001 -- whatever it was, it is tried again
                self._tell("keys_not_held", type(error).__name__)
            else:
                self._told.pop("keys_lacking", None)
                self._told.pop("keys_not_held", None)

    async def _rings(self, writes: frozenset[str]) -> tuple[KeyRing, KeyRing]:
        """Say what this process reads and writes, then answer the rings as they may be used from then on.

        What is to be written under is told before anything is. Raises KeyFileError.
        """
        pepper, kek = (self._followed[kind] for kind in KINDS)
        told = writes
        while True:
            held = await self._hold(told)
            if held.lacking:
                raise KeyFileError(f"this process cannot read {', '.join(held.lacking)}, which is in use: add it back")
            pepper_id, kek_id = pepper.writing_id(held), kek.writing_id(held)
            if told >= (chosen := frozenset(written_under(pepper_id, kek_id))):
                return pepper.ring.writing_with(pepper_id), kek.ring.writing_with(kek_id)
            told |= chosen

    async def _hold(self, writes: frozenset[str]) -> Held:
        readable = [f"{f.kind}/{key_id}" for f in self._followed.values() for key_id in f.ring.ids]
        row = await self._pool.fetchrow(HOLD_KEYS.text, self._holder, self._called, readable, sorted(writes))
        if row is None:
            raise AssertionError("hold_keys answers one row")
        return Held(
            lacking=tuple(row["lacking"]),
            permitted=frozenset(row["permitted"]),
            superseded=frozenset(row["superseded"]),
        )

    async def _read_again(self, followed: Followed) -> None:
        """Take on the keys of a file that has changed; those that are gone from it go when nothing needs them."""
        stamp = await asyncio.to_thread(stamp_of, followed.path)
        if stamp == followed.stamp:
            return
        try:
            ring = await asyncio.to_thread(keyring.load, followed.path, MEANINGS[followed.kind])
            await register(self._pool, followed.kind, ring, where=followed.where)
        except KeyFileError as error:
            self._tell(followed.kind, str(error))
            return
        # Read before it is said that it can be read.
        both = self._read_too(followed.kind, ring)
        followed.ring = ring
        held = await self._hold(self.keys.writes)
        if any(name.startswith(f"{followed.kind}/") for name in held.lacking):
            self._tell(followed.kind, f"{followed.where} lacks {', '.join(held.lacking)}, which is in use: kept")
            followed.ring = both
        else:
            self._told.pop(followed.kind, None)
        followed.stamp = stamp
        log.info("key_file_read", kind=followed.kind, ids=followed.ring.ids)

    def _read_too(self, kind: str, ring: KeyRing) -> KeyRing:
        """Read these keys too from now on, and write under the same as before; answers all of them, these first."""
        keys = self.keys
        if kind == "pepper":
            both = ring.reading_too(keys.peppers)
            keys.peppers = both.writing_with(keys.peppers.writing_id)
        else:
            both = ring.reading_too(keys.keks)
            keys.keks = both.writing_with(keys.keks.writing_id)
        return both

    def _tell(self, event: str, problem: str) -> None:
        if self._told.get(event) != problem:
            self._told[event] = problem
            log.warning("keys_not_followed", problem=problem)

    async def _leave(self) -> None:
        with contextlib.suppress(*CONNECTION_LOST, asyncpg.PostgresError, TimeoutError):
            async with asyncio.timeout(LEAVE_LIMIT_S):
                await self._pool.execute(LEAVE_KEYS.text, self._holder)


def stamp_of(path: Path) -> Stamp | None:
    """Read what tells one state of a file from another; None where there is none that can be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
