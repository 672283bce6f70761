"""What callers may read: each query is authorised here, once, and scoped to the principal's organization.

What a principal may not see is absent exactly like what does not exist; only a list that it may not read is an error.
Must never take an organization from an input.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from events import archive, log
from events.entry import RecordedEvent
from events.envelope import Actor, ActorKind, OrganizationPosition
from events.identifiers import prefix_of
from events.log import HistoryQuery
from events.organizations import OrganizationState
from events.registry import TYPES
from events.scopes import covers
from events.statement import Pool
from projections.organizations import find_organization
from projections.runner import CatchUp
from projections.tokens import (
    TokenFilter,
    TokenPageQuery,
    TokenStatus,
    TokenView,
    count_tokens,
    find_names,
    find_signer,
    find_tokens,
    page_tokens,
)
from service.application_queries import ApplicationQueries
from service.authorization import Principal
from service.enforcement import find_all_revoking, find_revoking
from service.member_queries import MemberQueries
from service.time_travel import TimeTravel

LONGEST_WAIT_S: Final = 5.0
POLL_S: Final = 0.1


class NotReachedError(Exception):
    """A position that a query was to wait for was not reached in time."""


class ArchivedEventError(Exception):
    """An event of the organization's, a use, is no longer in the log but in a file of the operator's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Reads the log and the read models for a principal."""

    pool: Pool
    catch_up: CatchUp
    longest_wait_s: float = LONGEST_WAIT_S

    @property
    def past(self) -> TimeTravel:
        """Read what was."""
        return TimeTravel(pool=self.pool)

    @property
    def applications(self) -> ApplicationQueries:
        """Read applications."""
        return ApplicationQueries(pool=self.pool)

    @property
    def members(self) -> MemberQueries:
        """Read members."""
        return MemberQueries(pool=self.pool)

    async def signer(self, principal: Principal) -> str | None:
        """Name the token that signs the webhooks of the principal's organization."""
        signer = await find_signer(self.pool, principal.organization)
        return None if signer is None else signer.id

    async def organization(self, principal: Principal) -> OrganizationState:
        """Read the principal's organization. Raises ForbiddenError."""
        principal.require("organization:read")
        return await self.own_organization(principal)

    async def own_organization(self, principal: Principal) -> OrganizationState:
        """Read what the principal belongs to, which it may always see."""
        state = await find_organization(self.pool, principal.organization)
        if state is None:
            raise LookupError("the organization of a principal has no row")
        return state

    async def organization_by_id(self, principal: Principal, organization: str) -> OrganizationState | None:
        """Read an organization: the principal's own, when it may be seen."""
        if organization != principal.organization or not covers(principal.scopes, "organization:read"):
            return None
        return await self.own_organization(principal)

    async def tokens_by_id(self, principal: Principal, ids: Sequence[str]) -> dict[str, TokenView]:
        """Read some tokens of the organization; one that may not be seen is not there."""
        if not covers(principal.scopes, "tokens:read"):
            ids = [token_id for token_id in ids if token_id == principal.actor.id]
        return await find_tokens(self.pool, principal.organization, well_formed(ids))

    async def changed_token(self, principal: Principal, token_id: str) -> TokenView | None:
        """Read a token that the principal has just changed, as it stands now."""
        return (await find_tokens(self.pool, principal.organization, [token_id])).get(token_id)

    async def actor_names(self, principal: Principal, actors: Sequence[Actor]) -> dict[str, str]:
        """Find what actors are called; who is no token or member of the organization's has none but its id."""
        tokens = [actor.id for actor in actors if actor.kind is ActorKind.TOKEN]
        if not any(covers(principal.scopes, scope) for scope in ("tokens:read", "events:read")):
            tokens = [token_id for token_id in tokens if token_id == principal.actor.id]
        members = [actor.id for actor in actors if actor.kind is ActorKind.MEMBER]
        names = await find_names(self.pool, principal.organization, tokens) if tokens else {}
        return names | (await self.members.names(principal, members) if members else {})

    async def tokens_page(self, principal: Principal, query: TokenPageQuery) -> list[TokenView]:
        """Read a page of the organization's tokens. Raises ForbiddenError."""
        principal.require("tokens:read")
        query = replace(query, organization=principal.organization, filter=await self._filter(query.filter))
        return await page_tokens(self.pool, query)

    async def tokens_count(self, principal: Principal, token_filter: TokenFilter) -> int:
        """Count the organization's tokens that a filter lets through. Raises ForbiddenError."""
        principal.require("tokens:read")
        return await count_tokens(self.pool, principal.organization, await self._filter(token_filter))

    async def _filter(self, given: TokenFilter) -> TokenFilter:
        """Add to a filter what it needs to tell tokens that are being revoked from those that are revoked."""
        if given.statuses is None or not {TokenStatus.REVOKING, TokenStatus.REVOKED} & set(given.statuses):
            return possible(given)
        return replace(possible(given), revoking=await find_all_revoking(self.pool))

    async def revoking(self, tokens: Sequence[str]) -> frozenset[str]:
        """Find those of some tokens that may be seen whose last restriction is not known to every process yet."""
        return await find_revoking(self.pool, tokens)

    async def history(self, principal: Principal, query: HistoryQuery) -> list[RecordedEvent]:
        """Read a page of the organization's history. Raises ForbiddenError."""
        return await log.read_history(self.pool, self.of_history(principal, query))

    def of_history(self, principal: Principal, query: HistoryQuery) -> HistoryQuery:
        """Scope what is to be read of a history to the principal's organization. Raises ForbiddenError."""
        principal.require("events:read")
        return replace(
            query,
            organization=principal.organization,
            types=None if query.types is None else tuple(name for name in query.types if name in TYPES),
            subjects=None if query.subjects is None else well_formed(query.subjects),
            actors=None if query.actors is None else tuple(name for name in query.actors if "\0" not in name),
        )

    async def event(self, principal: Principal, event_id: str) -> RecordedEvent | None:
        """Read one event of the organization's history, when it may be seen. Raises ArchivedEventError."""
        if not covers(principal.scopes, "events:read"):
            return None
        found = await log.read_event(self.pool, event_id, principal.organization)
        if found is None and await self._was_archived(event_id, principal.organization):
            raise ArchivedEventError("this event was archived: ask the operator for the file that holds it")
        return found

    async def _was_archived(self, event_id: str, organization: str) -> bool:
        """Say whether there was such an event of the organization: the index of events does not know whose it was."""
        subject = await archive.find_archived_event(self.pool, event_id)
        return subject is not None and (
            subject == organization or subject in await find_names(self.pool, organization, [subject])
        )

    async def archived_usage(self, principal: Principal) -> OrganizationPosition:
        """Read up to where the usage in the organization's history was archived, 0 where none was."""
        principal.require("events:read")
        return await archive.archived_usage(self.pool, principal.organization)

    async def wait_for(self, principal: Principal, position: int) -> None:
        """Wait until the tokens hold a position of the history. Raises ForbiddenError or NotReachedError."""
        principal.require("tokens:read")
        try:
            async with asyncio.timeout(self.longest_wait_s):
                while not await self._holds(  # noqa: ASYNC110 -- another process may append it
                    principal.organization, OrganizationPosition(position)
                ):
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise NotReachedError("this position was not reached in time: ask again") from None

    async def _holds(self, organization: str, position: OrganizationPosition) -> bool:
        place = await log.find_position(self.pool, organization, position)
        if place is None:
            return False
        return await self.catch_up.wait_for("token_last_used", place, timeout_s=self.longest_wait_s)


def well_formed(ids: Sequence[str]) -> tuple[str, ...]:
    """Leave out what cannot be an id, and so not that of anything."""
    return tuple(identifier for identifier in ids if prefix_of(identifier) is not None)


def possible(token_filter: TokenFilter) -> TokenFilter:
    """Ask for no application at all where the one asked for cannot be an id."""
    application_id = token_filter.application_id
    if application_id is None or prefix_of(application_id) is not None:
        return token_filter
    return replace(token_filter, application_id="")
