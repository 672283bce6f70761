"""The files of the archive: usage of a partition as lines of an export, and a manifest. Must never hold a decision.

A file is NDJSON, each line as in an export of the whole log: last in it is `entry`, the exact text that was hashed. A
file counts only after it was read back and found to be what the log holds and what its tree took in.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from events.archive import ArchiveError
from events.entry import leaf_hash
from events.merkle import HASH_BYTES

FORMAT: Final = "entri-usage-archive/1"
LINE: Final = re.compile(
    rb'\{"position":(?P<position>[1-9][0-9]*),"organization_position":(?P<organization_position>[1-9][0-9]*),'
    rb'"recorded_at":"[^"]*","leaf_hash":"(?P<leaf_hash>[0-9a-f]{64})","organization":"(?P<organization>[^"]*)",'
    rb'"type":"[^"]*","subject":"[^"]*","actor":"[^"]*","occurred_at":"[^"]*","entry":(?P<entry>.*)\}\n'
)


class Share(NamedTuple):
    """What one organization has in a file, by positions of its own history; both are included."""

    first: int
    last: int
    events: int


@dataclass(slots=True, kw_only=True)
class Contents:
    """What a file holds, as it was read back."""

    events: int = 0
    file_bytes: int = 0
    shares: dict[str, Share] = field(default_factory=dict)
    """By organization."""
    digest: Any = field(default_factory=sha256)

    @property
    def sha256(self) -> bytes:
        """The hash of the whole file."""
        digest: bytes = self.digest.digest()
        return digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is written beside a file for whoever reads it without the database."""

    format: str = FORMAT
    installation: str
    partition: str
    from_position: int
    to_position: int
    """The last position of the range, included, as people count."""
    last_recorded_at: str
    events: int
    """Usage in the file …"""
    decisions: int
    """… and decisions in the log: together they are every position of the range, so none is missing."""
    file: str
    file_bytes: int
    sha256: str
    organizations: dict[str, Share]


def file_name(from_position: int) -> str:
    """Name the file of the partition that begins at this position."""
    return f"usage-{from_position:019d}.ndjson"


def manifest_path(path: Path) -> Path:
    """Name the manifest beside a file."""
    return path.with_suffix(".manifest.json")


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turn what the file system raises into an ArchiveError that names the file."""
    try:
        yield
    except OSError as error:
        raise ArchiveError(f"{error.filename or path}: {error.strerror}") from None


def is_there(path: Path) -> bool:
    """Say whether a file is finished already."""
    return path.exists()


def unfinished(path: Path) -> Path:
    """Name the file that becomes another once it is whole."""
    return path.with_name(f"{path.name}.part")


def create(path: Path) -> IO[bytes]:
    """Open a file that only its owner may read, for what is not finished yet. An earlier attempt is written over."""
    descriptor = os.open(unfinished(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    return os.fdopen(descriptor, "wb")


def finish(file: IO[bytes], path: Path) -> None:
    """Bring a finished file to the disk under its name, and its name too."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    unfinished(path).rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def take(contents: Contents, lines: bytes, tree: dict[int, bytes]) -> None:
    """Count lines as they were read back, each held against its leaf in the tree, by position. Raises ArchiveError."""
    for line in lines.splitlines(keepends=True):
        found = LINE.fullmatch(line)
        if found is None:
            raise ArchiveError(f"a line after {contents.events} others is not one of usage: {line[:60]!r}")
        position, hashed = int(found["position"]), leaf_hash(found["entry"])
        if hashed.hex().encode() != found["leaf_hash"] or hashed != tree.get(position):
            raise ArchiveError(
                f"the event at position {position} is not what the log's tree took in: it was altered; "
                "nothing is archived from there on (`entri verify-log` shows more)"
            )
        name, place = found["organization"].decode(), int(found["organization_position"])
        share = contents.shares.get(name)
        contents.shares[name] = Share(share.first if share else place, place, share.events + 1 if share else 1)
        contents.events += 1
    contents.digest.update(lines)
    contents.file_bytes += len(lines)


def leaves_of(tiles: dict[tuple[int, int], bytes], width: int) -> dict[int, bytes]:
    """List the leaf hashes in tiles of level 0 by the positions of their events."""
    return {
        tile * width + at // HASH_BYTES + 1: hashes[at : at + HASH_BYTES]
        for (_, tile), hashes in tiles.items()
        for at in range(0, len(hashes), HASH_BYTES)
    }


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a file's manifest, or hold the one that is there against it. Raises ArchiveError."""
    text = json.dumps(asdict(manifest), ensure_ascii=False, indent=2).encode() + b"\n"
    with told_plainly(manifest_path(path)):
        if manifest_path(path).exists():
            if manifest_path(path).read_bytes() != text:
                raise ArchiveError(f"{manifest_path(path)} is not the manifest of {path.name}: move it away")
            return
        file = create(manifest_path(path))
        with file:
            file.write(text)
            finish(file, manifest_path(path))


def check_file(path: Path, *, file_bytes: int, digest: bytes) -> None:
    """Hold a file against what the archive says of it. Raises ArchiveError."""
    with told_plainly(path), path.open("rb") as file:
        hashed = sha256()
        while block := file.read(2**20):
            hashed.update(block)
        if file.tell() != file_bytes or hashed.digest() != digest:
            raise ArchiveError(f"{path} is not the file that was archived: its SHA-256 should be {digest.hex()}")
