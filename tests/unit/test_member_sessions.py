"""Sessions are proved by their cookie under the peppers as they are, and by nothing else."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from service.keyring import KeyRing
from service.member_sessions import WELL_FORMED, NewSession, SessionKeys, SessionStart
from service.vault import bytea

if TYPE_CHECKING:
    import asyncpg

OLD, NEW = KeyRing({"k1": bytes(32)}), KeyRing({"k2": bytes([1]) * 32, "k1": bytes(32)})
NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
START = SessionStart(member_id="mem_1", organization="org_1", generation=1, started_at=NOW, authenticated_at=NOW)


def row_of(made: NewSession, keys: SessionKeys, **altered: Any) -> "asyncpg.Record":  # noqa: ANN401 -- of any column
    """Read a session back as the database answers it, under whichever digest of its cookie finds it."""
    found = [digest for digest in keys.digests(made.secret.reveal()) if bytea(digest) == made.row["digest"]]
    instants = {name: datetime.fromisoformat(made.row[name]) for name in ("started_at", "authenticated_at")}
    proof = bytes.fromhex(made.row["proof"][2:])
    return cast("asyncpg.Record", made.row | instants | {"asked": found[0], "proof": proof} | altered)


def test_a_session_is_proved_by_its_own_row() -> None:
    """The row as it was made proves it; with any column altered, or another cookie's digest, it does not."""
    keys = SessionKeys(lambda: OLD, os.urandom)
    made, other = keys.make(START), keys.make(START)
    assert keys.proves(row_of(made, keys))
    for column, value in (
        ("id", other.id),
        ("asked", row_of(other, keys)["asked"]),
        ("member_id", "mem_2"),
        ("organization", "org_2"),
        ("generation", 2),
        ("started_at", NOW.replace(microsecond=0)),
        ("authenticated_at", NOW.replace(hour=13)),
        ("proof", bytes(32)),
        ("proof", b""),
    ):
        assert not keys.proves(row_of(made, keys, **{column: value})), column


def test_columns_cannot_run_into_each_other() -> None:
    """What is at the end of one column and what is at the beginning of the next are not the same."""
    keys = SessionKeys(lambda: OLD, os.urandom)
    made = keys.make(replace(START, member_id="mem_1o", organization="rg_1"))
    assert not keys.proves(row_of(made, keys, member_id="mem_1", organization="org_1"))


def test_a_session_outlives_a_new_pepper() -> None:
    """A session made under one pepper is found and proved when another one writes; new ones are under that."""
    rings = [OLD]
    keys = SessionKeys(lambda: rings[-1], os.urandom)
    before = keys.make(START)
    rings.append(NEW)
    after = keys.make(START)
    assert keys.proves(row_of(before, keys))
    assert keys.proves(row_of(after, keys))
    assert bytea(keys.digests(after.secret.reveal())[0]) == after.row["digest"]
    assert bytea(keys.digests(before.secret.reveal())[1]) == before.row["digest"]


def test_cookies_are_random_and_well_formed() -> None:
    """Each has 256 bits of its own in 43 characters that need no quoting, and does not show itself."""
    keys = SessionKeys(lambda: OLD, os.urandom)
    made = [keys.make(START) for _ in range(50)]
    assert len({one.secret.reveal() for one in made} | {one.id for one in made}) == 100
    for one in made:
        assert WELL_FORMED.fullmatch(one.secret.reveal())
        assert one.secret.reveal() not in repr(one)
        assert one.id.startswith("ses_")
