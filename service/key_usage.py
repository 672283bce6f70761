"""Which keys are in use: what is under each, which processes can read and write what. Must never show a key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from events.statement import Pool, load

COUNT_KEY_USES: Final = load("service.statements", "count_key_uses")
LIST_KEYS: Final = load("service.statements", "list_keys")
LIST_HOLDERS: Final = load("service.statements", "list_holders")
SUPERSEDE_KEYS: Final = load("service.statements", "supersede_keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOnRecord:
    """A key as the database knows it; what it is called there is no secret."""

    kind: str
    id: str
    is_permitted: bool
    """Every process can read it."""
    is_superseded: bool
    """A newer one is to be written under."""

    @property
    def name(self) -> str:
        """Name it with its kind."""
        return f"{self.kind}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that holds keys."""

    name: str
    readable: frozenset[str]
    writes: frozenset[str]


async def find_keys(pool: Pool) -> tuple[KeyOnRecord, ...]:
    """List the keys on record, in the order in which they came."""
    return tuple(
        KeyOnRecord(
            kind=row["kind"], id=row["key_id"], is_permitted=row["is_permitted"], is_superseded=row["is_superseded"]
        )
        for row in await pool.fetch(LIST_KEYS.text)
    )


async def find_holders(pool: Pool) -> tuple[Holder, ...]:
    """List the processes that hold keys now."""
    return tuple(
        Holder(name=row["name"], readable=frozenset(row["readable"]), writes=frozenset(row["writes"]))
        for row in await pool.fetch(LIST_HOLDERS.text)
    )


async def count_uses(pool: Pool) -> dict[str, dict[str, int]]:
    """Count what still matters under each key, by what it is: secrets that work, passwords, what is sealed."""
    uses: dict[str, dict[str, int]] = {}
    for row in await pool.fetch(COUNT_KEY_USES.text):
        uses.setdefault(f"{row['kind']}/{row['key_id']}", {})[row["what"]] = row["uses"]
    return uses


async def supersede(pool: Pool, kind: str, key_id: str) -> bool:
    """Have everything written under one key from now on, if every process can read it; says whether that is so."""
    return bool(await pool.fetchval(SUPERSEDE_KEYS.text, kind, key_id))


def unable(holders: Sequence[Holder], name: str) -> list[str]:
    """Name the processes that cannot read a key."""
    return [holder.name for holder in holders if name not in holder.readable]


def still_writing(holders: Sequence[Holder], kind: str, key_id: str) -> list[str]:
    """Name the processes that may write under another key of the kind."""
    own = f"{kind}/{key_id}"
    return [
        holder.name for holder in holders if any(name.startswith(f"{kind}/") and name != own for name in holder.writes)
    ]
