"""Tokens in the API: as they are, and as they were. Must never hold a secret."""

from collections.abc import Awaitable, Callable, Generator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, cast

import strawberry

from projections.tokens import TokenView, status_of
from service.api.context import ApiInfo
from service.api.enums import EventOrder, TokenKind, TokenStatus
from service.api.events import EventConnection, WhichEvents, WhichWay, Within, events_page
from service.api.nodes import Actor, Node
from service.api.pages import After, Before, First, Last, page_of
from service.time_travel import Moment, PastToken

if TYPE_CHECKING:
    from service.api.applications import Application

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

    @strawberry.field(
        description="The application that it is the client secret of, as it is now. Needs the scope applications:read."
    )
    async def application(
        self, info: ApiInfo
    ) -> Annotated["Application", strawberry.lazy("service.api.applications")] | None:
        """Load the application."""
        from service.api.applications import application_of  # noqa: PLC0415 -- each has the other

        application_id = self.view.state.application_id
        return None if application_id is None else application_of(await info.context.applications.load(application_id))

    @strawberry.field(description="Whether it signs the organization's webhooks, or did at the position asked for.")
    async def signs_webhooks(self, info: ApiInfo) -> bool:
        """Compare it with the one that signs, of which an organization has one."""
        state = self.view.state
        if state.designation is None:
            return False
        position = None if self.as_of is None else self.as_of.position
        return await info.context.signers.load(position) == state.id

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
