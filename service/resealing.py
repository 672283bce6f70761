"""Seals everything that is sealed under one key-encryption key, a few rows at a time, while all of it is in use.

A row is replaced only where it still is as it was read, so it may go or change meanwhile, and what was done stays done.
Must never lose a seal that does not open: it is left as it is, and named.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import asyncpg

from events.statement import Pool, Statement, load
from service.data_key import DATA_KEY_COLUMN
from service.keyring import KeyRing
from service.sealing import SealedValue, SealError, reseal
from service.seals import SEAL_COLUMN, seal_row_id
from service.vault import REPLAY_COLUMN

MOST_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A table of sealed values: how its rows are read and replaced, what they are bound to, and where to begin."""

    page: Statement
    renew: Statement
    column: str
    key: tuple[str, ...]
    """The columns of its primary key."""
    before_all: tuple[str | int, ...]
    row_id: Callable[[asyncpg.Record], str]


PLACES: Final = (
    Place(
        page=load("service.statements", "page_other_data_keys"),
        renew=load("service.statements", "renew_data_keys"),
        column=DATA_KEY_COLUMN,
        key=("name",),
        before_all=("",),
        row_id=lambda row: str(row["name"]),
    ),
    Place(
        page=load("service.statements", "page_other_seals"),
        renew=load("service.statements", "renew_seals"),
        column=SEAL_COLUMN,
        key=("token_id", "generation"),
        before_all=("", -1),
        row_id=lambda row: seal_row_id(row["organization"], row["token_id"], row["generation"]),
    ),
    Place(
        page=load("service.statements", "page_other_replays"),
        renew=load("service.statements", "renew_replays"),
        column=REPLAY_COLUMN,
        key=("event_id",),
        before_all=("",),
        row_id=lambda row: str(row["event_id"]),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resealed:
    """How many values were sealed anew, and which could not be opened."""

    values: int
    problems: tuple[str, ...]


async def reseal_all(
    pool: Pool, keks: KeyRing, random_bytes: Callable[[int], bytes], on_progress: Callable[[int], None]
) -> Resealed:
    """Seal under the ring's writing key whatever another one has sealed, telling of each few that are done."""
    values, problems = 0, list[str]()
    for place in PLACES:
        after = place.before_all
        while rows := await pool.fetch(place.page.text, keks.writing_id, MOST_AT_ONCE, *after):
            renewed: list[tuple[asyncpg.Record, SealedValue]] = []
            for row in rows:
                try:
                    renewed.append((row, renewed_seal(place, row, keks, random_bytes)))
                except SealError as error:
                    problems.append(f"{place.column} of {place.row_id(row)}: {error}")
            await replace(pool, place, renewed)
            values += len(renewed)
            on_progress(len(rows))
            after = tuple(rows[-1][column] for column in place.key)
    return Resealed(values=values, problems=tuple(problems))


def renewed_seal(place: Place, row: asyncpg.Record, keks: KeyRing, random_bytes: Callable[[int], bytes]) -> SealedValue:
    """Seal a row's value under the writing key. Raises SealError."""
    sealed = SealedValue(row["key_id"], row["nonce"], row["ciphertext"])
    return reseal(keks, sealed, row_id=place.row_id(row), column=place.column, random_bytes=random_bytes)


async def replace(pool: Pool, place: Place, renewed: list[tuple[asyncpg.Record, SealedValue]]) -> None:
    """Put new seals in the place of those that were read."""
    if renewed:
        await pool.execute(
            place.renew.text,
            renewed[0][1].key_id,
            [row["nonce"] for row, _ in renewed],
            [sealed.nonce for _, sealed in renewed],
            [sealed.ciphertext for _, sealed in renewed],
            *([row[column] for row, _ in renewed] for column in place.key),
        )
