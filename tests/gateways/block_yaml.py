"""The part of YAML that the pages keep to: indented mappings and lists, plain and double-quoted text. Refuses the rest.

Source: YAML 1.2.2, chapter 8, https://yaml.org/spec/1.2.2/#chapter-8-block-style-productions.
"""

import json
import re
from typing import Any, Final

KEY: Final = re.compile(r'(?P<key>"[^"]+"|[\w@./-]+):(?: (?P<value>\S.*))?')
PLAIN: Final = re.compile(r"[\w/.][\w/.:*-]*")


def read_yaml(text: str) -> Any:  # noqa: ANN401 -- a decoder
    """Read a document. Raises AssertionError for what is not understood."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    value, rest = block(lines)
    assert rest == []
    return value


def block(lines: list[str]) -> tuple[Any, list[str]]:
    """Read what is indented as the first line is, and answer what follows it too."""
    depth = depth_of(lines[0])
    return sequence(lines, depth) if is_item(lines[0]) else mapping(lines, depth)


def sequence(lines: list[str], depth: int) -> tuple[list[Any], list[str]]:
    """Read the items of a list."""
    items: list[Any] = []
    while lines and depth_of(lines[0]) == depth and is_item(lines[0]):
        first = f"{' ' * (depth + 2)}{lines[0][depth + 2 :]}"  # the dash indents like a space
        if KEY.fullmatch(first.strip()):
            item, lines = mapping([first, *lines[1:]], depth + 2)
        else:
            item, lines = scalar(first.strip()), lines[1:]
        items.append(item)
    return items, lines


def mapping(lines: list[str], depth: int) -> tuple[dict[str, Any], list[str]]:
    """Read the keys of a mapping."""
    found: dict[str, Any] = {}
    while lines and depth_of(lines[0]) == depth and not is_item(lines[0]):
        match = KEY.fullmatch(lines[0].strip())
        assert match, lines[0]
        key, lines = match["key"].strip('"'), lines[1:]
        assert key not in found, key
        if match["value"] is not None:
            found[key] = scalar(match["value"])
        else:
            assert lines, key
            assert depth_of(lines[0]) > depth, key
            found[key], lines = block(lines)
    return found, lines


def scalar(text: str) -> Any:  # noqa: ANN401 -- a decoder
    """Read one value; what is not quoted is text, whatever it looks like."""
    if text == "{}":
        return {}
    if text.startswith('"'):
        return json.loads(text)
    assert PLAIN.fullmatch(text), text
    return text


def depth_of(line: str) -> int:
    """Count the spaces that a line is indented by."""
    assert "\t" not in line
    return len(line) - len(line.lstrip(" "))


def is_item(line: str) -> bool:
    """Say whether a line begins an item of a list."""
    return line.lstrip().startswith("- ")
