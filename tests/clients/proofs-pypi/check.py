"""Check the tree with pymerkle and the signed notes with sigstore: `python check.py FILE`.

pymerkle builds a tree of its own from the entries: its roots and inclusion proofs have to be the service's. sigstore
reads the checkpoints; their signatures are checked with the key from its note text (C2SP signed-note, Ed25519).
"""

import base64
import json
import sys
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pymerkle import InmemoryTree
from sigstore._internal.rekor.checkpoint import SignedCheckpoint

given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


def tree_of(entries: list[str]) -> InmemoryTree:
    """Build a tree."""
    tree = InmemoryTree(algorithm="sha256")
    for entry in entries:
        tree.append_entry(entry.encode())
    return tree


tree = tree_of([event["entry"] for event in given["events"]])

for number, event in enumerate(given["events"], start=1):
    proof = event["inclusionProof"]
    size = int(proof["treeSize"])
    assert tree.get_root(size).hex() == proof["rootHash"]
    theirs = tree.prove_inclusion(number, size)
    assert [digest.hex() for digest in theirs.path[1:]] == proof["hashes"]

for proof in given["consistency"]:
    assert tree.get_root(int(proof["from"])).hex() == proof["fromRootHash"]
    assert tree.get_root(int(proof["to"])).hex() == proof["toRootHash"]


def check_note(note: str, verifier_key: str, tree: InmemoryTree) -> None:
    """Check who signed a checkpoint, and that its root is the tree's."""
    name, key_id, encoded = verifier_key.strip().split("+", 2)
    key = base64.b64decode(encoded)
    assert key[0] == 1
    assert sha256(f"{name}\n".encode() + key).hexdigest()[:8] == key_id
    signed = SignedCheckpoint.from_text(note)
    assert signed.checkpoint.origin == name
    assert signed.checkpoint.log_hash == tree.get_root(signed.checkpoint.log_size).hex()
    (signature,) = signed.signed_note.signatures
    assert (signature.name, signature.sig_hash.hex()) == (name, key_id)
    text = signed.signed_note.note.encode()
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(base64.b64decode(signature.signature), text)


for note in given["notes"]:
    check_note(note, given["key"], tree)

for export in given["exports"]:
    exported = tree_of(export["entries"])
    assert exported.get_size() == SignedCheckpoint.from_text(export["note"]).checkpoint.log_size
    check_note(export["note"], export["key"], exported)

print(f"{len(given['notes'])} notes, {len(given['events'])} entries, {len(given['exports'])} exports")
