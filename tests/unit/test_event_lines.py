"""How events are written as lines: exact for programs, safe and whole for people."""

import asyncio
import json
import os
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from events.entry import leaf_hash
from service.cli.event_lines import ID_WIDTH, WIDEST, json_line, line_for_people, written
from service.cli.output import Output, ReaderGoneError

AT = datetime(2026, 1, 31, 12, 0, 0, 1234, tzinfo=UTC)


def row(**content: object) -> Any:  # noqa: ANN401 -- stands for a row of the log, which only its places are read of
    """Make a stored event."""
    whole = {
        "actor": {"id": "tok_9", "kind": "TOKEN"},
        "address": None,
        "organization": "org_1",
        "payload": {"token_id": "tok_1", "reason": "lost it", "name": None},
        "subject": "tok_1",
        "type": "TokenRevoked",
        **content,
    }
    return (70, 7, AT, orjson.dumps(whole, option=orjson.OPT_SORT_KEYS))


def test_a_line_for_programs_holds_the_entry_as_it_was_hashed() -> None:
    """A line is JSON, and its entry can be cut out of it byte for byte."""
    stored = row(payload={"name": '☃ \\ " \u2028', "z": 2**53 - 1})
    line = json_line(stored)
    assert line.endswith(b',"entry":' + stored[3] + b"}\n")
    assert line.count(b"\n") == 1
    told = json.loads(line)
    assert (told["position"], told["organization_position"]) == (70, 7)
    assert told["recorded_at"] == "2026-01-31T12:00:00.001234Z"
    assert told["leaf_hash"] == leaf_hash(stored[3]).hex()


def test_a_line_for_people_is_aligned_and_tells_what_matters() -> None:
    """Whose position, when, where, what, about what, by whom and what it says; null and the subject are left out."""
    line = line_for_people(of_one_organization=False, has_colours=False)
    expected = ("70", "2026-01-31T12:00:00.001Z", "org_1", "TokenRevoked", "tok_1", "tok_9", 'reason="lost', 'it"')
    text = line(row()).decode()
    assert tuple(text.split()) == expected
    other = line(row(organization=f"org_{'0' * 26}", type="TokenUpdated", subject=f"tok_{'0' * 26}")).decode()
    assert len(f"org_{'0' * 26}") == ID_WIDTH
    assert text.index("tok_1") == other.index("tok_0")
    own = line_for_people(of_one_organization=True, has_colours=False)(row(address="192.0.2.1")).decode()
    assert own.split()[0] == "7"
    assert "org_1" not in own
    assert own.endswith(" address=192.0.2.1\n")


def test_what_is_not_known_is_shown_and_what_is_too_long_is_cut() -> None:
    """An event of a later version's type is shown with all that it holds; no line is wider than the widest."""
    line = line_for_people(of_one_organization=False, has_colours=True)
    assert "brand=new" in line(row(type="TokenBlessed", payload={"brand": "new"})).decode()
    plain = line_for_people(of_one_organization=False, has_colours=False)
    long = plain(row(payload={"reason": "x" * 1000})).decode().rstrip("\n")
    assert len(long) == WIDEST
    assert long.endswith("…")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ('a"b=c', '"a\\"b=c"'),
        ("\x1b[2J\x7f\x9b", '"\\u001b[2J\\u007f\\u009b"'),
        ("a\u202eb", '"a\\u202eb"'),
        (["a:read", "b:*"], "a:read,b:*"),
        ([], "-"),
        (7, "7"),
    ],
)
def test_no_value_steers_a_terminal(value: object, shown: str) -> None:
    """A value ends where it seems to end, and what a terminal would obey is escaped."""
    assert written(value) == shown


async def test_a_full_pipe_is_waited_for_and_a_closed_one_noticed() -> None:
    """More than a pipe holds arrives whole while others run; when its reader is gone, that is told, writing or not."""
    reader, writer = os.pipe()
    output, content = Output(writer), os.urandom(300_000)
    writing = asyncio.create_task(output.write(content))
    received = b""
    while len(received) < len(content):
        received += await asyncio.to_thread(os.read, reader, 50_000)
    await writing
    assert received == content
    output.check()
    os.close(reader)
    with pytest.raises(ReaderGoneError):
        output.check()
    with pytest.raises(ReaderGoneError):
        await output.write(b"more")
    os.close(writer)
