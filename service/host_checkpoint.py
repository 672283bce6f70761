"""The newest checkpoint that this host knows of, in a file outside the database.

A database that was put back to yesterday cannot know it: this file does. Must never go back to an older checkpoint.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from events.checkpoint import Checkpoint, CheckpointError, parse_checkpoint, parse_note, parse_verifier_key
from events.origin import Origin, parse_origin
from service.log_key import LogKey, verify

FILE_NAME: Final = "log-checkpoint"
LONGEST: Final = 65_536
ADVICE: Final = (
    "By it this host notices that the database was restored from a backup. Put the right file back, or move this one "
    "away to start without that check"
)


class HostCheckpointError(Exception):
    """The file cannot be used; the message says what is wrong and what would be right."""


class HostCheckpoint:
    """The file of one data directory, and what it holds."""

    def __init__(self, path: Path, key: LogKey) -> None:
        self._path = path
        self._key = key
        self.known: Checkpoint | None = None

    def __str__(self) -> str:
        """Name the file."""
        return str(self._path)

    @property
    def origin(self) -> Origin | None:
        """Say which tree of which generation the checkpoint is about."""
        return None if self.known is None else parse_origin(self.known.origin)

    def load(self) -> None:
        """Read the file, if there is one. Blocking. Raises HostCheckpointError."""
        try:
            text = self._read()
            self.known = None if text is None else self._checked(text)
        except OSError as error:
            raise HostCheckpointError(f"{self._path} cannot be read: {error.strerror}. {ADVICE}") from None
        except (CheckpointError, UnicodeDecodeError) as error:
            raise HostCheckpointError(f"{self._path} is not a checkpoint of this log: {error}. {ADVICE}") from None

    def keep(self, text: str) -> None:
        """Keep a newer checkpoint, given as its note. Blocking. Raises OSError where it cannot be written.

        Other processes of the host write the same file, so whether it is newer is asked of the file.
        """
        newer = parse_checkpoint(parse_note(text).text)
        try:
            if not self._has(newer):
                self._write(text)
        finally:
            self.known = newer  # not before: who finds it known need not write it

    def _has(self, checkpoint: Checkpoint) -> bool:
        with contextlib.suppress(OSError, CheckpointError, UnicodeDecodeError):
            there = self._read()
            return there is not None and age(self._checked(there)) >= age(checkpoint)
        return False

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def _read(self) -> str | None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            return file.read(LONGEST).decode("utf-8")

    def _checked(self, text: str) -> Checkpoint:
        """Read a checkpoint; what this key signed must be as it was signed, for other keys we have no public half."""
        note = parse_note(text)
        checkpoint = parse_checkpoint(note.text)
        if parse_origin(checkpoint.origin).organization is not None:
            raise CheckpointError("it is about one organization, and the whole log's is kept here")
        own = parse_verifier_key(self._key.verifier_key(checkpoint.origin))
        if any((one.name, one.key_id) == (own.name, own.key_id) for one in note.signatures):
            verify(text, own.text)
        return checkpoint


def age(checkpoint: Checkpoint) -> tuple[int, int]:
    """Say which of two checkpoints is newer: the larger one."""
    return parse_origin(checkpoint.origin).generation, checkpoint.size
