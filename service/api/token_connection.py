"""The connection of tokens in the API: pages, and what they are asked with. Must never decide who may read."""

from datetime import datetime

import strawberry

from events.names import LONGEST_NAME, text_problems
from events.scopes import problem_with
from projections.tokens import TokenFilter, TokenPageQuery, sort_value
from service.api.context import ApiInfo, Context
from service.api.enums import OrderDirection, TokenKind, TokenOrderField, TokenStatus
from service.api.errors import ApiError
from service.api.pages import Page, PageInfo
from service.api.scalars import given_fields
from service.api.tokens import Token, shown_token


@strawberry.type(description="A token's place in a connection.")
class TokenEdge:
    """A token's place."""

    cursor: str = strawberry.field(description="Marks the place, for `after` and `before` in the same order.")
    node: Token = strawberry.field(description="The token.")


@strawberry.type(description="A page of the organization's tokens.")
class TokenConnection:
    """A page of tokens."""

    filtered: strawberry.Private[TokenFilter]
    edges: list[TokenEdge] = strawberry.field(description="The tokens of the page with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies.")

    @strawberry.field(description="The tokens of the page.")
    def nodes(self) -> list[Token]:
        """Give the tokens without their cursors."""
        return [edge.node for edge in self.edges]

    @strawberry.field(description="How many tokens the filter lets through in all; counted only when selected.")
    async def total_count(self, info: ApiInfo) -> int:
        """Count the tokens."""
        context = info.context
        return await context.services.queries.tokens_count(context.caller.principal, self.filtered)


@strawberry.input(
    name="TokenFilter",
    description="Which tokens to show; all that are given must hold. From is included, before is not.",
)
class TokenFilterInput:
    """Which tokens to show."""

    kinds: list[TokenKind] | None = strawberry.field(default=strawberry.UNSET, description="Of any of these kinds.")
    statuses: list[TokenStatus] | None = strawberry.field(
        default=strawberry.UNSET, description="In any of these states."
    )
    search: str | None = strawberry.field(
        default=strawberry.UNSET, description="With this in its name or hint, in any case."
    )
    application_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Of this application."
    )
    has_scopes: list[str] | None = strawberry.field(default=strawberry.UNSET, description="With each of these scopes.")
    created_from: datetime | None = strawberry.field(default=strawberry.UNSET, description="Issued then or later.")
    created_before: datetime | None = strawberry.field(default=strawberry.UNSET, description="Issued earlier.")
    expires_from: datetime | None = strawberry.field(default=strawberry.UNSET, description="Expiring then or later.")
    expires_before: datetime | None = strawberry.field(default=strawberry.UNSET, description="Expiring earlier.")
    last_used_from: datetime | None = strawberry.field(default=strawberry.UNSET, description="Last used then or later.")
    last_used_before: datetime | None = strawberry.field(default=strawberry.UNSET, description="Last used earlier.")
    never_used: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Never used (true) or used (false)."
    )

    def to_filter(self) -> TokenFilter:
        """Read the input as the read model's filter. Raises ApiError BAD_USER_INPUT."""
        values = given_fields("filter", self)
        for name in values.keys() & {"kinds", "statuses", "has_scopes"}:
            values[name] = tuple(values[name])
        if problems := text_problems("search", values.get("search", ""), LONGEST_NAME):
            raise ApiError("BAD_USER_INPUT", f"filter.search {problems[0].message}")
        for number, scope in enumerate(values.get("has_scopes", ()), start=1):
            if problem := problem_with(scope):
                raise ApiError("BAD_USER_INPUT", f"filter.hasScopes: entry {number} is not a scope: {problem}")
        return TokenFilter(**values)


@strawberry.input(description="What tokens are ordered by, and which way.")
class TokenOrder:
    """What tokens are ordered by."""

    field: TokenOrderField = strawberry.field(description="By what.")
    direction: OrderDirection = strawberry.field(description="Which way.")

    @property
    def key(self) -> tuple[str, str]:
        """Name the order, for the cursors that are good in it."""
        return (self.field.value, self.direction.value)


async def tokens_page(context: Context, page: Page, order: TokenOrder, filtered: TokenFilter) -> TokenConnection:
    """Read a page of the organization's tokens."""
    cursors = context.cursors
    query = TokenPageQuery(
        organization=context.caller.principal.organization,
        filter=filtered,
        field=order.field,
        descending=(order.direction is OrderDirection.DESC) != page.backward,
        after=None if page.cursor is None else cursors.token_place(order.key, page.cursor),
        limit=page.size + 1,
    )
    views = await context.services.queries.tokens_page(context.caller.principal, query)
    shown = views[: page.size]
    if page.backward:
        shown.reverse()
    marks = [cursors.of_token(order.key, sort_value(view, order.field), view.state.id) for view in shown]
    return TokenConnection(
        filtered=filtered,
        edges=[TokenEdge(cursor=mark, node=shown_token(view)) for mark, view in zip(marks, shown, strict=True)],
        page_info=page.info(marks, more=len(views) > page.size),
    )
