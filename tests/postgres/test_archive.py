"""Archived usage is in verified files and nowhere else; whatever was proved or counted stays so."""

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import asyncpg
import pytest

from events.archive import ArchiveError, archive_files, archived_ranges, archived_shares, archived_usage
from events.entry import leaf_hash
from events.envelope import OrganizationPosition
from events.log import BEYOND, HistoryQuery, find_position, read_history
from events.trees import OPERATOR, prove_inclusion, root_at
from projections.rebuild import rebuild
from projections.runner import CatchUp
from service.archiving import drop
from service.authorization import operator
from service.queries import ArchivedEventError, Queries
from tests.postgres.appends import decided
from tests.postgres.conftest import Database, Server
from tests.postgres.test_immutability import CHANGES, refused
from tests.postgres.usage_log import SIZE, archive_before, create_tokens, settle, use_tokens, writing

PAGE = Path(__file__).parents[2] / "docs/how-to/archive-old-usage.md"
ALTER = """
    update events_usage_1 set entry = convert_to(replace(convert_from(entry, 'UTF8'), '192.0.2.1', '192.0.2.2'), 'UTF8')
    where position = 77
"""
READ_MODEL = "select * from token_last_used order by 1"


async def test_archived_usage_is_in_its_file_and_nothing_else_changed(database: Database, tmp_path: Path) -> None:
    """Decisions, positions, proofs and read models are as before; files hold the rest, to the byte."""
    async with writing(database) as history, database.pool() as pool, database.owner() as owner:
        await create_tokens(history, ("tok_1", "tok_2"))
        await use_tokens(history, 1_500, ("tok_1", "tok_2"))
        await create_tokens(history, ("tok_3",))
        await use_tokens(history, 600)
        await settle(pool)
        root = await root_at(pool, OPERATOR, 2_000)
        events = await owner.fetch("select * from events order by position")
        last_used = await owner.fetch(READ_MODEL)
        archived = await archive_before(owner, tmp_path, 2 * SIZE + 1)

        usage = [row for row in events if row["is_usage"] and row["position"] <= 2 * SIZE]
        lines = [line for each in archived for line in (tmp_path / each.file).read_bytes().splitlines()]
        assert [line.partition(b'"entry":')[2][:-1] for line in lines] == [row["entry"] for row in usage]
        assert [json.loads(line)["position"] for line in lines] == [row["position"] for row in usage]
        assert await owner.fetch("select * from events order by position") == [e for e in events if e not in usage]

        assert [(each.from_position, each.to_position) for each in archived] == [(1, 1001), (1001, 2001)]
        assert await archived_ranges(pool) == archived
        for organization in ("org_1", "org_2", "org_3"):
            own = [row["organization_position"] for row in usage if row["organization"] == organization]
            assert await archived_usage(pool, organization) == max(own, default=0)
            shares = await archived_shares(pool, organization)
            assert sum(share.events for share in shares) == len(own)
            file_of = await archive_files(pool, organization)
            assert {file_of(position) for position in own} <= {each.file for each in archived}
            assert file_of(max(own, default=0) + 1) is None
        file_of = await archive_files(pool, None)
        assert [file_of(position) for position in (1, 1000, 1001, 2000, 2001)] == [
            *[archived[0].file] * 2,
            *[archived[1].file] * 2,
            None,
        ]
        place = await find_position(pool, "org_1", OrganizationPosition(7))
        assert place == SIZE
        assert await root_at(pool, OPERATOR, 2_000) == root
        assert await prove_inclusion(pool, OPERATOR, 500, 2_000)

        assert await owner.fetch(READ_MODEL) == last_used
        await rebuild(owner, "token_last_used")
        assert await owner.fetch(READ_MODEL) == last_used
        await create_tokens(history, ("tok_4",))
        await use_tokens(history, 1_000, ("tok_2", "tok_4"))
        await settle(pool)
        await archive_before(owner, tmp_path, 3 * SIZE + 1)
        last_used = await owner.fetch(READ_MODEL)
        await rebuild(owner, "token_last_used")
        assert await owner.fetch(READ_MODEL) == last_used


async def test_an_archived_event_says_where_it_is(database: Database, tmp_path: Path) -> None:
    """Whoever may read an event is told that it was archived; to others it is what does not exist."""
    async with writing(database) as history, database.pool() as pool, database.owner() as owner:
        await create_tokens(history)
        await use_tokens(history, 1_100)
        await settle(pool)
        event_id = await owner.fetchval("select event_id from event_index where stream = 'usage-tok_1' limit 1")
        await archive_before(owner, tmp_path, 2 * SIZE)
        queries = Queries(pool=pool, catch_up=CatchUp(pool))
        reader = operator("org_1").principal
        with pytest.raises(ArchivedEventError):
            await queries.event(reader, event_id)
        assert await queries.event(reader, "evt_00000000000000000000000000") is None
        assert await queries.event(operator("org_2").principal, event_id) is None
        assert await queries.event(replace(reader, scopes=("tokens:read",)), event_id) is None


async def test_a_manifest_accounts_for_every_position(database: Database, tmp_path: Path) -> None:
    """What is in the file and what stays are all positions of the range; the digest is right; only its owner reads."""
    async with writing(database) as history, database.pool() as pool, database.owner() as owner:
        await create_tokens(history)
        await use_tokens(history, 1_100)
        await settle(pool)
        (archived,) = await archive_before(owner, tmp_path, 2 * SIZE)
    path = tmp_path / archived.file
    manifest = json.loads(path.with_suffix(".manifest.json").read_bytes())
    assert (manifest["from_position"], manifest["to_position"]) == (1, SIZE)
    assert (manifest["events"], manifest["decisions"]) == (SIZE - 3, 3)
    assert manifest["sha256"] == sha256(path.read_bytes()).hexdigest() == archived.file_sha256.hex()
    assert manifest["organizations"]["org_2"][0] == 2
    assert [oct(file.stat().st_mode & 0o777) for file in (path, path.with_suffix(".manifest.json"))] == ["0o600"] * 2
    for line in path.read_bytes().splitlines():
        assert leaf_hash(line.partition(b'"entry":')[2][:-1]).hex() == json.loads(line)["leaf_hash"]

    (script,) = re.findall(r"^```python file=read_archive.py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for added, told in ((b"", "997 events, positions 1 to 1000: whole and unaltered"), (b"\n", "")):
        path.write_bytes(path.read_bytes() + added)
        command = [sys.executable, "-c", script, path]
        shown = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert (shown.returncode == 0, shown.stdout.partition("\n")[0]) == (bool(told), told)


async def test_what_is_archived_cannot_be_changed_either(database: Database, tmp_path: Path) -> None:
    """Detached tables keep their triggers, the rest of the log its own; the record is append-only; drops are noted."""
    async with writing(database) as history, database.pool() as pool, database.owner() as owner:
        await create_tokens(history)
        await use_tokens(history, 1_100)
        await settle(pool)
        (archived,) = await archive_before(owner, tmp_path, 2 * SIZE)
        for change in CHANGES:
            for name in ("events", "events_usage", "events_usage_1001", archived.detached_table):
                assert await refused(owner, change.format(name)) == "RestrictViolationError", change.format(name)
        for change in (
            "update archived_usage set file = 'other'",
            "delete from archived_usage",
            "truncate archived_organizations",
            "update archived_organizations set last_position = last_position + 1",
            "delete from archived_states",
        ):
            assert await refused(owner, change) == "RestrictViolationError", change
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.fetch(f"select 1 from {archived.detached_table}")

        path = tmp_path / archived.file
        kept = path.read_bytes()
        path.write_bytes(kept[:-2] + b" }\n")
        with pytest.raises(ArchiveError, match="is not the file that was archived"):
            await drop(owner, [archived], tmp_path)
        path.write_bytes(kept)
        await drop(owner, [archived], tmp_path)
        assert await owner.fetchval("select to_regclass($1)", archived.detached_table) is None
        assert (await archived_ranges(pool))[0].dropped_at is not None
        assert await refused(owner, "update archived_usage set dropped_at = now()") == "RestrictViolationError"


async def test_nothing_is_archived_that_something_still_needs(database: Database, tmp_path: Path) -> None:
    """A tree or a read model that is behind, or a rebuild that runs, stops it with its name; the log is as it was."""
    async with writing(database) as history, database.pool() as pool, database.owner() as owner:
        await create_tokens(history)
        await use_tokens(history, 1_100)
        with pytest.raises(ArchiveError, match="the log's tree reaches position 0"):
            await archive_before(owner, tmp_path, 2 * SIZE)
        await settle(pool)
        await owner.execute("update read_models set position = 990 where name = 'token_last_used'")
        with pytest.raises(ArchiveError, match="read model token_last_used is at position 990"):
            await archive_before(owner, tmp_path, 2 * SIZE)
        await settle(pool)
        async with database.owner() as rebuilding:
            await rebuilding.execute("select pg_advisory_lock(4270004)")
            with pytest.raises(ArchiveError, match="a rebuild is running"):
                await archive_before(owner, tmp_path, 2 * SIZE)
        await owner.execute("select begin_rebuild('token_last_used', 'a definition', 990, 1)")
        with pytest.raises(ArchiveError, match="finish it with `entri rebuild token_last_used`"):
            await archive_before(owner, tmp_path, 2 * SIZE)
        assert await archived_ranges(pool) == []
        assert await owner.fetchval("select count(*) from archived_organizations") == 0
        assert len(await owner.fetch("select from events_usage_1")) == SIZE - 3


async def test_a_partition_without_usage_leaves_an_empty_file(database: Database, tmp_path: Path) -> None:
    """Where nobody used anything there is nothing to miss; a log without its last event says so."""
    async with writing(database) as history, database.pool() as pool, database.owner() as owner:
        for number in range(12):
            await history.writer.append(decided(f"tok_{number}", events=90))
        await settle(pool)
        (archived,) = await archive_before(owner, tmp_path, 2 * SIZE)
        assert ((tmp_path / archived.file).read_bytes(), archived.events) == (b"", 0)
        assert await archived_usage(pool, "org_1") == 0
        for number in range(12, 24):
            await history.writer.append(decided(f"tok_{number}", events=90))
        await owner.execute("alter table events_decisions_1001 disable trigger all")
        await owner.execute("delete from events where position = 2000")
        with pytest.raises(ArchiveError, match="the event at position 2000 is missing"):
            await archive_before(owner, tmp_path, 1)


async def test_what_was_altered_is_not_archived(database: Database, server: Server, tmp_path: Path) -> None:
    """An altered event is named; a lost one is missed; a file that is something else is left alone."""
    name = database.owner_dsn.partition("@/")[2].partition("?")[0]
    async with writing(database) as history, database.pool() as pool, database.owner() as owner:
        await create_tokens(history)
        await use_tokens(history, 1_100)
        await settle(pool)
        (tmp_path / "one").mkdir()
        foreign = tmp_path / "one" / f"usage-{1:019d}.ndjson"
        foreign.write_bytes(b"something else\n")
        with pytest.raises(ArchiveError, match="is something else than events_usage_1 of this log: move it away"):
            await archive_before(owner, tmp_path / "one", 2 * SIZE)
        assert foreign.read_bytes() == b"something else\n"

        superuser = await asyncpg.connect(server.superuser_dsn.format(name))
        await superuser.execute("set session_replication_role = replica")
        await superuser.execute(ALTER)
        (tmp_path / "two").mkdir()
        with pytest.raises(ArchiveError, match="event at position 77 is not what the log's tree took in"):
            await archive_before(owner, tmp_path / "two", 2 * SIZE)
        await superuser.execute("delete from events_usage_1 where position = 77")
        await superuser.close()
        (tmp_path / "three").mkdir()
        with pytest.raises(ArchiveError, match="positions 1 to 1000 hold 3 decisions and 996 uses"):
            await archive_before(owner, tmp_path / "three", 2 * SIZE)
        assert await archived_ranges(pool) == []


async def test_appends_and_readers_go_on_meanwhile(database: Database, tmp_path: Path) -> None:
    """While partitions leave nobody fails, and a page lacks usage only where the archive, read after it, says so."""
    done = asyncio.Event()

    async def read_pages() -> int:
        seen = 0
        while not done.is_set():
            query = HistoryQuery(organization="org_1", limit=300, newest_first=False, after=seen % 900, before=BEYOND)
            page = [event.organization_position for event in await read_history(pool, query)]
            through = await archived_usage(pool, "org_1")
            begin = max(query.after, through)
            whole = [position for position in page if position > begin]
            assert whole == list(range(begin + 1, begin + 1 + len(whole)))
            seen += 1
        return seen

    async def append() -> None:
        for _ in range(12):
            await use_tokens(history, 270)
        await settle(pool)

    async with writing(database) as history, database.pool(size=6) as pool, database.owner() as owner:
        await create_tokens(history)
        await use_tokens(history, 2_100)
        await settle(pool)
        async with asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(read_pages()) for _ in range(2)]
            appending = tasks.create_task(append())
            archived = await archive_before(owner, tmp_path, 2 * SIZE + 1)
            await appending
            archived += await archive_before(owner, tmp_path, 3 * SIZE + 1)
            done.set()
        assert len(archived) == 3
        assert all(reader.result() for reader in readers)
        last_used = await owner.fetch(READ_MODEL)
        await rebuild(owner, "token_last_used")
        assert await owner.fetch(READ_MODEL) == last_used
