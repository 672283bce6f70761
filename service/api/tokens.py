"""Tokens in the API: the type, its connection, and what they are asked with. Must never hold a secret."""

from collections.abc import Awaitable, Callable, Generator
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

import strawberry

from events.names import LONGEST_NAME, text_problems
from events.scopes import problem_with
from projections.tokens import (
    TokenFilter,
    TokenPageQuery,
    TokenView,
    sort_value,
    status_of,
)
from service.api.context import ApiInfo, Context
from service.api.enums import EventOrder, OrderDirection, TokenKind, TokenOrderField, TokenStatus
from service.api.errors import ApiError
from service.api.events import EventConnection, WhichEvents, WhichWay, Within, events_page
from service.api.nodes import Actor, Node
from service.api.pages import After, Before, First, Last, Page, PageInfo, page_of
from service.api.scalars import given_fields
from service.time_travel import Moment, PastToken

Found = TypeVar("Found")


@strawberry.type(
    description="While two secrets work. newSecretUsedAt not null: the new one is in use and the overlap can be ended."
)
class RotationOverlap:
    """While two secrets work."""

    previous_hint: str = strawberry.field(description="The hint of the old secret.")
    previous_last_used_at: datetime | None = strawberry.field(description="When the old secret was used last.")
    ends_at: datetime = strawberry.field(description="When the old secret stops working.")
    new_secret_used_at: datetime | None = strawberry.field(description="When the new secret was first used.")


@strawberry.type(description="A credential that was issued. Its secret is not here: it was shown once.")
class Token(Node):
    """A credential."""

    view: strawberry.Private[TokenView]
    as_of: strawberry.Private[Moment | None] = None
    kind: TokenKind = strawberry.field(description="What the token is for.")
    name: str = strawberry.field(description="What people call it.")
    hint: str = strawberry.field(description="The first and last four characters of its secret, safe to show.")
    scopes: list[str] = strawberry.field(description="What it may do: resource:action, * for every action.")
    signs_webhooks: bool = strawberry.field(description="Whether it signs the organization's webhooks.")
    created_at: datetime = strawberry.field(description="When it was issued.")
    expires_at: datetime | None = strawberry.field(description="When it stops working by itself; null: never.")
    last_used_at: datetime | None = strawberry.field(description="When it was last used, at most a usage window ago.")
    use_count: str = strawberry.field(description="How often it was used: a 64-bit number in decimal.")
    rotated_at: datetime | None = strawberry.field(description="When it last got a new secret.")
    revoked_at: datetime | None = strawberry.field(description="When it was revoked.")
    revoked_reason: str | None = strawberry.field(description="Why it was revoked, in its revoker's words.")

    @strawberry.field(description="Whether it works now, or did at the position that was asked for.")
    async def status(self, info: ApiInfo) -> TokenStatus:
        """Compute the status, which depends on the clock and on who knows of a revocation."""
        state = self.view.state
        if self.as_of is not None:
            return status_of(state, self.as_of.at)
        is_revoking = state.revoked_at is not None and await info.context.revoking.load(state.id)
        return status_of(state, info.context.services.commands.clock(), is_revoking=is_revoking)

    @strawberry.field(description="Who issued it.")
    def created_by(self) -> Actor:
        """Give the actor who issued it."""
        return Actor(actor=self.view.state.created_by)

    @strawberry.field(description="The overlap of two secrets after a rotation, while there is one.")
    def overlap(self, info: ApiInfo) -> RotationOverlap | None:
        """Compute the overlap, which depends on the clock."""
        state, as_of = self.view.state, self.as_of
        now = info.context.services.commands.clock() if as_of is None else as_of.at
        if state.overlap_ends_at is None or not state.has_overlap(now):
            return None
        return RotationOverlap(
            previous_hint=state.previous_hint or "",
            previous_last_used_at=self.view.previous_last_used_at,
            ends_at=state.overlap_ends_at,
            new_secret_used_at=state.new_secret_used_at,
        )

    @strawberry.field(description="Its history. Needs the scope events:read.")
    async def events(  # noqa: PLR0913 -- the arguments of a connection
        self,
        info: ApiInfo,
        *,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: WhichEvents = None,  # noqa: A002 -- its name in the API
        order: WhichWay = EventOrder.NEWEST_FIRST,
    ) -> EventConnection | None:
        """Read a page of the token's history."""
        page = page_of(first, after, last, before)
        within = Within(subject=str(self.id), as_of=self.as_of)
        return await events_page(info.context, page, order, filter, within=within)


def token_of(view: TokenView | None) -> Token | None:
    """Show a token, if there is one."""
    return None if view is None else shown_token(view)


def shown_token(view: TokenView) -> Token:
    """Show a token."""
    state = view.state
    return Token(
        id=strawberry.ID(state.id),
        view=view,
        kind=state.kind,
        name=state.name,
        hint=state.hint,
        scopes=list(state.scopes),
        signs_webhooks=False,
        created_at=state.created_at,
        expires_at=state.expires_at,
        last_used_at=view.last_used_at,
        use_count=str(view.use_count),
        rotated_at=state.rotated_at,
        revoked_at=state.revoked_at,
        revoked_reason=state.revoked_reason,
    )


class WhenSelected(Generic[Found]):
    """A field's value that is found only when the field is selected: whoever executes a document awaits it."""

    def __init__(self, find: Callable[[], Awaitable[Found]]) -> None:
        self._find = find

    def __await__(self) -> Generator[Any, Any, Found]:
        """Find it."""
        return self._find().__await__()


def when_selected(find: Callable[[], Awaitable[Found]]) -> Found:
    """Put off finding a field's value; in the eyes of the type checker it is there already."""
    return cast("Found", WhenSelected(find))


async def past_token(info: ApiInfo, token_id: str, moment: Moment) -> Token | None:
    """Show a token as of a moment. Its use, which may take folding many events, is found when it is selected."""
    loaders = info.context
    state = await loaders.past_tokens.load(PastToken(token_id, moment.position))
    if state is None:
        return None

    async def view() -> TokenView:
        return await loaders.past_views.load((state, moment.position))

    async def last_used_at() -> datetime | None:
        return (await view()).last_used_at

    async def use_count() -> str:
        return str((await view()).use_count)

    async def previous_last_used_at() -> datetime | None:
        return (await view()).previous_last_used_at

    unfolded = TokenView(
        state=state,
        use_count=0,
        last_used_at=None,
        previous_last_used_at=when_selected(previous_last_used_at),
    )
    token = shown_token(unfolded)
    token.as_of = moment
    token.last_used_at, token.use_count = when_selected(last_used_at), when_selected(use_count)
    return token


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
