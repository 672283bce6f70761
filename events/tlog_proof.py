"""A proof in one text: that an entry is in a signed log, for whoever has only this text and the log's public key.

The format is https://c2sp.org/tlog-proof: the entry's index, the hashes of its inclusion proof and a signed checkpoint.
As its extra data we put the entry itself. Must never do I/O, nor be believed before the checkpoint's signature is.
"""

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from events.checkpoint import Checkpoint, CheckpointError, decode, encode
from events.entry import leaf_hash
from events.merkle import HASH_BYTES, verify_inclusion

FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)
MOST_HASHES: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """That the entry is leaf `index` of the tree whose checkpoint is the note's, if the hashes lead there."""

    entry: bytes
    index: int
    hashes: tuple[bytes, ...]
    note: str

    @property
    def text(self) -> str:
        """The proof as it is handed out."""
        lines = [FIRST_LINE, f"extra {encode(self.entry)}", f"index {self.index}", *map(encode, self.hashes)]
        return "\n".join([*lines, "", self.note])

    def proves(self, checkpoint: Checkpoint) -> bool:
        """Say whether the entry is in the tree of this checkpoint, which must have been verified."""
        leaf = leaf_hash(self.entry)
        return verify_inclusion(leaf, self.index, checkpoint.size, self.hashes, checkpoint.root)


def parse_tlog_proof(text: str) -> TlogProof:
    """Read a proof, strictly. Nothing of it is verified. Raises CheckpointError, which says what is wrong."""
    lines = text.split("\n")
    if lines[0] != FIRST_LINE:
        raise CheckpointError(f"the first line of a proof is {FIRST_LINE}")
    if len(lines) < 3 or not lines[1].startswith("extra "):  # noqa: PLR2004 -- that, the entry and its index
        raise CheckpointError("the second line is not `extra` and the entry: proofs of this log hold what they prove")
    index = INDEX.fullmatch(lines[2])
    if index is None:
        raise CheckpointError("the third line is not `index` and the leaf's number")
    hashes = tuple(takewhile(bool, lines[3:]))
    if len(hashes) > MOST_HASHES or len(lines) == 3 + len(hashes):
        raise CheckpointError("after at most 63 hashes there is no empty line with a checkpoint below it")
    return TlogProof(
        entry=decode(lines[1].removeprefix("extra "), "the entry (line 2)"),
        index=int(index[1]),
        hashes=tuple(read_hash(one, number) for number, one in enumerate(hashes, 4)),
        note="\n".join(lines[4 + len(hashes) :]),
    )


def read_hash(text: str, line: int) -> bytes:
    """Read one hash of the proof. Raises CheckpointError."""
    octets = decode(text, f"the hash in line {line}")
    if len(octets) != HASH_BYTES:
        raise CheckpointError(f"the hash in line {line} is {len(octets)} bytes and not {HASH_BYTES}")
    return octets
