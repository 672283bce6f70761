"""The read model `applications`: every application as it is now. Must never be written but by the append.

What is asked of it is never answered with an application that was deleted: only a rebuild sees that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never, get_args

import asyncpg

from events.applications import (
    ApplicationEvent,
    ApplicationState,
    Environment,
    SecretPolicy,
    evolve_application,
)
from events.members import MemberEvent
from events.organizations import OrganizationEvent
from events.registry import Event
from events.statement import Pool, load
from events.tokens import TokenEvent
from events.usage import UsageEvent
from projections.projection import Foldable, Projection

FIND_OWN_APPLICATIONS: Final = load("projections.statements.applications", "find_own_applications")
COUNT_APPLICATIONS: Final = load("projections.statements.applications", "count_applications")
PAGES: Final = {
    False: load("projections.statements.applications", "page_ascending"),
    True: load("projections.statements.applications", "page_descending"),
}


def key_of(event: Event) -> str | None:
    """Name the application that an event changes."""
    if isinstance(event, ApplicationEvent):
        return event.application_id
    if isinstance(event, TokenEvent | UsageEvent | OrganizationEvent | MemberEvent):
        return None
    assert_never(event)


def evolve_row(state: ApplicationState | None, recorded: Foldable) -> ApplicationState:
    """Fold one event into an application's row, exactly as decisions fold it."""
    event = recorded.event
    if not isinstance(event, ApplicationEvent):
        raise TypeError(f"{type(event).__name__} changes no application")
    return evolve_application(state, event, organization=recorded.organization, at=recorded.occurred_at)


def row_of(state: ApplicationState) -> tuple[object, ...]:
    """Lay an application out as a row, which it is."""
    return state


def state_of(row: asyncpg.Record) -> ApplicationState:
    """Read an application back from its row."""
    return ApplicationState(
        id=row["id"],
        organization=row["organization"],
        name=row["name"],
        environment=Environment(row["environment"]),
        secret_policy=SecretPolicy(row["secret_policy"]),
        created_at=row["created_at"],
        deleted_at=row["deleted_at"],
    )


APPLICATIONS: Final = Projection(
    name="applications",
    table="applications_v1",
    columns=ApplicationState._fields,
    is_inline=True,
    types=frozenset(get_args(ApplicationEvent)),
    key=key_of,
    evolve=evolve_row,
    row=row_of,
    state=state_of,
    find=load("projections.statements.applications", "find_applications"),
    write=load("projections.statements.applications", "write_applications"),
)


def row_json(state: ApplicationState) -> dict[str, object]:
    """Make the companion row that an append takes along with an application's events."""
    return APPLICATIONS.row_json(state)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationPageQuery:
    """Which page to read. To page backward, flip `newest_first` and reverse what comes."""

    organization: str
    newest_first: bool
    after: tuple[datetime, str] | None
    """When the application that the page comes after was made, and its id; None for the first page."""
    limit: int


async def find_applications(pool: Pool, organization: str, ids: Sequence[str]) -> dict[str, ApplicationState]:
    """Find those of the applications that the organization has, by id."""
    rows = await pool.fetch(FIND_OWN_APPLICATIONS.text, organization, ids)
    return {row["id"]: state_of(row) for row in rows}


async def page_applications(pool: Pool, query: ApplicationPageQuery) -> list[ApplicationState]:
    """Read a page of an organization's applications, by when they were made."""
    created_at, application_id = query.after or (None, None)
    statement = PAGES[query.newest_first]
    rows = await pool.fetch(statement.text, query.organization, created_at, application_id, query.limit)
    return [state_of(row) for row in rows]


async def count_applications(pool: Pool, organization: str) -> int:
    """Count an organization's applications; costs a look at each of them."""
    return int(await pool.fetchval(COUNT_APPLICATIONS.text, organization))
