"""Whatever is done to an export, verifying it says that something is wrong, and where; it never fails on its own."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from events.checkpoint import Checkpoint, parse_checkpoint, parse_note, parse_verifier_key
from events.export_format import ExportError, sums_text
from events.origin import Origin, Predecessor
from service.cli.verify_log import verify_log
from service.export_reader import open_export
from service.keyring import KeyRing
from service.log_key import log_key
from service.log_verifier import Trust, verify_export

EXPORTS = Path(__file__).parents[1] / "golden" / "exports"
WHOLE = (EXPORTS / "operator" / "events-0000000000000000001.ndjson").read_bytes()
INSTALLATION = "ins_00000000000000000000000000000001"
KEY = log_key(KeyRing({"golden": bytes(range(32))}))
OTHER_KEY = log_key(KeyRing({"other": bytes(32)}))
ORIGIN = f"entri/{INSTALLATION}"
ALTERED = "the event was altered: its entry is not the one that the log's tree took in"
NO_LINE = "the line was changed: no export has one like it"
OTHER_HISTORY = "this history does not go on from the earlier checkpoint:"

Lines = list[bytes]


def verdict(path: Path, *keys: str, kept: str | None = None) -> str:
    """Verify an export: `OK`, or what is wrong."""
    trust = Trust(keys=tuple(map(parse_verifier_key, keys)), kept=kept)
    try:
        with open_export(path) as reading:
            verify_export(reading, trust, lambda *_: None)
    except ExportError as error:
        return str(error)
    return "OK"


def swapped(lines: Lines) -> Lines:
    """Exchange the lines of positions 5 and 6."""
    return [*lines[:4], lines[5], lines[4], *lines[6:]]


def replaced(number: int, old: bytes, new: bytes, *, hashed: bool = False) -> Callable[[Lines], Lines]:
    """Change one line, and its leaf hash with it."""

    def change(lines: Lines) -> Lines:
        line = lines[number - 1].replace(old, new, 1)
        assert line != lines[number - 1]
        if hashed:
            entry = line.split(b',"entry":', 1)[1][:-1]
            before = json.loads(line)["leaf_hash"].encode()
            line = line.replace(before, sha256(b"\x00" + entry).hexdigest().encode())
        return [*lines[: number - 1], line, *lines[number:]]

    return change


CHANGES: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "flipped byte": (replaced(7, b"ci 2", b"ci 3"), f"position 7: {ALTERED}"),
    "other leaf hash": (replaced(9, b'"leaf_hash":"', b'"leaf_hash":"0'), f"position 9: {ALTERED}"),
    "deleted line": (lambda lines: lines[:2] + lines[3:], "position 3: it is missing, and position 4 is in its place"),
    "swapped lines": (swapped, "position 5: it is missing, and position 6 is in its place"),
    "line twice": (lambda lines: [*lines[:4], *lines[3:]], "position 5: position 4 is in its place, for a second time"),
    "truncated tail": (lambda lines: lines[:-2], "position 15: it is missing, and position 17 is in its place"),
    "other column": (
        replaced(8, b'"type":"TokenUsed","su', b'"type":"TokenUser","su'),
        "position 8: its column type was",
    ),
    "added member": (replaced(4, b',"entry":', b',"x":1,"entry":'), f"position 4: {NO_LINE}"),
    "no JSON": (replaced(6, b'{"position"', b'{"position'), f"position 6: {NO_LINE}"),
    "empty line": (lambda lines: [*lines[:3], b"", *lines[3:]], f"position 4: {NO_LINE}"),
    "other place": (
        replaced(9, b'"organization_position":4', b'"organization_position":5'),
        "position 9: the event is number 5 of 'org_01kdveeya0ev3rqngng664pv5j', and number 4 is next",
    ),
    "earlier time": (replaced(11, b'_at":"2026', b'_at":"2025'), "position 11: it says it was recorded at 2025"),
    "no time": (replaced(11, b'_at":"2026-11', b'_at":"2026-31'), "position 11: the time at which it was recorded is"),
    "event and leaf hash": (
        replaced(7, b"ci 2", b"ci 3", hashed=True),
        "every line agrees with itself, but together they are not what was signed",
    ),
}


def changed(tmp_path: Path, change: Callable[[Lines], Lines], *, sums: bool) -> Path:
    """Change the first part of the golden export, and perhaps the digests too."""
    path = tmp_path / "export"
    shutil.copytree(EXPORTS / "operator", path)
    part = path / "events-0000000000000000001.ndjson"
    part.write_bytes(b"".join(line + b"\n" for line in change(WHOLE.splitlines())))
    if sums:
        files = [each for each in path.iterdir() if each.name != "SHA256SUMS"]
        digests = {each.name: sha256(each.read_bytes()).hexdigest() for each in files}
        (path / "SHA256SUMS").write_bytes(sums_text(digests))
    return path


@pytest.mark.parametrize("name", CHANGES)
def test_the_first_bad_position_is_named(name: str, tmp_path: Path) -> None:
    """Change the lines in each way there is, and the digests with them: what is wrong is said, and where."""
    change, problem = CHANGES[name]
    assert verdict(changed(tmp_path, change, sums=True))[: len(problem)] == problem


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [(16, b'42.583772Z","leaf', b'42.600000Z","leaf'), (7, b"ci 2", b"ci 3")],
)
def test_what_no_line_shows_the_digests_show(number: int, old: bytes, new: bytes, tmp_path: Path) -> None:
    """A time that could be right, and an event altered with its leaf hash, are not as they were written."""
    path = changed(tmp_path, replaced(number, old, new, hashed=True), sums=False)
    assert verdict(path).startswith(
        "events-0000000000000000001.ndjson is not what SHA256SUMS says: something at one of the positions 1 to 16"
    )


def test_files_that_lack_are_named(tmp_path: Path) -> None:
    """Remove each file of an export in turn, cut one off, and add one."""
    for name in sorted(each.name for each in (EXPORTS / "operator").iterdir()):
        path = tmp_path / name
        shutil.copytree(EXPORTS / "operator", path)
        (path / name).unlink()
        assert name in verdict(path)
    path = changed(tmp_path, lambda lines: lines, sums=True)
    with (path / "events-0000000000000000033.ndjson").open("r+b") as file:
        file.truncate(1000)
    assert verdict(path) == "position 34: the line is cut off: the file ends in the middle of it"
    shutil.copy(path / "events-0000000000000000033.ndjson", path / "events-0000000000000000035.ndjson")
    assert verdict(path) == "the file events-0000000000000000035.ndjson is not one of this export's"


def note(size: int, *, key: str = "golden", generation: int = 1, root: bytes = bytes(32)) -> str:
    """Sign a checkpoint of the golden log."""
    predecessor = None if generation == 1 else Predecessor(30, bytes(32))
    origin = Origin(installation=INSTALLATION, generation=generation, predecessor=predecessor)
    return (KEY if key == "golden" else OTHER_KEY).sign(Checkpoint(origin.text, size, root))


@pytest.mark.parametrize(
    ("kept", "problem"),
    [
        (note(16), f"{OTHER_HISTORY} the first bad position is one from 1 to 16"),
        (note(34), f"{OTHER_HISTORY} the first bad position is one from 1 to 34"),
        (note(40), "position 35: it is missing: the earlier checkpoint speaks of 40 events, and this of 34"),
        (note(16, key="other"), "the earlier checkpoint is not signed by "),
        (note(16, generation=2), "the earlier checkpoint is of generation 2 of the log, and the export of 1"),
    ],
)  # fmt: skip
def test_a_history_that_does_not_go_on_is_refused(kept: str, problem: str) -> None:
    """Hold the golden log against checkpoints that it does not go on from."""
    assert verdict(EXPORTS / "operator", kept=kept).startswith(problem)


def test_a_restore_is_explained(tmp_path: Path) -> None:
    """Across generations a checkpoint is gone on from where nothing was lost, and else what the restore did is said."""
    path = changed(tmp_path, lambda lines: lines, sums=False)
    root = parse_checkpoint(parse_note((path / "checkpoint.txt").read_text(encoding="utf-8")).text).root
    fresh = note(34, generation=2, root=root)
    origin = fresh.split("\n", 1)[0]
    manifest = (path / "manifest.json").read_text(encoding="utf-8").replace(ORIGIN, origin)
    (path / "manifest.json").write_text(manifest, encoding="utf-8")
    (path / "checkpoint.txt").write_text(fresh, encoding="utf-8")
    (path / "log.vkey").write_text(KEY.verifier_key(origin) + "\n", encoding="utf-8")
    digests = {each.name: sha256(each.read_bytes()).hexdigest() for each in path.iterdir() if each.name != "SHA256SUMS"}
    (path / "SHA256SUMS").write_bytes(sums_text(digests))
    key = KEY.verifier_key(ORIGIN)
    assert verdict(path, key, kept=(EXPORTS / "checkpoint-16.txt").read_text(encoding="utf-8")) == "OK"
    lost = verdict(path, key, kept=note(36))
    assert lost.startswith("position 35: it is missing: the earlier checkpoint speaks of 36 events, and this of 34")
    assert "the log was restored from a backup: generation 2 began" in lost


def test_only_the_key_that_is_trusted_counts() -> None:
    """A key of another log, another key of this log, and what is no key at all are told apart."""
    assert "not signed by" in verdict(EXPORTS / "operator", OTHER_KEY.verifier_key(ORIGIN))
    assert "not signed by a key that is trusted" in verdict(EXPORTS / "operator", KEY.verifier_key("entri/ins_other"))
    assert verdict(EXPORTS / "operator", OTHER_KEY.verifier_key(ORIGIN), KEY.verifier_key(ORIGIN)) == "OK"
    for key in ("a+b+c", "no-such-file"):
        done = CliRunner().invoke(verify_log, [str(EXPORTS / "operator"), "--key", key])
        assert (done.exit_code, "--key" in done.output) == (2, True)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_altered_byte_is_verified(data: st.DataObject) -> None:
    """Put any bytes in the place of any others, in any file: it is never verified, and never fails on its own."""
    with TemporaryDirectory() as folder:
        name = data.draw(st.sampled_from(["organization.ndjson", "part.ndjson", "operator"]))
        path = Path(folder) / name
        target = path
        if name == "operator":
            shutil.copytree(EXPORTS / name, path)
            target = data.draw(st.sampled_from(sorted(path.iterdir())))
        else:
            shutil.copy(EXPORTS / name, path)
        octets = target.read_bytes()
        start = data.draw(st.integers(0, len(octets)))
        end = data.draw(st.one_of(st.integers(start, min(start + 3, len(octets))), st.integers(start, len(octets))))
        patch = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b"0", b"1", b'"', b"\n", b"{", b"e", b"\xff"]))
        )
        altered = octets[:start] + patch + octets[end:]
        target.write_bytes(altered)
        assert (verdict(path) == "OK") == (altered == octets)
