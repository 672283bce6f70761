"""Origins: the names of this log's trees in checkpoints, by which one tree's checkpoints are told from all others'.

The whole log is `entri/<installation>`, an organization's history `entri/<installation>/<organization>`. A log that was
restored from a backup is another log: from its second generation on, `<generation>-<size>-<root in hex>` of the
predecessor's last known checkpoint follows the installation. Must never do I/O.
"""

import re
from dataclasses import dataclass
from typing import Final

from events.checkpoint import CheckpointError
from events.merkle import HASH_BYTES

FIRST_GENERATION: Final = 1
FORM: Final = re.compile(
    r"entri/(?P<installation>[^/\s+]+)"
    r"(?:/(?P<generation>[1-9][0-9]{0,8})-(?P<size>0|[1-9][0-9]{0,18})-(?P<root>[0-9a-f]{64}))?"
    r"(?:/(?P<organization>org_[^/\s+]+))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The last checkpoint of the whole log that is known of the generation before this one."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a checkpoint is about: an installation, its generation, and an organization unless it is the whole log."""

    installation: str
    generation: int = FIRST_GENERATION
    predecessor: Predecessor | None = None
    organization: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be read again. Raises CheckpointError."""
        if (self.generation > FIRST_GENERATION) != (self.predecessor is not None):
            raise CheckpointError("every generation of a log but the first names its predecessor")
        if self.predecessor is not None and len(self.predecessor.root) != HASH_BYTES:
            raise CheckpointError(f"the predecessor's root hash is {HASH_BYTES} bytes")
        if FORM.fullmatch(self.text) is None:
            raise CheckpointError("an installation and an organization are named by their ids")

    @property
    def text(self) -> str:
        """The origin as checkpoints name it."""
        parts = ["entri", self.installation]
        if self.predecessor is not None:
            parts.append(f"{self.generation}-{self.predecessor.size}-{self.predecessor.root.hex()}")
        if self.organization is not None:
            parts.append(self.organization)
        return "/".join(parts)


def parse_origin(text: str) -> Origin:
    """Read an origin of one of our logs. Raises CheckpointError."""
    match = FORM.fullmatch(text)
    if match is None:
        raise CheckpointError("the origin is not of the form entri/<installation> or entri/<installation>/<org_…>")
    predecessor = None
    if match["generation"] is not None:
        predecessor = Predecessor(int(match["size"]), bytes.fromhex(match["root"]))
    return Origin(
        installation=match["installation"],
        generation=int(match["generation"] or FIRST_GENERATION),
        predecessor=predecessor,
        organization=match["organization"],
    )
