"""The schema: the root fields, each of which reads arguments, calls a query or a command, and maps the answer.

Must never decide who may do what: that is beneath the resolvers, so that every entrance goes through it.
"""

from typing import Annotated

import strawberry
from strawberry.schema.config import StrawberryConfig

from events.identifiers import prefix_of
from projections.tokens import TokenFilter
from service.api.applications import Application, ApplicationConnection, application_of, applications_page
from service.api.context import ApiInfo
from service.api.enums import Environment, EventOrder, OrderDirection, TokenOrderField
from service.api.event_types import EVENT_TYPES, shown_event
from service.api.events import EventConnection, WhichEvents, WhichWay, events_page
from service.api.members import MemberConnection, member_of, members_page
from service.api.mutations import Mutation
from service.api.nodes import Node
from service.api.organization import Organization, shown_organization
from service.api.pages import After, Before, First, Last, page_of
from service.api.proofs import (
    FromSize,
    LogCheckpoint,
    LogConsistencyProof,
    ToSize,
    consistency_proof,
    log_checkpoint,
)
from service.api.scalars import SCALARS, position_of
from service.api.subscriptions import Subscription
from service.api.token_connection import TokenConnection, TokenFilterInput, TokenOrder, tokens_page
from service.api.tokens import Token, past_token, token_of
from service.api.verification import TokenVerification, verify_token, wanted_of
from service.api.viewer import Viewer, viewer_of

NEWEST = TokenOrder(field=TokenOrderField.CREATED_AT, direction=OrderDirection.DESC)

Id = Annotated[strawberry.ID, strawberry.argument(description="The id.")]


@strawberry.type(description="What can be read. Everything is of the caller's own organization.")
class Query:
    """What can be read."""

    @strawberry.field(description="Who is asking, and what they may do.")
    def viewer(self, info: ApiInfo) -> Viewer:
        """Show who is asking."""
        return viewer_of(info.context)

    @strawberry.field(description="The caller's organization. Needs the scope organization:read.")
    async def organization(self, info: ApiInfo) -> Organization:
        """Show the caller's organization."""
        context = info.context
        return shown_organization(await context.services.queries.organization(context.caller.principal))

    @strawberry.field(description="Anything by its id; null for what does not exist or may not be seen.")
    async def node(self, info: ApiInfo, id: Id) -> Node | None:  # noqa: A002 -- its name in the API
        """Find a node by the prefix of its id."""
        context = info.context
        match prefix_of(id):
            case "tok":
                return token_of(await context.tokens.load(id))
            case "mem":
                return member_of(await context.members.load(id))
            case "app":
                return application_of(await context.applications.load(id))
            case "evt":
                recorded = await context.services.queries.event(context.caller.principal, id)
                return None if recorded is None else shown_event(recorded)
            case "org":
                state = await context.services.queries.organization_by_id(context.caller.principal, id)
                return None if state is None else shown_organization(state)
        return None

    @strawberry.field(
        description="A token; null when there is no such. Needs the scope tokens:read. With atPosition, the token as "
        "it was when the organization's history ended there, folded from the log; null before it was issued. That "
        "needs events:read too. Its status and overlap are those of the instant when that position was recorded, "
        "lastUsedAt and useCount are what had been recorded of its use by then, and its events end there."
    )
    async def token(
        self,
        info: ApiInfo,
        id: Id,  # noqa: A002 -- its name in the API
        at_position: Annotated[
            str | None, strawberry.argument(description="A position of the organization's history; null: now.")
        ] = None,
    ) -> Token | None:
        """Find a token."""
        if at_position is None:
            return token_of(await info.context.tokens.load(id))
        position = position_of("atPosition", at_position)
        moment = await info.context.services.queries.past.moment(info.context.caller.principal, position)
        return await past_token(info, id, moment)

    @strawberry.field(
        description="The organization's tokens. Needs the scope tokens:read. "
        "minPosition waits (up to 5 s) until the view holds that position."
    )
    async def tokens(  # noqa: PLR0913 -- the arguments of a connection
        self,
        info: ApiInfo,
        *,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[TokenFilterInput | None, strawberry.argument(description="Which tokens.")] = None,  # noqa: A002
        order_by: Annotated[TokenOrder, strawberry.argument(description="In which order.")] = NEWEST,
        min_position: Annotated[str | None, strawberry.argument(description="Wait for this position.")] = None,
    ) -> TokenConnection | None:
        """Read a page of tokens."""
        page = page_of(first, after, last, before)
        if min_position is not None:
            await info.context.services.queries.wait_for(
                info.context.caller.principal, position_of("minPosition", min_position)
            )
        filtered = TokenFilter() if filter is None else filter.to_filter()
        return await tokens_page(info.context, page, order_by, filtered)

    @strawberry.field(description="The organization's members, the newest first. Needs the scope members:read.")
    async def members(
        self, info: ApiInfo, *, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> MemberConnection | None:
        """Read a page of members."""
        return await members_page(info.context, page_of(first, after, last, before))

    @strawberry.field(description="An application; null when there is no such. Needs the scope applications:read.")
    async def application(self, info: ApiInfo, id: Id) -> Application | None:  # noqa: A002 -- its name in the API
        """Find an application."""
        return application_of(await info.context.applications.load(id))

    @strawberry.field(
        description="The organization's applications, the newest first. Needs the scope applications:read."
    )
    async def applications(
        self, info: ApiInfo, *, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> ApplicationConnection | None:
        """Read a page of applications."""
        return await applications_page(info.context, page_of(first, after, last, before))

    @strawberry.field(
        description="The audit log. Newest first unless asked otherwise; OLDEST_FIRST pages forward through all of "
        "history. Needs the scope events:read."
    )
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
        """Read a page of the history."""
        return await events_page(info.context, page_of(first, after, last, before), order, filter)

    @strawberry.field(
        description="The newest signed checkpoint of the organization's history, signed now where there is more "
        "than the last one held. Needs the scope events:read."
    )
    async def log_checkpoint(self, info: ApiInfo) -> LogCheckpoint | None:
        """Show the newest checkpoint."""
        return await log_checkpoint(info.context)

    @strawberry.field(
        description="That the organization's history only grew between two sizes of its tree. Whoever kept an earlier "
        "checkpoint proves with it that nothing was changed since. Needs the scope events:read."
    )
    async def log_consistency_proof(self, info: ApiInfo, *, old: FromSize, size: ToSize) -> LogConsistencyProof | None:
        """Prove that the history only grew."""
        return await consistency_proof(info.context, old, size)

    @strawberry.field(
        description="Is this key good, whose is it, and may it do this? For services that received it. Needs the scope "
        "tokens:verify. Records the use unless dryRun. Keys of other organizations are UNKNOWN unless anyOrganization; "
        "a scope speaks only about the token's own organization, so a service of several organizations must look at "
        "organizationId."
    )
    async def verify_token(  # noqa: PLR0913 -- the arguments of the contract
        self,
        info: ApiInfo,
        *,
        secret: Annotated[str, strawberry.argument(description="The key as it was received; send it as a variable.")],
        required_scopes: Annotated[list[str], strawberry.argument(description="All of these are needed.")] = [],  # noqa: B006
        required_environment: Annotated[
            Environment | None, strawberry.argument(description="The environment it must be of.")
        ] = None,
        any_organization: Annotated[bool, strawberry.argument(description="Accept any organization's key.")] = False,
        dry_run: Annotated[bool, strawberry.argument(description="Do not count this as a use.")] = False,
    ) -> TokenVerification:
        """Verify a key."""
        wanted = wanted_of(info.context, required_scopes, required_environment, any_organization=any_organization)
        return await verify_token(info.context, secret, wanted, record=not dry_run)


def make_schema() -> strawberry.Schema:
    """Build the schema."""
    return strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=EVENT_TYPES,
        config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=True),
    )
