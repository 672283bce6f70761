"""The organization in the API. Must never show one organization to another's principal."""

from datetime import datetime

import strawberry

from events.organizations import OrganizationState
from service.api.context import ApiInfo
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


def shown_organization(state: OrganizationState) -> Organization:
    """Show an organization."""
    return Organization(id=strawberry.ID(state.id), name=state.name, created_at=state.created_at)
