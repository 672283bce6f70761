"""Golden exports: written once with a fixed key, and verified by every later program.

`operator` is a whole log in three parts, `organization.ndjson` one organization's history, `part.ndjson` positions 8 to
29 of the same log, `checkpoint-16.txt` what an auditor kept of it before. The seed of the key is the bytes 0 to 31.
Files are never changed; a new version of the format adds others.
"""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from events.event_schema import entry_schema
from service.cli.verify_log import verify_log

EXPORTS = Path(__file__).parent / "exports"
KEY = "entri/ins_00000000000000000000000000000001+f77917fb+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
GOLDEN = {
    "operator": ("positions   1 to 34,", "R1O8VVIEC1hp/ywI29fz/XYxaUgeHikFmWFLG4ULIAM="),
    "part.ndjson": ("positions   8 to 29,", "R1O8VVIEC1hp/ywI29fz/XYxaUgeHikFmWFLG4ULIAM="),
    "organization.ndjson": ("positions   1 to 18,", "impjh4Uu3NzhRH9JmO9AnHq1b3Kk154WbVvmK+JHWU4="),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_export_is_verified(name: str) -> None:
    """Each is found whole and unaltered, with the root it was signed with."""
    done = CliRunner().invoke(verify_log, [str(EXPORTS / name)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("OK\nlog         entri/ins_00000000000000000000000000000001")
    assert all(part in done.output for part in GOLDEN[name])


@pytest.mark.parametrize("name", ["operator", "part.ndjson"])
def test_a_golden_checkpoint_is_gone_on_from(name: str) -> None:
    """The checkpoint that was kept, and the key that is trusted, fit the log and a part of it."""
    kept = ["--since", str(EXPORTS / "checkpoint-16.txt"), "--key", KEY]
    done = CliRunner().invoke(verify_log, [str(EXPORTS / name), *kept])
    assert done.exit_code == 0, done.output
    assert f"{KEY} (trusted)\nsince       goes on from the checkpoint of 16 events" in done.output


def test_the_schema_describes_what_was_written() -> None:
    """The schema of every type that a golden log holds has the members that its payloads have."""
    schema = entry_schema()
    lines = (EXPORTS / "organization.ndjson").read_text(encoding="utf-8").splitlines()[1:-1]
    entries = [json.loads(line)["entry"] for line in lines]
    assert {entry["type"] for entry in entries} <= set(schema["$defs"])
    for entry in entries:
        assert set(entry) == set(schema["required"])
        assert set(entry["payload"]) == set(schema["$defs"][entry["type"]]["required"])


def test_the_entry_is_in_its_line_to_the_byte() -> None:
    """Whoever cuts the entry out of a line can hash it with nothing else."""
    lines = (EXPORTS / "organization.ndjson").read_bytes().splitlines()[1:-1]
    for line in lines:
        entry = line.split(b',"entry":', 1)[1][:-1]
        assert sha256(b"\x00" + entry).hexdigest() == json.loads(line)["leaf_hash"]
