"""A proof in a file: it proves its entry and no other, and whatever is not one is refused with a reason."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.checkpoint import Checkpoint, CheckpointError
from events.entry import leaf_hash
from events.merkle import inclusion_proof, node_hash, root_of
from events.tlog_proof import TlogProof, parse_tlog_proof
from service.keyring import KeyRing
from service.log_key import log_key, verify

ENTRIES = [b'{"n":%d}' % number for number in range(11)]
KEY = log_key(KeyRing({"k1": os.urandom(32)}))
ORIGIN = "entri/ins_1"


def subtree(level: int, index: int) -> bytes:
    """Compute a complete subtree by the definition."""
    return (
        node_hash(subtree(level - 1, 2 * index), subtree(level - 1, 2 * index + 1))
        if level
        else leaf_hash(ENTRIES[index])
    )


NOTE = KEY.sign(Checkpoint(ORIGIN, len(ENTRIES), root_of(len(ENTRIES), subtree)))


def proof_of(index: int) -> TlogProof:
    """Prove one of the entries."""
    hashes = tuple(inclusion_proof(index, len(ENTRIES), subtree))
    return TlogProof(entry=ENTRIES[index], index=index, hashes=hashes, note=NOTE)


@given(st.integers(0, len(ENTRIES) - 1))
def test_it_is_read_as_it_was_written_and_proves(index: int) -> None:
    """A file holds all that is needed but the key; another entry, or another place, is not proved by it."""
    proof = parse_tlog_proof(proof_of(index).text)
    assert proof == proof_of(index)
    checkpoint = verify(proof.note, KEY.verifier_key(ORIGIN))
    assert proof.proves(checkpoint)
    assert not replace(proof, entry=proof.entry + b" ").proves(checkpoint)
    assert not replace(proof, index=(index + 1) % len(ENTRIES)).proves(checkpoint)


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ("@v1", "@v2", "the first line of a proof is c2sp.org/tlog-proof@v1"),
        ("extra ", "", "the second line is not `extra`"),
        ("extra ", "extra  ", r"the entry \(line 2\) is not standard base64"),
        ("index 3", "index 03", "the third line is not `index`"),
        ("index 3", "", "the third line is not `index`"),
        ("\n\nentri", "\nentri", r"the hash in line \d+ is not standard base64"),
        ("=\n\nentri", "=\nAAAA\n\nentri", "the hash in line 8 is 3 bytes and not 32"),
    ],
)
def test_what_is_no_proof(before: str, after: str, wrong: str) -> None:
    """There is one way to write each proof; for any other the message says what is wrong."""
    with pytest.raises(CheckpointError, match=wrong):
        parse_tlog_proof(proof_of(3).text.replace(before, after, 1))


@given(st.text(max_size=40), st.integers(0, 700), st.integers(0, 40))
def test_whatever_is_put_into_one_is_refused(put: str, place: int, length: int) -> None:
    """With any part exchanged, it is refused or still says the same: never an exception of another kind."""
    text = proof_of(5).text
    changed = text[:place] + put + text[place + length :]
    try:
        proof = parse_tlog_proof(changed)
        checkpoint = verify(proof.note, KEY.verifier_key(ORIGIN))
    except CheckpointError:
        return
    assert proof.proves(checkpoint) == (proof.entry == ENTRIES[proof.index] and changed == text)
