"""Checkpoints, notes and origins: the published examples, what is refused, and that reading undoes writing."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.checkpoint import (
    Checkpoint,
    CheckpointError,
    Note,
    Signature,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    parse_verifier_key,
    write_note,
)
from events.merkle import EMPTY_ROOT
from events.origin import Origin, Predecessor, parse_origin

ROOT = bytes(range(32))
CHECKPOINT = Checkpoint("entri/ins_1/org_1", 7, ROOT)
NOTE = f"{CHECKPOINT.text}\n— entri/ins_1/org_1 {base64.b64encode(bytes(68)).decode()}\n"
EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
"""The example of https://c2sp.org/tlog-checkpoint."""
NAMES = st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="+"), min_size=1, max_size=20)


def test_the_published_example() -> None:
    """The specification's own checkpoint is read, and written as it was."""
    checkpoint = parse_checkpoint(EXAMPLE)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == EXAMPLE
    assert parse_checkpoint(EXAMPLE + "an extension line\n") == checkpoint


@given(NAMES, st.integers(1, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_reading_undoes_writing(name: str, size: int, root: bytes) -> None:
    """Whatever can be written is read again as what it was: checkpoint, note and verifier key."""
    checkpoint, signature = Checkpoint(name, size, root), Signature(name, root[:4], root)
    assert parse_checkpoint(checkpoint.text) == checkpoint
    assert parse_note(write_note(checkpoint.text, [signature] * 3)) == Note(checkpoint.text, (signature,) * 3)
    assert parse_verifier_key(VerifierKey(name, root).text + "\n") == VerifierKey(name, root)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (CHECKPOINT.text[:-1], "does not end with a newline"),
        ("entri/ins_1\n7\n", "three lines: origin, tree size, root hash; this has 2"),
        (CHECKPOINT.text.replace("\n7\n", "\n\n7\n"), "line 2 of the checkpoint is empty"),
        (CHECKPOINT.text + "\n", "line 4 of the checkpoint is empty"),
        (CHECKPOINT.text.replace("\n7\n", "\n07\n"), r"the tree size \(line 2\) is not a decimal number"),
        (CHECKPOINT.text.replace("\n7\n", "\n+7\n"), r"the tree size \(line 2\)"),
        (CHECKPOINT.text.replace("\n7\n", "\n\N{ARABIC-INDIC DIGIT SEVEN}\n"), r"the tree size \(line 2\)"),
        (CHECKPOINT.text.replace("\n7\n", f"\n{2**63}\n"), "from 0 to 2"),
        (CHECKPOINT.text.replace("\n7\n", "\n0\n"), "the root hash of an empty tree"),
        (CHECKPOINT.text.replace("8=\n", "9=\n"), r"the root hash \(line 3\) is not standard base64"),
        (CHECKPOINT.text.replace("=\n", "\n"), r"the root hash \(line 3\) is not standard base64"),
        (f"a\n7\n{base64.b64encode(ROOT[:31]).decode()}\n", "the root hash of a checkpoint is 32 bytes"),
        (CHECKPOINT.text.replace("entri/", "entri+"), "the origin is empty or holds"),
        (CHECKPOINT.text.replace("entri/", "entri "), "the origin is empty or holds"),
    ],
)
def test_a_checkpoint_that_is_not_one(text: str, wrong: str) -> None:
    """There is one way to write each checkpoint; for any other the message says what is wrong."""
    with pytest.raises(CheckpointError, match=wrong):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    ("note", "wrong"),
    [
        (NOTE[:-1], "does not end with a newline"),
        (NOTE.replace("\n", "\r\n"), "a line ends with LF alone"),
        (NOTE.replace("\n\n", "\n"), "no blank line"),
        (NOTE.partition("—")[0], "from 1 to 100 signatures"),
        (NOTE + NOTE.rpartition("\n\n")[2] * 100, "from 1 to 100 signatures"),
        (NOTE.replace("— ", "- "), "signature line 1 is not an em dash"),
        (NOTE.replace("— ", "—  "), "the name in signature line 1 is empty"),
        (NOTE.replace("AAA=", "AAB="), "the signature in signature line 1 is not standard base64"),
        (f"{CHECKPOINT.text}\n— a AAAAAA==\n", "the signature in signature line 1 is too short"),
        (f"{CHECKPOINT.text}\n— a\n", "signature line 1 is not an em dash"),
        ("x" * 1_000_001, "longer than 1000000 bytes"),
        (NOTE.replace("ins", "\ud800"), "is not Unicode text"),
    ],
)
def test_a_note_that_is_not_one(note: str, wrong: str) -> None:
    """A note that could be read in two ways is read in none."""
    with pytest.raises(CheckpointError, match=wrong):
        parse_note(note)


@settings(max_examples=40)
@given(st.text(max_size=30))
def test_reading_anything_raises_nothing_else(text: str) -> None:
    """Whatever is handed in, the answer is a value or a CheckpointError."""
    for read in (parse_checkpoint, parse_note, parse_verifier_key, parse_origin):
        for attempt in (text, f"a\n1\n{text}\n", f"{CHECKPOINT.text}\n— {text}\n", f"a+00000000+{text}"):
            try:
                read(attempt)
            except CheckpointError:
                continue


def test_a_verifier_key_that_is_not_one() -> None:
    """A slip in a key that was typed or pasted is noticed by its id."""
    text = VerifierKey("entri/ins_1", ROOT).text
    name, key_id, key = text.split("+", 2)
    for wrong, why in {
        text.replace("ins_1", "ins_2"): "a character is wrong",
        f"{name}+{key_id}": "name\\+id\\+key",
        f"{name}+{key_id.upper()}0+{key}": "a character is wrong",
        f"{name}+{key_id}+{key[:-1]}": "the key is not standard base64",
        f"{name}+{key_id}+{base64.b64encode(b'%c' % 2 + ROOT).decode()}": "not an Ed25519 key",
        f"{name}+{key_id}+{base64.b64encode(b'%c' % 1 + ROOT[1:]).decode()}": "is 32 bytes",
    }.items():
        with pytest.raises(CheckpointError, match=why):
            parse_verifier_key(wrong)


def test_a_note_cannot_hold_everything() -> None:
    """What would be read as something else is not written."""
    signature = Signature("entri/ins_1", bytes(4), bytes(64))
    for text, signatures in [("no newline", [signature]), (CHECKPOINT.text, []), ("a\r\n", [signature])]:
        with pytest.raises(CheckpointError):
            write_note(text, signatures)
    with pytest.raises(CheckpointError):
        write_note(CHECKPOINT.text, [replace(signature, name="two words")])


def test_origins() -> None:
    """An origin names the installation, from its second generation on its predecessor, and an organization."""
    whole = Origin(installation="ins_1")
    later = Origin(installation="ins_1", generation=2, predecessor=Predecessor(9, ROOT))
    own = replace(later, organization="org_1")
    assert [one.text for one in (whole, replace(whole, organization="org_1"), later, own)] == [
        "entri/ins_1",
        "entri/ins_1/org_1",
        f"entri/ins_1/2-9-{ROOT.hex()}",
        f"entri/ins_1/2-9-{ROOT.hex()}/org_1",
    ]
    assert [parse_origin(one.text) for one in (whole, later, own)] == [whole, later, own]
    for wrong in ("entri", "entri/", "other/ins_1", "entri/ins_1/app_1", "entri/ins_1/1-9-00", f"{own.text}/x"):
        with pytest.raises(CheckpointError, match="the origin is not of the form"):
            parse_origin(wrong)
    for parts in ({"generation": 2}, {"predecessor": Predecessor(9, ROOT)}, {"organization": "o/1"}):
        with pytest.raises(CheckpointError):
            replace(whole, **parts)


def test_an_empty_tree_has_the_empty_root() -> None:
    """A tree without leaves has one root only."""
    assert Checkpoint("entri/ins_1", 0, EMPTY_ROOT).text.endswith("\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
