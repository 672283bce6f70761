"""Exports hold what the log holds, as of one checkpoint, and go on after any interruption as if there had been none."""

import asyncio
import json
import random
import signal
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from events.export import Asked, raw_lines, read_block
from events.export_format import ExportError, hex_of
from events.log import read_head
from events.trees import root_at
from service.export_files import open_output
from service.exporting import Exporter
from tests.postgres.conftest import Database
from tests.postgres.exports import ALL, OURS, THEIRS, contents, export, exporter, fill, verdict

ROOT = Path(__file__).parents[2]
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.postgres.conftest import Database
from tests.postgres.exports import ALL, exporter
from service.export_files import open_output
from service.exporting import Exporter
async def main():
    async with exporter(Database("", sys.argv[1]), Path(sys.argv[2])) as exporting:
        with open_output(Path(sys.argv[3])) as output:
            def die(manifest, position):
                if position > 150:
                    os.kill(os.getpid(), signal.SIGKILL)
            await exporting.export(ALL, output, die)
asyncio.run(main())
"""


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Read the lines of an export of one file, without its header and its digest."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:-1]]


def modes_of(path: Path) -> set[int]:
    """Say who may do what with the files in a directory."""
    return {stat.S_IMODE(each.stat().st_mode) for each in path.iterdir()}


async def test_an_export_holds_every_event_as_it_is(database: Database, tmp_path: Path) -> None:
    """Compare the lines of the whole log, and of an organization, with the tables; and verify both."""
    await fill(database, 8)
    async with exporter(database, tmp_path) as exporting:
        await export(exporting, tmp_path / "whole")
        await export(exporting, tmp_path / "whole.ndjson")
        await export(exporting, tmp_path / "ours.ndjson", Asked(OURS, None, None))
        events = await exporting.signer.pool.fetch("select * from events order by position")
    whole, ours = lines_of(tmp_path / "whole.ndjson"), lines_of(tmp_path / "ours.ndjson")
    for place in ("position", "organization_position"):
        assert [line[place] for line in whole] == [event[place] for event in events]
    assert [line["leaf_hash"] for line in whole] == [event["leaf_hash"].hex() for event in events]
    assert [json.dumps(line["entry"], separators=(",", ":")) for line in whole] == [e["entry"].decode() for e in events]
    assert [line["position"] for line in ours] == list(range(1, 81))
    assert not any("organization_position" in line or line["organization"] != OURS for line in ours)
    assert [verdict(tmp_path / name) for name in ("whole", "whole.ndjson", "ours.ndjson")] == ["OK"] * 3
    parts = sorted(name for name in contents(tmp_path / "whole") if name.startswith("events-"))
    assert parts == [f"events-{first:019}.ndjson" for first in (1, 65, 129)]
    assert (
        b"".join(contents(tmp_path / "whole")[name] for name in parts)
        in contents(tmp_path / "whole.ndjson")["whole.ndjson"]
    )
    assert modes_of(tmp_path / "whole") | modes_of(tmp_path) == {0o600, 0o700}


async def test_lines_are_the_same_whoever_writes_them(database: Database, tmp_path: Path) -> None:
    """Compare the lines that the database writes with those that are put together where something is odd."""
    await fill(database, 4)
    async with exporter(database, tmp_path) as exporting:
        for asked in (ALL, Asked(THEIRS, None, None)):
            manifest = (await exporting.describe(asked)).manifest
            block = await read_block(exporting.signer.pool, manifest, 1)
            leaves = [json.loads(line)["leaf_hash"] for line in block.lines.splitlines()]
            assert await raw_lines(exporting.signer.pool, manifest, 1, leaves=leaves) == block.lines
            assert hex_of(b"".join(map(bytes.fromhex, leaves))) == leaves


@pytest.mark.parametrize("name", ["log", "log.ndjson"])
async def test_an_interrupted_export_ends_as_one_that_was_not(database: Database, tmp_path: Path, name: str) -> None:
    """Cut an unfinished export off at many places and go on: the result is the same to the byte."""
    await fill(database, 10)
    whole = tmp_path / name
    seeded = random.Random(20260101)
    async with exporter(database, tmp_path) as exporting:
        await export(exporting, whole)
        expected = contents(whole)
        await fill(database, 1)
        files = sorted(set(expected) - {"SHA256SUMS"})
        for _ in range(12):
            again = cut_off(tmp_path / f"again-{seeded.random()}" / name, expected, files, seeded=seeded)
            await export(exporting, again)
            assert contents(again) == expected
            assert list(again.parent.iterdir()) == [again]


def cut_off(path: Path, expected: Mapping[str, bytes], files: Sequence[str], *, seeded: random.Random) -> Path:
    """Write what an export leaves that ends somewhere, perhaps in the middle of a line."""
    path.parent.mkdir()
    place = path.with_name(f"{path.name}.partial")
    last = seeded.choice([each for each in files if each.endswith(".ndjson")])
    header = 0 if len(files) > 1 else expected[last].index(b"\n") + 1
    torn = expected[last][: seeded.randrange(header, len(expected[last]))]
    if len(files) == 1:
        place.write_bytes(torn)
        return path
    place.mkdir()
    for each in files:
        if not each.endswith(".ndjson") or each < last:
            (place / each).write_bytes(expected[each])
    (place / last).write_bytes(torn)
    return path


async def test_a_killed_export_goes_on(database: Database, tmp_path: Path) -> None:
    """Kill the process in the middle, run it again while the log grows, and compare with one that ran through."""
    await fill(database, 10)
    arguments = (sys.executable, "-c", KILLED, database.service_dsn, tmp_path, tmp_path / "log")
    killed = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT)
    assert await killed.wait() == -signal.SIGKILL
    assert any(name.startswith("events-") for name in contents(tmp_path / "log.partial"))
    async with exporter(database, tmp_path) as exporting:
        await export(exporting, tmp_path / "straight")
        await fill(database, 1)
        await export(exporting, tmp_path / "log")
    assert contents(tmp_path / "log") == contents(tmp_path / "straight")
    assert verdict(tmp_path / "log") == "OK"


async def test_an_export_is_as_of_one_checkpoint_while_the_log_grows(database: Database, tmp_path: Path) -> None:
    """Append during an export: it holds what its checkpoint speaks for, and a later one goes on from it."""
    await fill(database, 5)
    async with exporter(database, tmp_path) as exporting:
        growing = asyncio.create_task(fill(database, 10))
        first = await export(exporting, tmp_path / "first")
        await growing
        second = await export(exporting, tmp_path / "second")
        head = await read_head(exporting.signer.pool)
    assert 100 <= first.last <= second.last == head == 300
    assert verdict(tmp_path / "first") == verdict(tmp_path / "second", kept=tmp_path / "first") == "OK"
    later = verdict(tmp_path / "first", kept=tmp_path / "second")
    assert first.last == 300 or later.startswith(f"position {first.last + 1}: it is missing")


async def test_a_part_of_the_history_proves_the_whole_root(database: Database, tmp_path: Path) -> None:
    """Export ranges with any begin and end: each verifies on its own, and against a checkpoint that it reaches."""
    await fill(database, 5)
    async with exporter(database, tmp_path) as exporting:
        for first, last in ((1, 1), (2, 100), (37, 77), (64, 65), (65, None), (100, 100)):
            path = tmp_path / f"{first}.ndjson"
            await export(exporting, path, Asked(None, first, last))
            assert verdict(path) == "OK"
        await export(exporting, tmp_path / "early", Asked(OURS, None, 30))
        await export(exporting, tmp_path / "late", Asked(OURS, 31, None))
        assert "this holds 1 to 30" in verdict(tmp_path / "early", kept=tmp_path / "late")
        assert verdict(tmp_path / "late", kept=tmp_path / "late") == "OK"
        assert await root_at(exporting.signer.pool, OURS, 50)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (Asked(None, 21, None), "the log has no position 21 yet: the last that a checkpoint speaks for is 20"),
        (Asked(None, None, 99), "the log has no position 99 yet: the last that a checkpoint speaks for is 20"),
        (Asked(None, 9, 8), "there is nothing from position 9 to 8: --from must not be above --to"),
        (Asked("org_none", None, None), "the history of org_none holds no events, so there is nothing to export"),
    ],
)
async def test_what_is_not_there_is_not_exported(
    database: Database, tmp_path: Path, asked: Asked, problem: str
) -> None:
    """Ask for positions and organizations that there are not."""
    await fill(database, 1)
    async with exporter(database, tmp_path) as exporting:
        with pytest.raises(ExportError) as refused:
            await export(exporting, tmp_path / "log", asked)
    assert str(refused.value) == problem
    assert set(contents(tmp_path)) == {"log.key"}


IN_THE_WAY = {
    "done": "done is there already and nothing is overwritten",
    "mine.ndjson": "mine.ndjson is there already and nothing is overwritten: choose another name",
    "other.ndjson": "what was begun there is an export of positions 1 to 20 of the whole log",
    "text.ndjson": "text.ndjson.partial is in the way and is not an unfinished export",
    "folder": "folder.partial is in the way and is not an unfinished export",
    "no/where": "there is no directory ",
}


async def test_nothing_is_overwritten(database: Database, tmp_path: Path) -> None:
    """Refuse outputs that are there, unfinished ones of something else, and one that another export is writing."""
    await fill(database, 2)
    (tmp_path / "mine.ndjson").write_text("mine\n", encoding="utf-8")
    (tmp_path / "text.ndjson.partial").write_text("mine\n", encoding="utf-8")
    (tmp_path / "folder.partial" / "mine").mkdir(parents=True)
    async with exporter(database, tmp_path) as exporting:
        await export(exporting, tmp_path / "done", Asked(None, None, 20))
        await export(exporting, tmp_path / "other.ndjson", Asked(None, None, 20))
        (tmp_path / "other.ndjson").rename(tmp_path / "other.ndjson.partial")
        before = snapshot(tmp_path)
        for name, problem in IN_THE_WAY.items():
            assert (await refusal(exporting, tmp_path / name)).startswith(problem)
        assert snapshot(tmp_path) == before
        with open_output(tmp_path / "busy"):
            assert "another export is writing busy.partial" in await refusal(exporting, tmp_path / "busy")


async def refusal(exporting: Exporter, path: Path) -> str:
    """Say why an export is refused."""
    with pytest.raises(ExportError) as refused:
        await export(exporting, path)
    return str(refused.value).replace(f"{path.parent}/", "")


def snapshot(path: Path) -> list[tuple[Path, int]]:
    """Say what is in a directory and how large it is."""
    return sorted((each, each.stat().st_size) for each in path.rglob("*"))
