"""Golden events: entries as they were written once, which every later program must read.

A file is never changed. A new event type or schema version adds `<Type>.v<version>.json`; a field added with a default
adds `<Type>.v<version>.<field>.json`, in which the type has all of its fields.
"""

import json
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from events.entry import leaf_hash, recorded_event
from events.registry import TYPES, describe, encode_payload

HERE = Path(__file__).parent
GOLDEN = sorted(path.name for path in HERE.glob("*.json"))
AT = datetime.fromisoformat("2026-01-01T00:00:00Z")


def golden(name: str) -> dict[str, Any]:
    """Read a golden file."""
    return dict(json.loads((HERE / name).read_text(encoding="utf-8")))


def plain(value: object) -> object:
    """Write a decoded value as a golden file does."""
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", GOLDEN)
def test_what_was_written_is_read(name: str) -> None:
    """Every value that was in an entry comes out of it, whatever fields have been added since."""
    expected = golden(name)
    read = recorded_event(7, 3, AT, entry=expected["entry"].encode())
    decoded = expected["decoded"]
    event = decoded.pop("event")
    assert {field: plain(getattr(read, field)) for field in decoded} == decoded
    assert {field: plain(getattr(read.event, field)) for field in event} == event
    assert name.split(".")[:2] == [type(read.event).__name__, f"v{json.loads(expected['entry'])['schema_version']}"]


@pytest.mark.parametrize("name", GOLDEN)
def test_what_was_hashed_has_its_hash(name: str) -> None:
    """The leaf hash that proofs rest on follows from the entry for ever."""
    expected = golden(name)
    assert leaf_hash(expected["entry"].encode()).hex() == expected["leaf_hash"]


@pytest.mark.parametrize("name", GOLDEN)
def test_what_is_written_today_is_the_same(name: str) -> None:
    """Entry and payload of today's schema are written byte for byte as they were."""
    entry = golden(name)["entry"].encode()
    read = recorded_event(7, 3, AT, entry=entry)
    content = orjson.loads(entry)
    assert orjson.dumps(content, option=orjson.OPT_SORT_KEYS) == entry
    is_of_today = content["schema_version"] == describe(read.event).schema_version
    if is_of_today and content["payload"].keys() == {field.name for field in fields(read.event)}:
        written = orjson.dumps(encode_payload(read.event), option=orjson.OPT_SORT_KEYS)
        assert written == orjson.dumps(content["payload"], option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize("name", TYPES)
def test_every_version_has_its_file(name: str) -> None:
    """No type and no schema version of it goes without a file, and today's has one with every field."""
    known = TYPES[name]
    versions = {file.split(".")[1] for file in GOLDEN if file.split(".")[0] == name}
    assert versions == {f"v{version}" for version in range(1, known.schema_version + 1)}
    today = [golden(file) for file in GOLDEN if file.startswith(f"{name}.v{known.schema_version}.")]
    written = [json.loads(file["entry"])["payload"].keys() for file in today]
    assert {field.name for field in fields(known.cls)} in written


def test_no_file_is_of_nothing() -> None:
    """Every file here is of a type there is: types are never removed."""
    assert {name.split(".")[0] for name in GOLDEN} == set(TYPES)
