"""`entri archive` as an operator runs it: it says what it does, and goes on where it was stopped."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from events.archive import archived_ranges
from projections.rebuild import rebuild
from service.archiving import make_plan
from service.cli import main
from service.cli.archive import carry_out, is_wanted
from tests.postgres.conftest import Database
from tests.postgres.usage_log import create_tokens, settle, use_tokens, writing

WAITING = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'"
READ_MODEL = "select * from token_last_used order by 1"


@asynccontextmanager
async def entri_archive(database: Database, output: Path, *more: str) -> AsyncIterator[Process]:
    """Run the command until the end of the block."""
    options = ("--usage", "--output", str(output), "--before", "2999-01-01", *more)
    urls = ("--database-url", database.service_dsn, "--owner-database-url", database.owner_dsn)
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "archive", *options, *urls, stdout=DEVNULL
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def test_it_goes_on_wherever_it_was_stopped(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After half a file, a file without its manifest, a kill while it waits for readers: run again, it is done."""
    async with writing(database) as history, database.pool() as pool, database.owner() as owner:
        await create_tokens(history)
        await use_tokens(history, 1_100)
        await settle(pool)
        file = tmp_path / f"usage-{1:019d}.ndjson"
        file.with_name(f"{file.name}.part").write_bytes(b'{"position":4,"organi')

        async with owner.transaction():
            await owner.fetchval("select count(*) from events")
            async with entri_archive(database, tmp_path, "--yes") as running, asyncio.timeout(30):
                while not await pool.fetchval(WAITING):  # noqa: ASYNC110 -- another process does
                    await asyncio.sleep(0.02)
                await use_tokens(history, 90)
                running.kill()
                await running.wait()
        assert await archived_ranges(pool) == []
        file.with_suffix(".manifest.json").unlink()
        written = file.read_bytes()

        plan = await make_plan(owner, 10_000, drops=False)
        with pytest.raises(click.UsageError, match="nobody is there to ask: add --yes"):
            await is_wanted(owner, plan, yes=False)
        assert "archive events_usage_1: positions 1 to 1000, 997 events of " in capsys.readouterr().out
        await carry_out(owner, plan, tmp_path, drops=True)
        done = f"archived events_usage_1: 997 events, in {file}\ndropped archived_events_usage_1\n"
        assert capsys.readouterr().out == done
        assert file.read_bytes() == written
        (archived,) = await archived_ranges(pool)
        assert archived.dropped_at is not None
        assert (await make_plan(owner, 10_000, drops=True)).is_empty
        await settle(pool)
        live = await owner.fetch(READ_MODEL)
        await rebuild(owner, "token_last_used")
        assert await owner.fetch(READ_MODEL) == live


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--before", "2026-01-01", "--output", "x"], "say what to archive: --usage"),
        (["--usage", "--before", "yesterday", "--output", "x"], "neither an instant with its offset"),
        (["--usage", "--before", "2026-01-01T00:00:00", "--output", "x"], "neither an instant with its offset"),
        (["--usage", "--before", "0", "--output", "x"], "neither an instant with its offset"),
        (["--usage", "--output", "x"], "Missing option '--before'"),
        (["--usage", "--before", "1"], "Missing option '--output'"),
        (["--usage", "--before", "1", "--output", __file__], "is a file"),
    ],
)
def test_a_wrong_command_says_what_would_be_right(arguments: list[str], told: str) -> None:
    """What is missing or ill-formed ends it with exit code 2 before anything is opened."""
    ended = CliRunner().invoke(main, ["archive", *arguments])
    assert (ended.exit_code, told in " ".join(ended.output.split())) == (2, True), ended.output
