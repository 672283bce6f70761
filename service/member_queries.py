"""What callers may read of members: each query is authorised here, once, and scoped to the principal's organization.

Who lacks the scope members:read sees itself alone. Must never show who was removed, but for what they are called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from events.identifiers import prefix_of
from events.members import MemberRole
from events.scopes import covers
from events.statement import Pool, load
from service.authorization import Principal
from service.people import find_people

FIND_CURRENT_MEMBERS: Final = load("service.statements", "find_current_members")
COUNT_MEMBERS: Final = load("service.statements", "count_members")
PAGES: Final = {
    False: load("service.statements", "page_members_ascending"),
    True: load("service.statements", "page_members_descending"),
}
"""By whether the newest come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """A member and the person that it is."""

    id: str
    role: MemberRole
    created_at: datetime
    email: str
    name: str
    last_signed_in_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPageQuery:
    """Which page to read. To page backward, flip `descending` and reverse what comes."""

    descending: bool
    after: tuple[datetime, str] | None
    """When the member that the page comes after was added, and its id; None for the first page."""
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberQueries:
    """Reads members for a principal."""

    pool: Pool

    async def by_id(self, principal: Principal, ids: Sequence[str]) -> dict[str, MemberView]:
        """Find some members of the organization; one that may not be seen is not there."""
        return await self._find(principal.organization, visible(principal, ids, "members:read"))

    async def changed(self, principal: Principal, member_id: str) -> MemberView | None:
        """Read a member that the principal has just changed, as it stands now."""
        return (await self._find(principal.organization, [member_id])).get(member_id)

    async def page(self, principal: Principal, query: MemberPageQuery) -> list[MemberView]:
        """Read a page of the organization's members. Raises ForbiddenError."""
        principal.require("members:read")
        created_at, member_id = query.after or (None, None)
        arguments = (principal.organization, created_at, member_id, query.limit)
        return [view_of(row) for row in await self.pool.fetch(PAGES[query.descending].text, *arguments)]

    async def count(self, principal: Principal) -> int:
        """Count the organization's members. Raises ForbiddenError."""
        principal.require("members:read")
        return int(await self.pool.fetchval(COUNT_MEMBERS.text, principal.organization))

    async def names(self, principal: Principal, ids: Sequence[str]) -> dict[str, str]:
        """Find what members are called, or were before they were removed; who was forgotten is not there."""
        ids = visible(principal, ids, "members:read", "events:read")
        people = await find_people(self.pool, principal.organization, ids) if ids else {}
        return {member_id: person.name for member_id, person in people.items()}

    async def _find(self, organization: str, ids: Sequence[str]) -> dict[str, MemberView]:
        if not ids:
            return {}
        rows = await self.pool.fetch(FIND_CURRENT_MEMBERS.text, organization, ids)
        return {row["id"]: view_of(row) for row in rows}


def visible(principal: Principal, ids: Sequence[str], *scopes: str) -> list[str]:
    """Leave out what cannot be a member, and all but itself where none of the scopes is held."""
    sees_all = any(covers(principal.scopes, scope) for scope in scopes)
    return [one for one in ids if prefix_of(one) == "mem" and (sees_all or one == principal.actor.id)]


def view_of(row: asyncpg.Record) -> MemberView:
    """Read a member from a joined row."""
    return MemberView(
        id=row["id"],
        role=MemberRole(row["role"]),
        created_at=row["created_at"],
        email=row["email"],
        name=row["name"],
        last_signed_in_at=row["last_signed_in_at"],
    )
