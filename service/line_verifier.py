"""Verifies the lines of an export, one after the other. Must never say that a line is good when it cannot tell.

Nearly every line is found good without reading its JSON. What is not is read, to tell what is wrong with it.
"""

import json
from binascii import hexlify
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NoReturn

from events.export_format import ARCHIVED, INSTANT, LINE, MISSING, ExportError, Manifest, compact, is_hash
from events.merkle import Frontier

LONGEST_SHOWN: Final = 80
ENTRY: Final = b',"entry":'
COLUMNS: Final = ("organization", "type", "subject", "actor", "occurred_at")
ALTERED: Final = "the event was altered: its entry is not the one that the log's tree took in"
NO_LINE: Final = "the line was changed: no export has one like it"
GONE: Final = "the event is missing: the log's tree took it in, and the database had it no more"


class LineVerifier:
    """Looks at one line after the other."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.expected = manifest.first
        """The position that comes next."""
        self.places: dict[bytes, int] = {}
        """In the operator's export, each organization's last position: as many as there are organizations."""
        self.archived: dict[str, int] = {}
        """How many events are not in the export but in an archive's files, by their names."""
        self.first_recorded_at = b""
        self.recorded_at = b""

    def take(self, lines: Sequence[bytes]) -> list[bytes]:
        """Verify the next lines; answers the hashes of their leaves. Raises ExportError at the first bad one."""
        leaves: list[bytes] = []
        for line in lines:
            found = LINE.fullmatch(line)
            if found is None or self.expected > self.manifest.last:
                leaf = self.examine(line)
            else:
                position, place, at, leaf_hex, organization, _, _, _, _, entry = found.groups()
                leaf = sha256(b"\x00" + entry).digest()
                if int(position) != self.expected or hexlify(leaf) != leaf_hex:
                    self.refuse(int(position), ALTERED)
                self.check_place(organization, place)
                if at != self.recorded_at:
                    self.check_instant(at)
            leaves.append(leaf)
            self.expected += 1
        return leaves

    def check_place(self, organization: bytes, place: bytes | None) -> None:
        """Hold an event's place in its organization's history against those before. Raises ExportError."""
        own = self.manifest.organization
        if (own is None) != (place is not None):
            self.refuse(self.expected, NO_LINE)
        if own is not None or place is None:
            if organization != (own or "").encode():
                self.refuse(self.expected, "the event is not of the organization whose history this is")
            return
        number = int(place)
        is_all_there = self.manifest.first == 1 and not self.archived
        wanted = self.places.get(organization, 0 if is_all_there else number - 1) + 1
        if number != wanted:
            whose = organization.decode(errors="replace")
            problem = f"the event is number {number} of {shown(whose)}, and number {wanted} is next"
            self.refuse(self.expected, problem)
        self.places[organization] = number

    def check_instant(self, at: bytes) -> None:
        """Hold the time at which an event was recorded against that of the one before. Raises ExportError."""
        if INSTANT.fullmatch(at) is None or not is_instant(at.decode()):
            self.refuse(self.expected, "the time at which it was recorded is not an instant: it was altered")
        if at < self.recorded_at:
            problem = f"it says it was recorded at {at.decode()}, before the one in front of it was: one was altered"
            self.refuse(self.expected, problem)
        self.recorded_at = at
        self.first_recorded_at = self.first_recorded_at or at

    def refuse(self, position: int, problem: str) -> NoReturn:
        """Say what is wrong with the line that was to be the next one. Raises ExportError."""
        expected = self.expected
        if expected > self.manifest.last:
            raise ExportError("there is something else than the digest after the last position", expected)
        if position > expected:
            raise ExportError(f"it is missing, and position {position} is in its place", expected)
        if position < expected:
            raise ExportError(f"position {position} is in its place, for a second time or out of order", expected)
        raise ExportError(problem, expected)

    def examine(self, line: bytes) -> bytes:
        """Read a line's JSON; answers the hash of its leaf when it is good after all. Raises ExportError."""
        if self.expected > self.manifest.last:
            self.refuse(self.expected, "")
        start, separator, entry = line.partition(ENTRY)
        columns = columns_of(start + b"}" if separator else line)
        position = None if columns is None else columns.get("position")
        if columns is None or type(position) is not int:
            self.refuse(self.expected, NO_LINE)
        if not separator:
            return self.examine_absent(position, columns)
        leaf = sha256(b"\x00" + entry[:-1]).digest()
        if columns.get("leaf_hash") != leaf.hex() or entry[-1:] != b"}":
            self.refuse(position, ALTERED)
        self.check_columns(position, columns, json_object(entry[:-1]))
        return leaf

    def examine_absent(self, position: int, columns: dict[str, Any]) -> bytes:
        """Read the line of an event that is not in the export; answers its leaf when it was archived. Raises."""
        if position != self.expected or columns.get("absent") != ARCHIVED:
            self.refuse(position, GONE if columns.get("absent") == MISSING else ALTERED)
        if tuple(columns) != ("position", "leaf_hash", "absent", "file") or not isinstance(columns["file"], str):
            self.refuse(position, NO_LINE)
        if not is_hash(columns["leaf_hash"]):
            self.refuse(position, NO_LINE)
        self.archived[columns["file"]] = self.archived.get(columns["file"], 0) + 1
        self.places.clear()
        return bytes.fromhex(columns["leaf_hash"])

    def check_columns(self, position: int, columns: dict[str, Any], entry: dict[str, Any] | None) -> None:
        """Hold what a line repeats against its entry. Raises ExportError."""
        whole = ("organization_position",) if self.manifest.organization is None else ()
        if tuple(columns) != ("position", *whole, "recorded_at", "leaf_hash", *COLUMNS):
            self.refuse(position, NO_LINE)
        if entry is None:
            self.refuse(position, "its entry is not JSON")
        actor = entry.get("actor")
        told = entry | {"actor": actor.get("id") if isinstance(actor, dict) else None}
        for name in COLUMNS:
            if columns[name] != told.get(name) or not isinstance(columns[name], str):
                says, entry_says = shown(columns[name]), shown(told.get(name))
                problem = f"its column {name} was altered: it says {says}, and the entry {entry_says}"
                self.refuse(position, problem)
        place = columns.get("organization_position")
        if not isinstance(columns["recorded_at"], str) or (whole and (type(place) is not int or place < 1)):
            self.refuse(position, NO_LINE)
        if position != self.expected:
            self.refuse(position, "")
        self.check_place(columns["organization"].encode(), str(place).encode() if whole else None)
        self.check_instant(columns["recorded_at"].encode())


class Growth:
    """The tree that the leaves make up, and its root at the size of a checkpoint that was kept."""

    def __init__(self, frontier: Frontier, kept_size: int | None) -> None:
        self.frontier = frontier
        self.kept_size = kept_size
        self.kept_root = frontier.root() if frontier.size == kept_size else None

    def add(self, leaves: Sequence[bytes]) -> None:
        """Take in the next leaves."""
        before = self.frontier.size
        if self.kept_size is not None and before < self.kept_size <= before + len(leaves):
            self.frontier.extend(leaves[: self.kept_size - before])
            self.kept_root = self.frontier.root()
            leaves = leaves[self.kept_size - before :]
        self.frontier.extend(leaves)


def columns_of(octets: bytes) -> dict[str, Any] | None:
    """Read the part of a line that an export writes; None where it is not as that is written."""
    columns = json_object(octets)
    try:
        return columns if columns is not None and compact(columns) == octets else None
    except RecursionError:
        return None


def shown(value: object) -> str:
    """Write a value that others chose so that it can stand in a message."""
    text = ascii(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def json_object(octets: bytes) -> dict[str, Any] | None:
    """Read a JSON object; None where it is not one."""
    try:
        value = json.loads(octets.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def is_instant(text: str) -> bool:
    """Say whether a text of the form of an instant is one."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
