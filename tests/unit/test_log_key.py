"""The key that signs checkpoints: the published examples of signed notes, what is refused, and its file."""

import asyncio
import base64
import os
from pathlib import Path

import pytest

from events.checkpoint import Checkpoint, CheckpointError, Signature, VerifierKey, parse_note, write_note
from service.key_files import open_log_key
from service.keyring import KeyFileError, KeyRing, from_text
from service.log_key import LogKey, log_key, verify

SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
WISDOM = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNED_WISDOM = (
    f"{WISDOM}\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The examples in the documentation of Go's golang.org/x/mod/sumdb/note."""
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
"""The example of version 1.0.0 of https://c2sp.org/signed-note."""
KEY = log_key(KeyRing({"k1": SEED}))
CHECKPOINT = Checkpoint("entri/ins_1/org_1", 7, bytes(range(32)))


async def opened(path: Path, *signed_by: str) -> LogKey:
    """Open the log key file as the service does."""
    return await open_log_key(path, signed_by, os.urandom)


def test_the_published_keys_and_signatures() -> None:
    """From the published seed come the published key and id, and under it the published signature is good."""
    assert VerifierKey("PeterNeumann", KEY.public_key).text == PETER
    for note, key in ((SIGNED_WISDOM, PETER), (EXAMPLE, EXAMPLE_KEY)):
        # Good, but no checkpoint: the signature is looked at first.
        with pytest.raises(CheckpointError, match="three lines"):
            verify(note, key)
        with pytest.raises(CheckpointError, match="is wrong: the text is not what it signed"):
            verify(note.replace("i", "j", 1), key)


def test_what_was_signed_is_verified() -> None:
    """A checkpoint comes out as it went in; other signers' lines beside ours do not matter."""
    note, vkey = KEY.sign(CHECKPOINT), KEY.verifier_key(CHECKPOINT.origin)
    assert verify(note, vkey) == CHECKPOINT
    parsed = parse_note(note)
    (own,) = parsed.signatures
    stranger = Signature("witness.example", bytes(4), bytes(72))
    assert verify(write_note(parsed.text, [stranger, own, stranger]), vkey) == CHECKPOINT
    assert note == KEY.sign(CHECKPOINT)


def test_what_was_not_signed_is_refused() -> None:
    """Another tree's key, another key, and a second signature that is wrong: each is refused, and says so."""
    note, vkey = KEY.sign(CHECKPOINT), KEY.verifier_key(CHECKPOINT.origin)
    with pytest.raises(CheckpointError, match=r"not signed by entri/ins_1\+.* but by entri/ins_1/org_1"):
        verify(note, KEY.verifier_key("entri/ins_1"))
    with pytest.raises(CheckpointError, match="not signed by"):
        verify(note, log_key(KeyRing({"k1": bytes(32)})).verifier_key(CHECKPOINT.origin))
    parsed = parse_note(note)
    (own,) = parsed.signatures
    with pytest.raises(CheckpointError, match="is wrong"):
        verify(write_note(parsed.text, [own, Signature(own.name, own.key_id, bytes(64))]), vkey)
    elsewhere = CHECKPOINT.text.replace("org_1", "org_2")
    forged = Signature(own.name, own.key_id, KEY._private.sign(elsewhere.encode()))
    with pytest.raises(CheckpointError, match=r"is about entri/ins_1/org_2, and entri/ins_1/org_1 signed it"):
        verify(write_note(elsewhere, [forged]), vkey)


async def test_the_file_is_made_once(tmp_path: Path) -> None:
    """Of two that open a missing file together one makes it, for its owner alone, and both sign alike."""
    path = tmp_path / "log.key"
    one, other = await asyncio.gather(opened(path), opened(path))
    assert one.sign(CHECKPOINT) == other.sign(CHECKPOINT)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (await opened(path, one.id)).id == one.id
    seed = from_text(path.read_text(), "the file").key("k1")
    assert seed is not None
    assert repr(one) == f"LogKey(ids=('{one.id}',))"


async def test_a_missing_or_other_key_is_refused(tmp_path: Path) -> None:
    """A key that has signed cannot be replaced by accident: by a new file, or by one that lacks it."""
    path = tmp_path / "log.key"
    with pytest.raises(KeyFileError, match=f"{path} is missing, and the database holds .* {KEY.id}"):
        await opened(path, KEY.id)
    assert not path.exists()
    new = await opened(path)
    with pytest.raises(KeyFileError, match=f"lacks {KEY.id}, which signed the newest checkpoint: add it back"):
        await opened(path, KEY.id)
    with path.open("a") as file:
        file.write(f"k0:{base64.b64encode(SEED).decode()}\n")
    assert (await opened(path, KEY.id)).ids == (new.id, KEY.id)
