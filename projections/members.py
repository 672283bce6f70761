"""The read model `members`: who is a member, in which role. Must never be written but by the append."""

from typing import Final, assert_never, get_args

import asyncpg

from events.applications import ApplicationEvent
from events.envelope import Actor, ActorKind
from events.members import DecidedEvent, MemberRole, MemberState, ObservedEvent, evolve_member
from events.organizations import OrganizationEvent
from events.registry import Event
from events.statement import load
from events.tokens import TokenEvent
from events.usage import UsageEvent
from projections.projection import Foldable, Projection


def key_of(event: Event) -> str | None:
    """Name the member that an event changes."""
    if isinstance(event, DecidedEvent):
        return event.member_id
    if isinstance(event, ObservedEvent | TokenEvent | UsageEvent | ApplicationEvent | OrganizationEvent):
        return None
    assert_never(event)


def evolve_row(state: MemberState | None, recorded: Foldable) -> MemberState:
    """Fold one event into a member's row, exactly as decisions fold it."""
    event = recorded.event
    if not isinstance(event, DecidedEvent):
        raise TypeError(f"{type(event).__name__} changes no member")
    organization, actor = recorded.organization, recorded.actor
    return evolve_member(state, event, organization=organization, actor=actor, at=recorded.occurred_at)


def row_of(state: MemberState) -> tuple[object, ...]:
    """Lay a member out as a row."""
    return (
        state.id,
        state.organization,
        state.role,
        state.created_at,
        state.created_by.kind,
        state.created_by.id,
        state.removed_at,
    )


def state_of(row: asyncpg.Record) -> MemberState:
    """Read a member back from its row."""
    return MemberState(
        id=row["id"],
        organization=row["organization"],
        role=MemberRole(row["role"]),
        created_at=row["created_at"],
        created_by=Actor(kind=ActorKind(row["created_by_kind"]), id=row["created_by_id"]),
        removed_at=row["removed_at"],
    )


MEMBERS: Final = Projection(
    name="members",
    table="members_v1",
    columns=("id", "organization", "role", "created_at", "created_by_kind", "created_by_id", "removed_at"),
    is_inline=True,
    types=frozenset(get_args(DecidedEvent)),
    key=key_of,
    evolve=evolve_row,
    row=row_of,
    state=state_of,
    find=load("projections.statements.members", "find_members"),
    write=load("projections.statements.members", "write_members"),
)


def row_json(state: MemberState) -> dict[str, object]:
    """Make the companion row that an append takes along with a member's events."""
    return MEMBERS.row_json(state)
