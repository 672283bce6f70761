"""What the type checker must refuse: mistakes that no test of the running program would meet in time."""

import ast
import re
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from subprocess import run

import pytest

from events.log import READ_HEAD
from events.statement import Statement

ROOT = Path(str(files("events"))).parent
WRONG = re.compile(r"# wrong: (?P<code>[a-z-]+)$")
FOUND = re.compile(r"^[^:]+:(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$", re.MULTILINE)

PROGRAM = """
from datetime import datetime
from typing import assert_never

from events.envelope import OrganizationPosition, Position, StreamId
from events.log import find_position, read_after, read_stream
from events.registry import Event
from events.statement import Pool, Statement, load
from events.tokens import (
    CompleteRotation, CreateToken, EndRotationOverlap, RevokeToken, RotateToken, TokenCommand, UpdateToken,
    TokenCreated, TokenEvent, TokenOverlapEnded, TokenRevealed, TokenRevoked, TokenRotated, TokenRotationCompleted,
    TokenState, TokenUpdated, WebhookSignerDesignated, decide,
)


def take(statement: Statement) -> None: ...


def statements_come_from_files(table: str) -> None:
    take(load("events.statements", "read_head"))
    take(f"select * from {table}")  # wrong: arg-type
    take("select 1")  # wrong: arg-type
    built: Statement = "select 1 from " + table  # wrong: assignment
    load("events.statements", "read_head").text = table  # wrong: misc
    Statement(name=table, text=table)  # wrong: call-arg


def every_event_is_considered(event: TokenEvent) -> int:
    match event:
        case TokenCreated() | TokenUpdated() | TokenRotated():
            return 1
        case TokenRotationCompleted() | TokenOverlapEnded():
            return 2
        case TokenRevoked() | TokenRevealed() | WebhookSignerDesignated():
            return 3
        case _:
            assert_never(event)


def one_event_is_forgotten(event: TokenEvent) -> int:
    match event:
        case TokenCreated() | TokenUpdated() | TokenRotated() | TokenRotationCompleted() | TokenOverlapEnded():
            return 1
        case TokenRevealed() | WebhookSignerDesignated():
            return 2
        case _:
            assert_never(event)  # wrong: arg-type


def all_but_one_are_forgotten(event: Event) -> int:
    match event:
        case TokenCreated():
            return 1
        case _:
            assert_never(event)  # wrong: arg-type


def one_command_is_forgotten(command: TokenCommand) -> int:
    match command:
        case CreateToken() | UpdateToken() | RotateToken() | CompleteRotation() | EndRotationOverlap():
            return 1
        case _:
            assert_never(command)  # wrong: arg-type


def events_are_facts(created: TokenCreated) -> None:
    created.name = "other"  # wrong: misc
    TokenRevoked("tok_1", None)  # wrong: call-arg
    TokenRevoked(token_id="tok_1")  # wrong: call-arg
    RevokeToken(token_id="tok_1", reson="lost")  # wrong: call-arg


def a_refusal_is_not_forgotten(command: TokenCommand, state: TokenState, now: datetime) -> None:
    for event in decide(command, state, now=now):  # wrong: union-attr
        print(event)


async def places_are_told_apart(pool: Pool, local: OrganizationPosition, place: Position) -> None:
    await read_after(pool, place, limit=1)
    await read_after(pool, local, limit=1)  # wrong: arg-type
    await read_after(pool, 1, limit=1)  # wrong: arg-type
    await find_position(pool, "org_1", place)  # wrong: arg-type
    await read_stream(pool, StreamId("token-tok_1"))
    await read_stream(pool, "token-tok_1")  # wrong: arg-type
"""


def test_wrong_programs_are_refused(tmp_path: Path) -> None:
    """Each line marked wrong is an error of that kind, and no other line is one."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    checked = run(
        [sys.executable, "-m", "mypy", "--no-pretty", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    found = [(int(match["line"]), match["code"]) for match in FOUND.finditer(checked.stdout)]
    lines = enumerate(PROGRAM.splitlines(), start=1)
    wrong = [(number, match["code"]) for number, line in lines if (match := WRONG.search(line))]
    assert found == wrong, checked.stdout + checked.stderr


def test_a_statement_cannot_be_made_of_text() -> None:
    """What gets around the type checker meets the constructor, and a copy with another text does too."""
    with pytest.raises(TypeError, match=r"loaded from a \.sql file"):
        Statement(name="drop", text="drop table events", key=object())
    with pytest.raises(ValueError, match="key"):
        replace(READ_HEAD, text="drop table events")  # type: ignore[call-arg]  # what is tested
    assert "object at" not in repr(READ_HEAD)


SENDING = {"fetch", "fetchrow", "fetchval", "execute", "executemany", "cursor", "prepare"}
"""The methods of the driver that take a statement's text first."""


@pytest.mark.parametrize("layer", ["events", "projections", "service"])
def test_no_statement_is_built(layer: str) -> None:
    """What is sent to the database is the text of a statement or migration, or stands there as it is."""
    for path in (ROOT / layer).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SENDING:
                first = node.args[0] if node.args else None
                is_built = isinstance(first, ast.JoinedStr | ast.BinOp) or (
                    isinstance(first, ast.Call) and isinstance(first.func, ast.Attribute)
                )
                assert not is_built, f"{path}:{node.lineno}"
