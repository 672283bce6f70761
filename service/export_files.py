"""Where an export is written: one file or a directory of them, under another name until it is whole.

What is written is `OUTPUT.partial`, so an `OUTPUT` that is there is complete. Interrupted at whatever point, an export
goes on after the last block that its files certainly hold. Must never overwrite anything, nor leave a file that others
can read.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path
from typing import Final, Protocol

from events.export import Block
from events.export_format import (
    CHECKPOINT,
    KEY,
    MANIFEST,
    MOST_HEADER_BYTES,
    PART,
    SCHEMA,
    SUMS,
    ExportError,
    Header,
    Manifest,
    header_files,
    header_line,
    part_end,
    part_name,
    part_start,
    read_header_files,
    read_header_line,
    sums_text,
    trailer,
)
from service.export_tail import Tail

ONE_FILE: Final = ".ndjson"
UNFINISHED: Final = ".partial"
BEGINNING: Final = b'{"manifest":{"format":"entri-export/'
NEW_MANIFEST: Final = f"{MANIFEST}.new"
BESIDE_EVENTS: Final = frozenset({MANIFEST, NEW_MANIFEST, CHECKPOINT, KEY, SCHEMA, SUMS})


class Output(Protocol):
    """An export that is being written."""

    def header(self) -> Header | None:
        """Read the header that is there, None when nothing was begun; changes nothing. Raises ExportError."""

    def resume(self, header: Header) -> int:
        """Get ready to go on; answers the last position that is there."""

    def begin(self, header: Header) -> None:
        """Write a header."""

    def write(self, block: Block) -> None:
        """Write the next lines."""

    def finish(self) -> None:
        """Write what is at the end, and give all of it its name. Raises ExportError."""


@contextmanager
def open_output(path: Path) -> Iterator[Output]:
    """Claim an output: a file where its name ends in `.ndjson`, else a directory. Raises ExportError."""
    one_file = path.suffix == ONE_FILE
    check_free(path)
    partial = path.with_name(path.name + UNFINISHED)
    descriptor = claim(partial, one_file=one_file)
    try:
        if one_file:
            yield OneFile(path, partial, descriptor)
        else:
            with Directory(path, partial).closing() as directory:
                yield directory
    finally:
        remove_empty(partial, descriptor)
        os.close(descriptor)


def remove_empty(partial: Path, descriptor: int) -> None:
    """Leave nothing where nothing was begun: what is refused has no output."""
    with suppress(OSError):
        if partial.is_dir():
            partial.rmdir()  # refused by the system unless it is empty
        elif partial.exists() and os.fstat(descriptor).st_size == 0:
            partial.unlink()


def check_free(path: Path) -> None:
    """Refuse to write where something is. Raises ExportError."""
    if not path.parent.is_dir():
        raise ExportError(f"there is no directory {path.parent}: make it, or choose another place for the export")
    one_file = path.suffix == ONE_FILE
    if not os.path.lexists(path) or (not one_file and path.is_dir() and not any(path.iterdir())):
        return
    advice = "" if one_file else f"; a directory must be new or empty, the name of a single file ends in {ONE_FILE}"
    raise ExportError(f"{path} is there already and nothing is overwritten: choose another name{advice}")


def claim(partial: Path, *, one_file: bool) -> int:
    """Open what is not finished and keep other exports off it. Raises ExportError."""
    if not one_file:
        partial.mkdir(mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT if one_file else os.O_RDONLY | os.O_DIRECTORY
    descriptor = os.open(partial, flags | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ExportError(f"another export is writing {partial}: wait for it, or choose another name") from None
    return descriptor


def not_ours(partial: Path) -> ExportError:
    """Say that what is in the way is no export."""
    return ExportError(f"{partial} is in the way and is not an unfinished export: choose another name for this one")


class OneFile:
    """An export of one file: its header, its lines, and a line with the digest of both."""

    def __init__(self, path: Path, partial: Path, descriptor: int) -> None:
        self.path = path
        self.partial = partial
        self.tail = Tail(descriptor)

    def header(self) -> Header | None:
        """Read the header. Raises ExportError."""
        with open(self.tail.descriptor, "rb", closefd=False) as file:
            line = file.readline(MOST_HEADER_BYTES)
        if not line.startswith(BEGINNING[: len(line)]):
            raise not_ours(self.partial)
        return read_header_line(line) if line.endswith(b"\n") else None

    def resume(self, header: Header) -> int:
        """Cut off all but the blocks that others follow."""
        line = header_line(header)
        self.tail.digest.update(line)
        os.lseek(self.tail.descriptor, len(line), os.SEEK_SET)
        return self.tail.recover(header.manifest, header.manifest.first) - 1

    def begin(self, header: Header) -> None:
        """Write the header, in the place of one that is torn."""
        os.ftruncate(self.tail.descriptor, os.lseek(self.tail.descriptor, 0, os.SEEK_SET))
        self.tail.add(header_line(header))

    def write(self, block: Block) -> None:
        """Write the next lines."""
        self.tail.add(block.lines)

    def finish(self) -> None:
        """Write the digest, and take on the name."""
        self.tail.add(trailer(self.tail.digest.hexdigest()))
        os.fsync(self.tail.descriptor)
        put_in_place(self.partial, self.path)


class Directory:
    """An export in a directory: what its header is made of in files, its lines in parts, and the digests of all."""

    manifest: Manifest
    """From `resume` or `begin` on."""

    def __init__(self, path: Path, partial: Path) -> None:
        self.path = path
        self.partial = partial
        self.sums: dict[str, str] = {}
        self.part = ""
        self.tail: Tail | None = None

    def header(self) -> Header | None:
        """Read the header. Raises ExportError."""
        names = {path.name for path in self.partial.iterdir()}
        parts = {name for name in names if PART.fullmatch(name)}
        if names - parts - BESIDE_EVENTS or (parts and MANIFEST not in names):
            raise not_ours(self.partial)
        if MANIFEST not in names:
            return None
        if lacking := {CHECKPOINT, KEY, SCHEMA} - names:
            raise ExportError(f"{self.partial} lacks {', '.join(sorted(lacking))}: remove it and begin again")
        return read_header_files({name: (self.partial / name).read_bytes() for name in names - parts})

    def resume(self, header: Header) -> int:
        """Cut off all but the blocks that others follow."""
        self.add_sums(header)
        first = header.manifest.first
        while (self.partial / part_name(following := part_end(first, header.manifest) + 1)).exists():  # this is whole
            self.sums[part_name(first)] = digest_of(self.partial / part_name(first))
            first = following
        if (self.partial / part_name(first)).exists():
            first = self.open_part(first).recover(header.manifest, first)
        return first - 1

    def begin(self, header: Header) -> None:
        """Write the files of the header; that which makes the directory an export last, and in one step."""
        for name, octets in header_files(header).items():
            write_file(self.partial / (NEW_MANIFEST if name == MANIFEST else name), octets)
        (self.partial / NEW_MANIFEST).rename(self.partial / MANIFEST)
        self.add_sums(header)

    def add_sums(self, header: Header) -> None:
        """Take the digests of the files that a header is made of."""
        self.manifest = header.manifest
        self.sums = {name: digest_of(self.partial / name) for name in header_files(header)}

    def write(self, block: Block) -> None:
        """Write the next lines, in another part where one begins."""
        first = part_start(block.first, self.manifest)
        if self.tail is None or self.part != part_name(first):
            self.close_part()
            self.tail = self.open_part(first)
        self.tail.add(block.lines)

    def open_part(self, first: int) -> Tail:
        """Open the part that begins at a position."""
        self.part = part_name(first)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        self.tail = Tail(os.open(self.partial / self.part, flags, 0o600))
        return self.tail

    def close_part(self) -> None:
        """End a part: it is on the disk before another begins."""
        if self.tail is not None:
            os.fsync(self.tail.descriptor)
            os.close(self.tail.descriptor)
            self.sums[self.part] = self.tail.digest.hexdigest()
            self.tail = None

    @contextmanager
    def closing(self) -> Iterator["Directory"]:
        """Close the part that is open, in the end."""
        try:
            yield self
        finally:
            with suppress(OSError):
                self.close_part()

    def finish(self) -> None:
        """Write the digests, and take on the name."""
        self.close_part()
        write_file(self.partial / SUMS, sums_text(self.sums))
        sync_directory(self.partial)
        put_in_place(self.partial, self.path)


def write_file(path: Path, octets: bytes) -> None:
    """Write a small file that nobody else can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(descriptor)


def digest_of(path: Path) -> str:
    """Compute the SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def put_in_place(partial: Path, path: Path) -> None:
    """Give what is whole its name. Raises ExportError where something else has it by now."""
    check_free(path)
    partial.rename(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the disk hold the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
