"""The read model `organizations`: every tenant as it is now. Must never be written but by the append."""

from typing import Final, assert_never

import asyncpg

from events.applications import ApplicationEvent
from events.members import MemberEvent
from events.organizations import OrganizationCreated, OrganizationEvent, OrganizationState, evolve
from events.registry import Event
from events.statement import Pool, load
from events.tokens import TokenEvent
from events.usage import UsageEvent
from projections.projection import Foldable, Projection

FIND_ORGANIZATIONS: Final = load("projections.statements.organizations", "find_organizations")
WRITE_ORGANIZATIONS: Final = load("projections.statements.organizations", "write_organizations")


def key_of(event: Event) -> str | None:
    """Name the organization that an event changes."""
    if isinstance(event, OrganizationEvent):
        return event.organization_id
    if isinstance(event, TokenEvent | UsageEvent | ApplicationEvent | MemberEvent):
        return None
    assert_never(event)


def evolve_row(state: OrganizationState | None, recorded: Foldable) -> OrganizationState:
    """Fold one event into an organization's row."""
    event = recorded.event
    if not isinstance(event, OrganizationCreated):
        raise TypeError(f"{type(event).__name__} changes no organization")
    return evolve(state, event, at=recorded.occurred_at)


def row_of(state: OrganizationState) -> tuple[object, ...]:
    """Lay an organization out as a row."""
    return (state.id, state.name, state.created_at)


def state_of(row: asyncpg.Record) -> OrganizationState:
    """Read an organization back from its row."""
    return OrganizationState(id=row["id"], name=row["name"], created_at=row["created_at"])


ORGANIZATIONS: Final = Projection(
    name="organizations",
    table="organizations_v1",
    columns=("id", "name", "created_at"),
    is_inline=True,
    types=frozenset({OrganizationCreated}),
    key=key_of,
    evolve=evolve_row,
    row=row_of,
    state=state_of,
    find=FIND_ORGANIZATIONS,
    write=WRITE_ORGANIZATIONS,
)


def row_json(state: OrganizationState) -> dict[str, object]:
    """Make the companion row that an append takes along with an organization's events."""
    return ORGANIZATIONS.row_json(state)


async def find_organization(pool: Pool, organization_id: str) -> OrganizationState | None:
    """Find one organization, or None when there is no such."""
    row = await pool.fetchrow(FIND_ORGANIZATIONS.text, [organization_id])
    return None if row is None else state_of(row)
