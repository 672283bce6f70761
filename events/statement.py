"""Statements: SQL that lives in files, one statement each. Must never be built from strings.

A `Statement` can only be had by `load`, which reads a `.sql` file beside the code; a string built at run time does not
satisfy the type, so nothing but files reaches the database.
"""

import re
from dataclasses import InitVar, dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    import asyncpg

    from events.fair_pool import FairPool

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
DriverPool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Pool: TypeAlias = "DriverPool | FairPool"

HEADER: Final = re.compile(r"\A(--[^\n]*\n)+")
KEY: Final = object()


@dataclass(frozen=True, slots=True)
class Statement:
    """The text of one SQL statement and the file it came from."""

    name: str
    text: str
    key: InitVar[object]

    def __post_init__(self, key: object) -> None:
        """Refuse to be made of anything but a file."""
        if key is not KEY:
            raise TypeError("a Statement is loaded from a .sql file")


def load(package: str, name: str) -> Statement:
    """Read the statement `name`.sql of a package, such as `events.statements`."""
    text = (files(package) / f"{name}.sql").read_text(encoding="utf-8")
    if HEADER.match(text) is None:
        raise ValueError(f"{package}/{name}.sql lacks its header: purpose, parameters and rows")
    return Statement(name=f"{package}.{name}", text=text, key=KEY)
