"""Whoever may do anything to the database cannot change the history unseen: exports show it, at its first position.

Everything here is done as the superuser, with the triggers off.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from events.export import Asked
from events.statement import Connection
from service.exporting import Exporter
from tests.postgres.conftest import Database
from tests.postgres.exports import ALL, OURS, export, exporter, fill, verdict

EVENTS = 200
FORGED = """
    set entry = convert_to(replace(convert_from(entry, 'UTF8'), '"address":null', '"address":"10.0.0.1"'), 'UTF8')
"""
ALTERED = "the event was altered: its entry is not the one that the log's tree took in"
MISSING = "the event is missing: the log's tree took it in, and the database had it no more"
SWAP = """
    with pair as (select position, organization, organization_position, entry from events where position in (70, 71))
    update events e set entry = p.entry from pair p where e.position in (70, 71) and p.position = 141 - e.position
"""
COLUMNS = """
    is_usage, position, organization, organization_position, recorded_at, occurred_at, type, subject, actor, entry
"""
TWICE = f"insert into events ({COLUMNS}) select {COLUMNS} from events where position = 8"
SAVE = ("create table saved as select * from events", "create table saved_tiles as select * from tree_tiles")
RESTORE = (
    "delete from events",
    f"insert into events ({COLUMNS}) select {COLUMNS} from saved",
    "delete from tree_tiles",
    "insert into tree_tiles select * from saved_tiles",
)
OTHER_LEAF = """
    update tree_tiles set hashes = sha256('') || substr(hashes, 33) where tree = '' and level = 0 and tile = 1
"""
FORGET_TREES = """
    delete from tree_tiles; delete from checkpoints; update trees set size = 0, wal_at = '0/0'
"""


@dataclass(frozen=True, slots=True)
class Tampered:
    """A log of two organizations, and somebody who may do anything to it."""

    superuser: Connection
    exporting: Exporter
    folder: Path

    async def do(self, *statements: str) -> None:
        """Change what must not be changed."""
        for statement in statements:
            await self.superuser.execute(statement)

    async def found(self, asked: Asked = ALL, *, kept: Path | None = None) -> str:
        """Export what there is now, and verify it with the key of the log."""
        path = self.folder / f"export-{len(list(self.folder.iterdir()))}.ndjson"
        await export(self.exporting, path, asked)
        signer = self.exporting.signer
        key = signer.key.verifier_key(signer.installation.origin(asked.organization).text)
        return verdict(path, key=key, kept=kept)


@pytest.fixture
async def tampered(database: Database, tmp_path: Path) -> AsyncIterator[Tampered]:
    """Fill and export a log, then connect as the superuser with the triggers off."""
    await fill(database, EVENTS // 20)
    async with exporter(database, tmp_path) as exporting:
        await export(exporting, tmp_path / "before")
        superuser = await asyncpg.connect(
            database.owner_dsn.replace("entri_owner", "postgres"),
            server_settings={"session_replication_role": "replica"},
        )
        try:
            yield Tampered(superuser, exporting, tmp_path)
        finally:
            await superuser.close()


CHANGES = {
    f"update events {FORGED} where position in (150, 77)": f"position 77: {ALTERED}",
    "update events set entry = '\\xff0a' where position = 5": f"position 5: {ALTERED}",
    "delete from events where position = 66": f"position 66: {MISSING}",
    SWAP: f"position 70: {ALTERED}",
    "delete from events where position > 180": f"position 181: {MISSING}",
    "update events set subject = 'tok_other' where position = 12": (
        "position 12: its column subject was altered: it says 'tok_other', and the entry 'tok_org_theirs_"
    ),
    "update events set type = 'Token\"Used' where position = 3": (
        "position 3: the line was changed: no export has one like it"
    ),
    "update events set organization_position = 99 where position = 31": (
        "position 31: the event is number 99 of 'org_theirs', and number 11 is next"
    ),
    "update events set recorded_at = '2001-01-01' where position = 40": (
        "position 40: it says it was recorded at 2001-01-01T00:00:00.000000Z, before the one in front of it was"
    ),
    "update events set recorded_at = 'infinity' where position = 40": (
        "position 40: the time at which it was recorded is not an instant"
    ),
    TWICE: "position 9: position 8 is in its place, for a second time or out of order",
    OTHER_LEAF: f"position 65: {ALTERED}",
}


async def test_what_was_done_to_the_database_shows_in_an_export(tampered: Tampered) -> None:
    """Change the history in each way there is: verifying an export names the first bad position."""
    await tampered.do(*SAVE)
    for change, problem in CHANGES.items():
        await tampered.do(change)
        assert (await tampered.found())[: len(problem)] == problem
        await tampered.do(*RESTORE)
    assert await tampered.found() == "OK"


async def test_an_organizations_export_shows_it_by_its_own_positions(tampered: Tampered) -> None:
    """Change one organization's event: its own export names it by its own position, and the other's is unharmed."""
    await tampered.do(f"update events {FORGED} where organization = '{OURS}' and organization_position = 33")
    assert await tampered.found(Asked(OURS, None, None)) == f"position 33: {ALTERED}"
    assert await tampered.found(Asked("org_theirs", None, None)) == "OK"


async def test_a_history_written_anew_is_caught_by_an_earlier_checkpoint(tampered: Tampered) -> None:
    """Alter an event, build all trees anew and sign them with the real key: only what somebody kept tells."""
    await tampered.do(f"update events {FORGED} where position = 90", FORGET_TREES)
    assert await tampered.found() == "OK"
    found = await tampered.found(kept=tampered.folder / "before")
    assert found.startswith("this history does not go on from the earlier checkpoint: the first bad position is one")


async def test_a_history_cut_off_and_signed_anew_is_caught_by_an_earlier_checkpoint(tampered: Tampered) -> None:
    """Take the newest events away, with heads and trees, and sign with the real key: the kept checkpoint is longer."""
    await tampered.do("delete from events where position > 170", "update log_head set position = 170", FORGET_TREES)
    assert await tampered.found() == "OK"
    found = await tampered.found(kept=tampered.folder / "before")
    assert found == "position 171: it is missing: the earlier checkpoint speaks of 200 events, and this of 170"


async def test_archived_usage_is_no_loss_and_is_said(tampered: Tampered) -> None:
    """What the archive says that its files hold is proved by its leaf hashes; what it does not speak of is missing."""
    await tampered.do(
        "delete from events where is_usage and position < 50",
        "insert into archived_usage values (1, 40, 12, now(), 'usage-1.ndjson', 1, sha256(''), 'detached')",
    )
    assert await tampered.found() == f"position 40: {MISSING}"
    await tampered.do("update archived_usage set to_position = 50")
    assert await tampered.found() == "OK"
