"""The organization and the viewer in the API. Must never show one organization to another's principal."""

from datetime import datetime
from typing import Annotated

import strawberry

from events.envelope import ActorKind
from events.organizations import OrganizationState
from service.api.context import ApiInfo, Context
from service.api.errors import ApiError
from service.api.nodes import Node
from service.api.tokens import Token, token_of


@strawberry.type(description="The tenant: everything belongs to exactly one.")
class Organization(Node):
    """The tenant."""

    name: str = strawberry.field(description="What it is called.")
    created_at: datetime = strawberry.field(description="When it came to be.")

    @strawberry.field(description="The API secret that signs its webhooks, when it has one. Needs tokens:read.")
    async def webhook_signer(self, info: ApiInfo) -> Token | None:
        """Load the token that signs."""
        token_id = await info.context.signers.load(None)
        return None if token_id is None else token_of(await info.context.tokens.load(token_id))


Principal = Annotated[Token, strawberry.union("Principal", description="Who is acting.")]


@strawberry.type(description="Who is asking, and what they may do.")
class Viewer:
    """Who is asking."""

    scopes: list[str] = strawberry.field(description="The scopes held.")
    reauthenticated_until: datetime | None = strawberry.field(
        description="Until when a password entered lately counts; null for a token."
    )
    must_change_password: bool = strawberry.field(description="Whether a new password must be set first.")

    @strawberry.field(description="The token that the request was made with.")
    async def principal(self, info: ApiInfo) -> Principal:
        """Load the principal itself, which it may always see."""
        actor = info.context.caller.principal.actor
        token = token_of(await info.context.tokens.load(actor.id)) if actor.kind is ActorKind.TOKEN else None
        if token is None:
            raise ApiError("UNAUTHENTICATED", "the token that the request was made with is gone")
        return token

    @strawberry.field(description="The organization that the principal belongs to.")
    async def organization(self, info: ApiInfo) -> Organization:
        """Load the organization, which its own principals may always see."""
        context = info.context
        return shown_organization(await context.services.queries.own_organization(context.caller.principal))


def viewer_of(context: Context) -> Viewer:
    """Show who is asking."""
    return Viewer(scopes=list(context.caller.principal.scopes), reauthenticated_until=None, must_change_password=False)


def shown_organization(state: OrganizationState) -> Organization:
    """Show an organization."""
    return Organization(id=strawberry.ID(state.id), name=state.name, created_at=state.created_at)
