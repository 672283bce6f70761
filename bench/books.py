"""What is paged through: the first page of each order and the one at its end, by query and over GraphQL."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from events.log import HistoryQuery
from projections.runner import CatchUp
from projections.tokens import TokenFilter, TokenOrderField, TokenPageQuery, sort_value
from service.api.context import Context
from service.api.execution import Execution, Executor, GraphQLRequest, Way
from service.api.limits import Limits
from service.api.schema import make_schema
from service.authorization import Caller, Principal
from service.core import Core
from service.entrances import Entrances
from service.queries import Queries

SIZE: Final = 50
LOOKED_AT: Final = SIZE + 1
"""One more, to see whether there is more."""
FROM_END: Final = LOOKED_AT + 1
"""So far from the end is the row that the last full page comes after."""
EVENTS: Final = """\
query ($order: EventOrder!, $first: Int, $after: String, $last: Int) {
  page: events(order: $order, first: $first, after: $after, last: $last) {
    nodes { id position type occurredAt recordedAt subjectId payload } pageInfo { startCursor endCursor hasNextPage }
  }
}"""
TOKENS: Final = """\
query ($order: TokenOrder!, $first: Int, $after: String, $last: Int) {
  page: tokens(orderBy: $order, first: $first, after: $after, last: $last) {
    nodes { id name hint status scopes createdAt expiresAt lastUsedAt useCount }
    pageInfo { startCursor endCursor hasNextPage }
  }
}"""

ReadPage = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """How the first and the last full page are read."""

    first: ReadPage
    last: ReadPage


@dataclass(frozen=True, slots=True)
class Asked:
    """Reads pages with the queries beneath the resolvers."""

    queries: Queries

    async def events(self, principal: Principal, *, descending: bool) -> Book:
        """Page through a history."""
        first = HistoryQuery(organization=principal.organization, limit=LOOKED_AT, newest_first=descending)
        backward = replace(first, newest_first=not descending, limit=FROM_END)
        place = (await self.queries.history(principal, backward))[-1].organization_position
        last = replace(first, before=place) if descending else replace(first, after=place)
        return Book(
            first=lambda: self.queries.history(principal, first), last=lambda: self.queries.history(principal, last)
        )

    async def tokens(self, principal: Principal, field: TokenOrderField, *, descending: bool) -> Book:
        """Page through tokens."""
        first = TokenPageQuery(
            organization=principal.organization,
            filter=TokenFilter(),
            field=field,
            descending=descending,
            after=None,
            limit=LOOKED_AT,
        )
        backward = replace(first, descending=not descending, limit=FROM_END)
        view = (await self.queries.tokens_page(principal, backward))[-1]
        last = replace(first, after=(sort_value(view, field), view.state.id))
        return Book(
            first=lambda: self.queries.tokens_page(principal, first),
            last=lambda: self.queries.tokens_page(principal, last),
        )


class Graph:
    """Reads pages with GraphQL operations."""

    def __init__(self, entrances: Entrances) -> None:
        settings = entrances.core.settings
        limits = Limits(
            tokens=settings.max_document_tokens,
            depth=settings.max_depth,
            aliases=settings.max_aliases,
            cost=settings.max_cost,
        )
        self._executor = Executor(make_schema(), limits)
        self._services = entrances.services

    async def book(self, principal: Principal, document: str, order: object) -> Book:
        """Page through what a document asks for, in one order."""
        end = await self.ask(principal, document, {"order": order, "last": FROM_END})
        after = (end.data or {})["page"]["pageInfo"]["startCursor"]
        first: dict[str, object] = {"order": order, "first": SIZE}
        last = first | {"after": after}
        return Book(
            first=lambda: self.ask(principal, document, first), last=lambda: self.ask(principal, document, last)
        )

    async def ask(self, principal: Principal, document: str, variables: dict[str, object]) -> Execution:
        """Run an operation. Raises SystemExit when it has errors."""
        execution = await self._executor.execute(
            GraphQLRequest(query=document, variables=variables),
            context=Context(caller=Caller(principal=principal), services=self._services),
            request_id="bench",
            way=Way.GET,
        )
        if execution.errors:
            raise SystemExit(f"a page was not read: {execution.errors}")
        return execution


def asked_of(core: Core) -> Asked:
    """Read pages with a core's connections."""
    return Asked(Queries(pool=core.pool, catch_up=CatchUp(core.pool)))
