"""Events as lines of text: for people, and for programs. Must never change an entry, nor let one steer a terminal.

Lines are made of the stored entry as it is, so that an event of a type that this program does not know is shown too.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

import asyncpg
import click
import orjson

from events.entry import leaf_hash
from events.registry import TYPES, utc_text

WIDEST: Final = 240
ID_WIDTH: Final = 30
TYPE_WIDTH: Final = max(map(len, TYPES))
TELLING: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(field.name for field in fields(described.cls) if field.name != described.subject_field)
    for name, described in TYPES.items()
}
"""The fields of each type that say more than what the event is about, in the order of its definition."""
MARKS: Final = frozenset(' "=,\\')
PLAIN: Final = str
Line = Callable[[asyncpg.Record], bytes]


def json_line(row: asyncpg.Record) -> bytes:
    """Write an event as one line of JSON in which its entry stands byte for byte as it was hashed."""
    entry: bytes = row[3]
    return b'{"position":%d,"organization_position":%d,"recorded_at":"%b","leaf_hash":"%b","entry":%b}\n' % (
        row[0],
        row[1],
        utc_text(row[2]).encode(),
        leaf_hash(entry).hex().encode(),
        entry,
    )


def line_for_people(*, of_one_organization: bool, has_colours: bool) -> Line:
    """Choose how an event is written for people: position, instant, organization, type, subject, actor, what it tells.

    The position is the organization's own where only one is shown, and then the organization is left out.
    """
    faint, striking = (styled(dim=True), styled(fg="cyan")) if has_colours else (PLAIN, PLAIN)

    def line(row: asyncpg.Record) -> bytes:
        content = orjson.loads(row[3])
        name = content["type"]
        position, organization = (
            (row[1], "") if of_one_organization else (row[0], f"{content['organization']:<{ID_WIDTH}}  ")
        )
        start, end = f"{position:>10}  {utc_text(row[2])[:-4]}Z", f"{name:<{TYPE_WIDTH}}"
        rest = f"  {content['subject']:<{ID_WIDTH}}  {content['actor']['id']:<{ID_WIDTH}}  {told(name, content)}"
        room = WIDEST - len(start) - len(organization) - len(end) - 2
        rest = rest if len(rest) <= room else f"{rest[: room - 1]}…"
        return f"{faint(start)}  {organization}{striking(end)}{rest.rstrip()}\n".encode()

    return line


def styled(**how: Any) -> Callable[[str], str]:  # noqa: ANN401 -- click's own
    """Make a function that styles a text, without asking click anew each time."""
    before, _, after = click.style("\0", **how).partition("\0")
    return lambda shown: f"{before}{shown}{after}"


def told(name: str, content: Mapping[str, Any]) -> str:
    """Write what an event tells, null left out, and the address that it was asked for from."""
    payload = content["payload"]
    known = TELLING.get(name, tuple(payload))
    values = [f"{field}={written(payload[field])}" for field in known if payload.get(field) is not None]
    return " ".join([*values, f"address={written(content['address'])}"] if content["address"] else values)


def written(value: object) -> str:
    """Write a value so that it ends where it seems to end; what a terminal would obey is escaped."""
    if isinstance(value, list):
        return ",".join(map(written, value)) or "-"
    text = str(value)
    if not text.isprintable():
        return json.dumps(text).replace("\x7f", "\\u007f")
    return text if text and MARKS.isdisjoint(text) else json.dumps(text, ensure_ascii=False)
