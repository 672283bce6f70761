"""Reads an export from its file or directory, piece by piece, and holds it against the digests written with it.

Must never trust what it reads, nor hold more of it than a piece.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from events.export_format import (
    CHECKPOINT,
    KEY,
    MANIFEST,
    MOST_HEADER_BYTES,
    MOST_LINE_BYTES,
    PART,
    SCHEMA,
    SUMS,
    TRAILER,
    TRAILER_BYTES,
    ExportError,
    Header,
    Manifest,
    header_files,
    part_end,
    part_name,
    read_header_files,
    read_header_line,
    sums_text,
)

if TYPE_CHECKING:
    from hashlib import _Hash

BESIDE_EVENTS: Final = frozenset({MANIFEST, CHECKPOINT, KEY, SCHEMA})
CHUNK: Final = 2**20


class Reading(Protocol):
    """An export that is being read."""

    header: Header
    problem: str | None
    """What is wrong with the digests, once the lines were read."""

    def lines(self) -> Iterator[list[bytes]]:
        """Read the lines, many at once, without their newlines. Raises ExportError where one is cut off."""


@contextmanager
def open_export(path: Path) -> Iterator[Reading]:
    """Open an export. Raises ExportError or OSError."""
    if path.is_dir():
        yield DirectoryReading(path)
        return
    with path.open("rb") as file:
        yield FileReading(path.name, file)


def read_checkpoint(path: Path) -> str:
    """Read the checkpoint that an auditor kept: its file, or an export's directory. Raises ExportError or OSError."""
    octets = read_small(path / CHECKPOINT if path.is_dir() else path)
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise ExportError(f"{path} is not a checkpoint: it is not UTF-8 text") from None


def read_small(path: Path) -> bytes:
    """Read a file that is not large. Raises ExportError or OSError."""
    with path.open("rb") as file:
        octets = file.read(MOST_HEADER_BYTES + 1)
    if len(octets) > MOST_HEADER_BYTES:
        raise ExportError(f"{path.name} is larger than it can be")
    return octets


class FileReading:
    """An export of one file."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.file = file
        self.problem: str | None = None
        line = file.readline(MOST_HEADER_BYTES)
        if not line.endswith(b"\n"):
            raise ExportError(f"{name} is not an export: its first line is not the header of one")
        self.header = read_header_line(line)
        self.digest = sha256(line)

    def lines(self) -> Iterator[list[bytes]]:
        """Read what is between the header and the digest, then compare that."""
        start, size = self.file.tell(), self.file.seek(0, os.SEEK_END)
        self.file.seek(max(start, size - TRAILER_BYTES))
        trailer = TRAILER.fullmatch(self.file.read())
        end = size - TRAILER_BYTES if trailer is not None else size
        self.file.seek(start)
        yield from split(self.file, end - start, self.digest)
        if trailer is None:
            self.problem = "the file does not end with its digest: it was cut off, added to or never finished"
        elif trailer[1].decode() != self.digest.hexdigest():
            manifest = self.header.manifest
            self.problem = f"the file is not what its digest says: {changed(manifest.first, manifest.last)}"


class DirectoryReading:
    """An export in a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        names = {each.name for each in path.iterdir()}
        if MANIFEST not in names:
            raise ExportError(f"{path} is not an export: it has no {MANIFEST}")
        self.sums = read_sums(path, names)
        if lacking := sorted(BESIDE_EVENTS - names):
            raise ExportError(f"the file {lacking[0]} is missing")
        files = {name: read_small(path / name) for name in BESIDE_EVENTS}
        for name, octets in files.items():
            if sha256(octets).hexdigest() != self.sums.get(name):
                raise ExportError(f"{name} is not what {SUMS} says: it was changed after it was written")
        self.header = read_header_files(files)
        check_names(self.header, names, self.sums)

    def lines(self) -> Iterator[list[bytes]]:
        """Read the parts one after the other, and compare the digest of each."""
        for first, last in parts(self.header.manifest):
            name, digest = part_name(first), sha256()
            with (self.path / name).open("rb") as file:
                yield from split(file, os.fstat(file.fileno()).st_size, digest)
            if digest.hexdigest() != self.sums[name] and self.problem is None:
                self.problem = f"{name} is not what {SUMS} says: {changed(first, last)}"


def changed(first: int, last: int) -> str:
    """Say what it means that a digest is not right where every line is."""
    return (
        f"something at one of the positions {first} to {last} was changed after it was written, and not so that its "
        "line shows it: a time at which an event was recorded, or an event and its leaf hash with it"
    )


def read_sums(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Read the digests of files by name. Raises ExportError."""
    if SUMS not in names:
        raise ExportError(f"{SUMS} is missing: the export was never finished, or the file was removed")
    octets = read_small(path / SUMS)
    found = [line.split(b"  ", 1) for line in octets.split(b"\n")[:-1]]
    try:
        sums = {pair[1].decode(): pair[0].decode() for pair in found}
    except (IndexError, UnicodeDecodeError):
        sums = {}
    if sums_text(sums) != octets:
        raise ExportError(f"{SUMS} was altered: it is not as it was written")
    return sums


def check_names(header: Header, names: Iterable[str], sums: Mapping[str, str]) -> None:
    """Hold the files that there are against those that there must be. Raises ExportError."""
    beside, manifest = header_files(header), header.manifest
    size = manifest.part_size
    count = (manifest.last - 1) // size - (manifest.first - 1) // size + 1 if manifest.events else 0
    wanted = {*beside, *(part_name(first) for first, _ in parts(manifest))} if len(sums) == len(beside) + count else ()
    if set(sums) != set(wanted):
        raise ExportError(f"{SUMS} does not name the files that {MANIFEST} speaks of: one of them was altered")
    there = set(names)
    for first, _ in parts(manifest):
        if part_name(first) not in there:
            raise ExportError(f"the file {part_name(first)} is missing", first)
    if more := sorted(name for name in there - set(sums) if PART.fullmatch(name)):
        raise ExportError(f"the file {more[0]} is not one of this export's")


def parts(manifest: Manifest) -> Iterator[tuple[int, int]]:
    """Say which positions each part holds, from the first to the last."""
    first = manifest.first
    while first <= manifest.last:
        last = part_end(first, manifest)
        yield first, last
        first = last + 1


def split(file: BinaryIO, length: int, digest: "_Hash") -> Iterator[list[bytes]]:
    """Read lines from a file, so many bytes of it, many lines at once. Raises ExportError."""
    rest = b""
    while length > 0 and (chunk := file.read(min(CHUNK, length))):
        length -= len(chunk)
        digest.update(chunk)
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        yield lines
        if len(rest) > MOST_LINE_BYTES:
            raise ExportError("the line is longer than any can be")
    if rest:
        raise ExportError("the line is cut off: the file ends in the middle of it")
