"""What callers may read: each query is authorised here, once, and scoped to the principal's organization.

What a principal may not see is absent exactly like what does not exist; only a list that it may not read is an error.
Must never take an organization from an input.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from events import log
from events.entry import RecordedEvent
from events.envelope import Actor, ActorKind, OrganizationPosition
from events.log import HistoryQuery
from events.organizations import OrganizationState
from events.scopes import covers
from events.statement import Pool
from projections.organizations import find_organization
from projections.runner import CatchUp
from projections.tokens import (
    TokenFilter,
    TokenPageQuery,
    TokenView,
    count_tokens,
    find_names,
    find_tokens,
    page_tokens,
)
from service.authorization import Principal

LONGEST_WAIT_S: Final = 5.0


class NotReachedError(Exception):
    """A position that a query was to wait for was not reached in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Reads the log and the read models for a principal."""

    pool: Pool
    catch_up: CatchUp

    async def organization(self, principal: Principal) -> OrganizationState | None:
        """Read the principal's own organization."""
        return await find_organization(self.pool, principal.organization)

    async def tokens_by_id(self, principal: Principal, ids: Sequence[str]) -> dict[str, TokenView]:
        """Read some tokens of the organization; one that may not be seen is not there."""
        if not covers(principal.scopes, "tokens:read"):
            ids = [token_id for token_id in ids if token_id == principal.actor.id]
        return await find_tokens(self.pool, principal.organization, ids)

    async def changed_token(self, principal: Principal, token_id: str) -> TokenView | None:
        """Read a token that the principal has just changed, as it stands now."""
        return (await find_tokens(self.pool, principal.organization, [token_id])).get(token_id)

    async def actor_names(self, principal: Principal, actors: Sequence[Actor]) -> dict[str, str]:
        """Find what actors are called; what is not a token of the organization's is called by its id."""
        ids = [actor.id for actor in actors if actor.kind is ActorKind.TOKEN]
        return await find_names(self.pool, principal.organization, ids) if ids else {}

    async def tokens_page(self, principal: Principal, query: TokenPageQuery) -> list[TokenView]:
        """Read a page of the organization's tokens. Raises ForbiddenError."""
        principal.require("tokens:read")
        return await page_tokens(self.pool, replace(query, organization=principal.organization))

    async def tokens_count(self, principal: Principal, token_filter: TokenFilter) -> int:
        """Count the organization's tokens that a filter lets through. Raises ForbiddenError."""
        principal.require("tokens:read")
        return await count_tokens(self.pool, principal.organization, token_filter)

    async def history(self, principal: Principal, query: HistoryQuery) -> list[RecordedEvent]:
        """Read a page of the organization's history. Raises ForbiddenError."""
        principal.require("events:read")
        return await log.read_history(self.pool, replace(query, organization=principal.organization))

    async def event(self, principal: Principal, event_id: str) -> RecordedEvent | None:
        """Read one event of the organization's history, when it may be seen."""
        if not covers(principal.scopes, "events:read"):
            return None
        return await log.read_event(self.pool, event_id, principal.organization)

    async def wait_for(self, principal: Principal, position: int) -> None:
        """Wait until the read models hold a position of the organization's history. Raises NotReachedError."""
        place = await log.find_position(self.pool, principal.organization, OrganizationPosition(position))
        if place is None:
            raise NotReachedError("the organization's history has not reached this position")
        if not await self.catch_up.wait_for("token_last_used", place, timeout_s=LONGEST_WAIT_S):
            raise NotReachedError("the read models did not reach this position in time")
