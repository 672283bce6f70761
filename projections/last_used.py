"""The read model `token_last_used`: how often and when tokens were used. Follows the log; must never be ahead of it.

Usage is folded per secret as far as a token page asks: the newest generation that was seen in use, and the one before
it, whose last use says whether an overlap can be ended.
"""

from datetime import datetime
from typing import Final, NamedTuple

import asyncpg

from events.registry import Event
from events.statement import load
from events.tokens import TokenCreated
from events.usage import TokenUsed
from projections.projection import Foldable, Kept, Projection


class LastUsed(NamedTuple):
    """What is known of one token's use: a row as it is."""

    token_id: str
    organization: str
    use_count: int = 0
    last_used_at: datetime | None = None
    newest_generation: int = 0
    """The newest generation whose secret was used."""
    newest_last_used_at: datetime | None = None
    previous_last_used_at: datetime | None = None
    """When the secret one generation before that was used last."""

    def generation_last_used_at(self, generation: int) -> datetime | None:
        """Say when the secret of a generation was used last, as far as that is kept: the newest used and one before."""
        if generation == self.newest_generation:
            return self.newest_last_used_at
        return self.previous_last_used_at if generation == self.newest_generation - 1 else None


def key_of(event: Event) -> str | None:
    """Name the token whose use an event speaks of."""
    return event.token_id if isinstance(event, TokenCreated | TokenUsed) else None


def evolve(state: LastUsed | None, recorded: Foldable) -> LastUsed:
    """Fold one event into a token's use. Windows of several processes overlap, so instants only ever grow."""
    event = recorded.event
    if isinstance(event, TokenCreated):
        if state is not None:
            raise ValueError(f"{event.token_id} is created twice")
        return LastUsed(token_id=event.token_id, organization=recorded.organization)
    if not isinstance(event, TokenUsed):
        raise TypeError(f"{type(event).__name__} is no use of a token")
    if state is None:
        raise ValueError(f"{event.token_id} was never created")
    newest = max(event.generation, state.newest_generation)
    return LastUsed(
        token_id=state.token_id,
        organization=state.organization,
        use_count=state.use_count + event.count,
        last_used_at=later(state.last_used_at, event.last_used_at),
        newest_generation=newest,
        newest_last_used_at=last_use(state, event, generation=newest),
        previous_last_used_at=last_use(state, event, generation=newest - 1),
    )


def last_use(state: LastUsed, event: TokenUsed, *, generation: int) -> datetime | None:
    """Say when the secret of a generation was used last, an event included."""
    known = state.generation_last_used_at(generation)
    return later(known, event.last_used_at) if event.generation == generation else known


def later(known: datetime | None, at: datetime) -> datetime:
    """Pick the later of two instants."""
    return at if known is None or at > known else known


def row_of(state: LastUsed) -> tuple[object, ...]:
    """Lay a token's use out as a row, which it is."""
    return state


def state_of(row: asyncpg.Record) -> LastUsed:
    """Read a token's use back from its row."""
    return LastUsed(**{column: row[column] for column in COLUMNS})


COLUMNS: Final = LastUsed._fields

TOKEN_LAST_USED: Final = Projection(
    name="token_last_used",
    table="token_last_used_v1",
    columns=COLUMNS,
    is_inline=False,
    types=frozenset({TokenCreated, TokenUsed}),
    key=key_of,
    evolve=evolve,
    row=row_of,
    state=state_of,
    find=load("projections.statements.last_used", "find_last_used"),
    write=load("projections.statements.last_used", "write_last_used"),
    kept=Kept(
        find=load("projections.statements.last_used", "find_archived_last_used"),
        page=load("projections.statements.last_used", "page_archived_last_used"),
        write=load("projections.statements.last_used", "write_archived_last_used"),
    ),
)
