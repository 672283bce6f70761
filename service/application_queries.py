"""What callers may read of applications: each query is authorised here, once, and scoped to their organization.

What a principal may not see is absent exactly like what does not exist; only a list that it may not read is an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from events.applications import ApplicationState
from events.identifiers import prefix_of
from events.scopes import covers
from events.statement import Pool
from projections.applications import (
    ApplicationPageQuery,
    count_applications,
    find_applications,
    page_applications,
)
from projections.tokens import find_client_secrets
from service.authorization import Principal

NEEDED: Final = "applications:read"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationQueries:
    """Reads the applications of a principal's organization."""

    pool: Pool

    async def by_id(self, principal: Principal, ids: Sequence[str]) -> dict[str, ApplicationState]:
        """Read some applications; one that may not be seen is not there."""
        if not covers(principal.scopes, NEEDED):
            return {}
        known = [application_id for application_id in ids if prefix_of(application_id) == "app"]
        return await find_applications(self.pool, principal.organization, known) if known else {}

    async def changed(self, principal: Principal, application_id: str) -> ApplicationState | None:
        """Read an application that the principal has just made or changed, as it stands now."""
        return (await find_applications(self.pool, principal.organization, [application_id])).get(application_id)

    async def client_secrets(self, principal: Principal, applications: Sequence[str]) -> dict[str, str]:
        """Find the client secrets of applications that the principal was shown, by application."""
        return await find_client_secrets(self.pool, principal.organization, applications)

    async def page(self, principal: Principal, query: ApplicationPageQuery) -> list[ApplicationState]:
        """Read a page of the organization's applications. Raises ForbiddenError."""
        principal.require(NEEDED)
        return await page_applications(self.pool, replace(query, organization=principal.organization))

    async def count(self, principal: Principal) -> int:
        """Count the organization's applications. Raises ForbiddenError."""
        principal.require(NEEDED)
        return await count_applications(self.pool, principal.organization)
