"""The read model `member_sign_ins`: when members signed in last. Follows the log; must never be ahead of it."""

from datetime import datetime
from typing import Final, NamedTuple

import asyncpg

from events.members import MemberAdded, SignedIn
from events.registry import Event
from events.statement import load
from projections.projection import Foldable, Projection


class SignIns(NamedTuple):
    """What is known of one member's sign-ins: a row as it is."""

    member_id: str
    organization: str
    last_signed_in_at: datetime | None = None


def key_of(event: Event) -> str | None:
    """Name the member whose sign-in an event speaks of."""
    return event.member_id if isinstance(event, MemberAdded | SignedIn) else None


def evolve(state: SignIns | None, recorded: Foldable) -> SignIns:
    """Fold one event. Those of several processes overlap, so the instant only ever grows."""
    event, at = recorded.event, recorded.occurred_at
    if isinstance(event, MemberAdded):
        return SignIns(member_id=event.member_id, organization=recorded.organization)
    if not isinstance(event, SignedIn):
        raise TypeError(f"{type(event).__name__} is no sign-in")
    if state is None:
        raise ValueError(f"{event.member_id} was never added")
    last = state.last_signed_in_at
    return state._replace(last_signed_in_at=at if last is None or at > last else last)


def row_of(state: SignIns) -> tuple[object, ...]:
    """Lay it out as a row, which it is."""
    return state


def state_of(row: asyncpg.Record) -> SignIns:
    """Read it back from its row."""
    return SignIns(**{column: row[column] for column in SignIns._fields})


MEMBER_SIGN_INS: Final = Projection(
    name="member_sign_ins",
    table="member_sign_ins_v1",
    columns=SignIns._fields,
    is_inline=False,
    types=frozenset({MemberAdded, SignedIn}),
    key=key_of,
    evolve=evolve,
    row=row_of,
    state=state_of,
    find=load("projections.statements.sign_ins", "find_sign_ins"),
    write=load("projections.statements.sign_ins", "write_sign_ins"),
)
