"""The format of an export: its manifest, its files and its lines. Must never do I/O.

An export is a directory of files, or one file that holds the same. Its lines are JSON objects, one for each position:

    {"position":…,["organization_position":…,]"recorded_at":…,"leaf_hash":…,"organization":…,"type":…,"subject":…,
     "actor":…,"occurred_at":…,"entry":…}

`entry` holds the exact bytes that were hashed, `leaf_hash` what the log's tree holds for the position. What stands
between the two are the columns that the log is searched by; each has to repeat what the entry says. A position whose
event the database does not hold has another line:

    {"position":…,"leaf_hash":…,"absent":"missing"}    {"position":…,"leaf_hash":…,"absent":"archived","file":…}
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from events.merkle import HASH_BYTES

FORMAT: Final = "entri-export/1"
PART_SIZE: Final = 262_144
"""How many positions one file of events holds at most; each begins at a multiple of it, plus one."""
BLOCK: Final = 1_024
"""How many positions are read and written at once: about 1 MB of lines, and whole tiles of the tree."""
MOST_LINE_BYTES: Final = 8 * 2**20
MOST_HEADER_BYTES: Final = 8 * 2**20

MANIFEST: Final = "manifest.json"
CHECKPOINT: Final = "checkpoint.txt"
KEY: Final = "log.vkey"
SCHEMA: Final = "event-types.schema.json"
SUMS: Final = "SHA256SUMS"
PART: Final = re.compile(r"events-([0-9]{19})\.ndjson", re.ASCII)
TRAILER: Final = re.compile(rb'\{"sha256":"([0-9a-f]{64})"\}\n')
TRAILER_BYTES: Final = len(b'{"sha256":""}\n') + 64
MISSING: Final = "missing"
ARCHIVED: Final = "archived"

INSTANT: Final = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
LINE: Final = re.compile(
    rb'\{"position":(?P<position>[1-9][0-9]{0,18}),(?:"organization_position":(?P<organization_position>[1-9][0-9]{0,18}),)?'
    rb'"recorded_at":"(?P<recorded_at>[^"]*)","leaf_hash":"(?P<leaf_hash>[^"]*)","organization":"(?P<organization>[^"]*)",'
    rb'"type":"(?P<type>[^"]*)","subject":"(?P<subject>[^"]*)","actor":"(?P<actor>[^"]*)",'
    rb'"occurred_at":"(?P<occurred_at>[^"]*)",'
    rb'"entry":(?P<entry>\{"actor":\{"id":"(?P=actor)","kind":"[^"]*"\},"address":[^,]*,"event_id":"[^"]*",'
    rb'"occurred_at":"(?P=occurred_at)","organization":"(?P=organization)","payload":\{.*,'
    rb'"subject":"(?P=subject)","type":"(?P=type)","version":(?:null|[0-9]+)\})\}',
    re.DOTALL,
)
"""A line whose columns repeat what its entry says, as nearly every one is: found out without reading the JSON."""


class ExportError(Exception):
    """An export cannot be made or is not what it should be; the message says why, `position` where if that is known."""

    def __init__(self, problem: str, position: int | None = None) -> None:
        super().__init__(problem if position is None else f"position {position}: {problem}")
        self.problem = problem
        self.position = position


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an export holds."""

    format: str = FORMAT
    origin: str
    """The name of the log's tree that the positions are of, as its checkpoint has it."""
    organization: str | None
    """Whose history it is; None for the whole log."""
    first: int
    last: int
    tree_size: int
    """How many events the checkpoint speaks for."""
    frontier: tuple[str, ...]
    """The roots of the complete subtrees before the first position, largest first: a tree is made up of such."""
    growth: tuple[str, ...]
    """The proof that the checkpoint's tree begins with that of the last position (RFC 9162, 2.1.4); empty if equal."""
    part_size: int = PART_SIZE

    @property
    def events(self) -> int:
        """How many positions it holds."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """All of an export but its lines."""

    manifest: Manifest
    checkpoint: str
    """The signed note."""
    key: str
    """The public key that signed it ("vkey")."""
    event_types: dict[str, Any]
    """The JSON schema of entries."""


def part_name(first: int) -> str:
    """Name the file that begins at this position."""
    return f"events-{first:019d}.ndjson"


def part_start(position: int, manifest: Manifest) -> int:
    """Say which position is the first in the file that holds this one."""
    return max(manifest.first, (position - 1) // manifest.part_size * manifest.part_size + 1)


def part_end(position: int, manifest: Manifest) -> int:
    """Say which position is the last in the file that holds this one."""
    return min(manifest.last, -(-position // manifest.part_size) * manifest.part_size)


def block_end(position: int, manifest: Manifest) -> int:
    """Say which position is the last in the block that holds this one: blocks end where parts do."""
    size = min(BLOCK, manifest.part_size)
    return min(manifest.last, -(-position // size) * size)


def header_line(header: Header) -> bytes:
    """Write what an export of one file begins with."""
    return json.dumps(asdict(header), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def header_files(header: Header) -> dict[str, bytes]:
    """Write what an export in a directory holds beside its events, by name."""
    return {
        MANIFEST: pretty(asdict(header.manifest)),
        CHECKPOINT: header.checkpoint.encode(),
        KEY: f"{header.key}\n".encode(),
        SCHEMA: pretty(header.event_types),
    }


def pretty(value: object) -> bytes:
    """Write JSON for people."""
    return json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"


def trailer(digest: str) -> bytes:
    """Write what an export of one file ends with: the SHA-256 of all before."""
    return b'{"sha256":"%b"}\n' % digest.encode()


def sums_text(sums: Mapping[str, str]) -> bytes:
    """Write the digests of files by name, as `sha256sum --check` reads them."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()


def read_header_line(line: bytes) -> Header:
    """Read the first line of an export of one file. Raises ExportError."""
    value = read_json(line, "its first line")
    if not isinstance(value, dict) or set(value) != {field.name for field in fields(Header)}:
        raise ExportError("it is not an export: its first line is not the header of one")
    if not isinstance(value["checkpoint"], str) or not isinstance(value["key"], str):
        raise ExportError("the checkpoint or the key in its first line is not a text")
    return Header(**(value | {"manifest": read_manifest(value["manifest"])}))


def read_header_files(files: dict[str, bytes]) -> Header:
    """Read what an export in a directory holds beside its events. Raises ExportError."""
    try:
        checkpoint, key = files[CHECKPOINT].decode(), files[KEY].decode()
    except UnicodeDecodeError:
        raise ExportError(f"{CHECKPOINT} or {KEY} is not UTF-8 text") from None
    return Header(
        manifest=read_manifest(read_json(files[MANIFEST], MANIFEST)),
        checkpoint=checkpoint,
        key=key.removesuffix("\n"),
        event_types=read_json(files[SCHEMA], SCHEMA),
    )


def read_json(octets: bytes, what: str) -> Any:  # noqa: ANN401 -- JSON is anything
    """Read JSON. Raises ExportError."""
    try:
        return json.loads(octets)
    except (ValueError, RecursionError):
        raise ExportError(f"{what} is not JSON") from None


def read_manifest(value: object) -> Manifest:
    """Read a manifest, strictly. Raises ExportError."""
    names = {field.name for field in fields(Manifest)}
    if not isinstance(value, dict) or not isinstance(value.get("format"), str):
        raise ExportError("it is not an export: its manifest names no format")
    if value["format"] != FORMAT:
        raise ExportError(f"its format is {value['format'][:40]!r}, and this program reads {FORMAT}: use a newer one")
    numbers = [value.get(name) for name in ("first", "last", "tree_size", "part_size")]
    hashes = [value.get(name) for name in ("frontier", "growth")]
    if (
        set(value) != names
        or not isinstance(value["origin"], str)
        or not isinstance(value["organization"], str | None)
        or not all(type(number) is int and 0 <= number < 2**63 for number in numbers)
        or not all(isinstance(each, list) and all(is_hash(one) for one in each) for each in hashes)
    ):
        raise ExportError("its manifest was altered: a member is missing, is one too many or has a wrong value")
    manifest = Manifest(**(value | {"frontier": tuple(value["frontier"]), "growth": tuple(value["growth"])}))
    check_range(manifest)
    return manifest


def check_range(manifest: Manifest) -> None:
    """Refuse a range that no tree has. Raises ExportError."""
    first, last = manifest.first, manifest.last
    if not 1 <= first <= last + 1 or last > manifest.tree_size or manifest.part_size < 1:
        raise ExportError(f"its manifest speaks of positions {first} to {last} of {manifest.tree_size}: there are none")
    if len(manifest.frontier) != (first - 1).bit_count():
        raise ExportError(f"its manifest has {len(manifest.frontier)} frontier hashes, too many or few before {first}")


def is_hash(value: object) -> bool:
    """Say whether a value is the hexadecimal text of a hash."""
    return isinstance(value, str) and HASH.fullmatch(value) is not None


def hashes_of(texts: tuple[str, ...]) -> list[bytes]:
    """Read hashes from hexadecimal."""
    return [bytes.fromhex(text) for text in texts]


def hex_of(hashes: bytes) -> list[str]:
    """Write hashes that stand one after the other in hexadecimal."""
    return [hashes[at : at + HASH_BYTES].hex() for at in range(0, len(hashes), HASH_BYTES)]


def event_line(columns: dict[str, str | int | None], entry: bytes) -> bytes:
    """Write the line of one event, as the database writes those in which nothing is odd.

    An entry that could not stand in a line of UTF-8 text is not canonical JSON, so it was altered: it is written in
    hexadecimal, under another name.
    """
    start = compact({name: value for name, value in columns.items() if value is not None})[:-1]
    if b"\n" in entry or not is_utf8(entry):
        return b'%b,"entry_hex":"%b"}\n' % (start, entry.hex().encode())
    return b'%b,"entry":%b}\n' % (start, entry)


def absent_line(position: int, leaf_hash: str, archive: str | None) -> bytes:
    """Write the line of a position whose event the log does not hold, though its tree took it in.

    It is missing, unless an archive's file is named that holds it.
    """
    columns = {"position": position, "leaf_hash": leaf_hash, "absent": MISSING if archive is None else ARCHIVED}
    return compact(columns if archive is None else {**columns, "file": archive}) + b"\n"


def compact(value: object) -> bytes:
    """Write JSON as lines have it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def is_utf8(octets: bytes) -> bool:
    """Say whether bytes are UTF-8 text."""
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True
