"""Writes the parts of the reference that follow from the code: `python docs/generate.py`, or `--check` to compare.

A part stands between two comments in a page of `docs/reference`. Nothing outside them is touched.
"""  # noqa: INP001 -- a script, not a package

import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Final

import click

from events.registry import TYPES, EventType
from events.scopes import RESERVED
from service.api.limits import Limits
from service.cli import main
from service.settings import OPTIONS

PAGES: Final = Path(__file__).parent / "reference"
PART: Final = re.compile(r"(?<=<!-- generated: )(?P<name>[a-z-]+) -->\n.*?(?=<!-- end -->)", re.DOTALL)
WIDTH: Final = 100


def settings() -> Iterator[str]:
    """List every setting."""
    yield "| option | variable | default | value | what it is for |"
    yield "| --- | --- | --- | --- | --- |"
    for option in OPTIONS:
        default = f"`{option.default_text}`" if option.default_text else ""
        yield f"| `{option.flag}` | `{option.variable}` | {default} | {option.expects} | {option.help} |"


def command_line() -> Iterator[str]:
    """Show the help of every command."""
    for context in contexts(main, "entri", None):
        yield f"\n## `{context.command_path}`\n\n```text\n{context.get_help()}\n```"


def contexts(command: click.Command, name: str, parent: click.Context | None) -> Iterator[click.Context]:
    """Walk through a command and those beneath it."""
    context = click.Context(command, parent, name, terminal_width=WIDTH, **command.context_settings)
    yield context
    for inner in getattr(command, "commands", {}).values():
        yield from contexts(inner, inner.name, context)


def event_types() -> Iterator[str]:
    """Show every event type and the fields of its payload."""
    for name, described in TYPES.items():
        kind = "observed" if described.is_observed else "decided"
        yield f"\n## {name}\n\n{described.cls.__doc__}\n"
        yield f"Schema version {described.schema_version}, {kind}, subject `{described.subject_field}`.\n"
        yield "| field | value |\n| --- | --- |"
        yield from payload_fields(described)


def payload_fields(described: EventType) -> Iterator[str]:
    """Show the fields of an event type."""
    hints = typing.get_type_hints(described.cls)
    for field in fields(described.cls):
        yield f"| `{field.name}` | {meaning(hints[field.name])} |"


def meaning(annotation: object) -> str:
    """Say what a field's type is in JSON."""
    if isinstance(annotation, UnionType):
        (inner,) = (part for part in typing.get_args(annotation) if part is not type(None))
        return f"{meaning(inner)}, or null"
    if typing.get_origin(annotation) is tuple:
        return f"a list, each {meaning(typing.get_args(annotation)[0])}"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    plain = {str: "a text", int: "a whole number", bool: "true or false", datetime: "an instant"}
    return plain[typing.cast("type[object]", annotation)]


def scopes() -> Iterator[str]:
    """List the reserved resources and their actions."""
    yield "| resource | actions |\n| --- | --- |"
    for resource, actions in RESERVED.items():
        yield f"| `{resource}` | {', '.join(f'`{action}`' for action in sorted(actions))} |"


def limits() -> Iterator[str]:
    """List the limits of a document."""
    yield "| limit | default |\n| --- | --- |"
    values = Limits()
    for field in fields(Limits):
        value = getattr(values, field.name)
        yield f"| `{field.name}` | {value if isinstance(value, int) else ', '.join(sorted(value))} |"


PARTS: Final[Mapping[str, Callable[[], Iterator[str]]]] = {
    "settings": settings,
    "command-line": command_line,
    "event-types": event_types,
    "scopes": scopes,
    "limits": limits,
}


def renewed(text: str) -> str:
    """Write the parts of a page anew."""
    return PART.sub(lambda found: f"{found['name']} -->\n" + "\n".join(PARTS[found["name"]]()).strip("\n") + "\n", text)


def run(*, check: bool) -> int:
    """Renew every page, or say which are not what the code says. Answers an exit code."""
    stale = [page for page in sorted(PAGES.glob("*.md")) if renewed(page.read_text("utf-8")) != page.read_text("utf-8")]
    for page in stale:
        sys.stdout.write(f"{page.name} {'is not what the code says: run python docs/generate.py' if check else ''}\n")
        if not check:
            page.write_text(renewed(page.read_text("utf-8")), "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(run(check="--check" in sys.argv[1:]))
