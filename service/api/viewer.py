"""The viewer in the API: who is asking, and what they may do. Must never show one principal to another."""

from datetime import datetime
from typing import Annotated

import strawberry

from events.envelope import ActorKind
from service.api.context import ApiInfo, Context
from service.api.errors import ApiError
from service.api.members import Member, member_of
from service.api.organization import Organization, shown_organization
from service.api.tokens import Token, token_of

Principal = Annotated[Member | Token, strawberry.union("Principal", description="Who is acting.")]


@strawberry.type(description="Who is asking, and what they may do.")
class Viewer:
    """Who is asking."""

    scopes: list[str] = strawberry.field(
        description="The scopes held; none while a member's password must be changed first."
    )
    reauthenticated_until: datetime | None = strawberry.field(
        description="Until when a member's password counts as entered lately; null when it does not, and for a token."
    )
    must_change_password: bool = strawberry.field(
        description="Whether a new password must be set first: until then nothing else is allowed."
    )

    @strawberry.field(description="The member or the token that the request was made as.")
    async def principal(self, info: ApiInfo) -> Principal:
        """Load the principal itself, which it may always see."""
        actor = info.context.caller.principal.actor
        if actor.kind is ActorKind.MEMBER:
            found: Member | Token | None = member_of(await info.context.members.load(actor.id))
        else:
            found = token_of(await info.context.tokens.load(actor.id))
        if found is None:
            raise ApiError("UNAUTHENTICATED", "the principal that the request was made as is gone")
        return found

    @strawberry.field(description="The organization that the principal belongs to.")
    async def organization(self, info: ApiInfo) -> Organization:
        """Load the organization, which its own principals may always see."""
        context = info.context
        return shown_organization(await context.services.queries.own_organization(context.caller.principal))


def viewer_of(context: Context) -> Viewer:
    """Show who is asking."""
    principal = context.caller.principal
    session = principal.session
    until = None if session is None else session.reauthenticated_until
    is_fresh = until is not None and context.services.commands.clock() < until
    return Viewer(
        scopes=list(principal.scopes),
        reauthenticated_until=until if is_fresh else None,
        must_change_password=session is not None and session.must_change_password,
    )
