"""Every statement is valid on the migrated schema, says what it does, and has exactly one caller."""

import re
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from tests.postgres.conftest import Database

ROOT = Path(str(files("events"))).parent
LAYERS = ("events", "projections", "service")
STATEMENTS = sorted(path.relative_to(ROOT) for layer in LAYERS for path in (ROOT / layer / "statements").rglob("*.sql"))
CONSTANT = re.compile(r'^(?P<name>[A-Z_]+): Final = "(?P<value>[a-z_.]+)"$', re.MULTILINE)
CALL = re.compile(r'\bload\(\s*(?P<package>"[a-z_.]+"|[A-Z_]+),\s*"(?P<name>\w+)"')


def calls() -> Iterator[Path]:
    """Find which file each call of `load` in the source reads."""
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            constants = {match["name"]: match["value"] for match in CONSTANT.finditer(text)}
            for match in CALL.finditer(text):
                package = constants.get(match["package"], match["package"].strip('"'))
                yield Path(*package.split(".")) / f"{match['name']}.sql"


def test_every_statement_has_exactly_one_caller() -> None:
    """A statement nobody loads is dead, one that two load belongs to neither."""
    assert Counter(calls()) == Counter(STATEMENTS)


@pytest.mark.parametrize("path", STATEMENTS, ids=str)
def test_every_statement_has_a_header_and_is_alone(path: Path) -> None:
    """A file starts with a comment that ends in a full stop, holds one statement, and leaves the semicolon out."""
    text = (ROOT / path).read_text(encoding="utf-8")
    header = re.match(r"\A(-- [^\n]+\n)+", text)
    assert header is not None
    assert header[0].rstrip().endswith(".")
    assert ";" not in text[header.end() :]


async def test_every_statement_is_valid(database: Database) -> None:
    """The server prepares each of them on the schema that the migrations make."""
    async with database.owner() as owner:
        for path in STATEMENTS:
            await owner.prepare((ROOT / path).read_text(encoding="utf-8"))
