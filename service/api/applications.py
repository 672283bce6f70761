"""Applications in the API: the type and its connection. Must never decide who may read, nor hold a secret."""

from datetime import datetime

import strawberry

from events.applications import ApplicationState
from projections.applications import ApplicationPageQuery
from service.api.context import ApiInfo, Context
from service.api.enums import Environment, SecretPolicy
from service.api.nodes import Node
from service.api.pages import Page, PageInfo
from service.api.tokens import Token, token_of


@strawberry.type(
    description="An application: its id is public, it runs in one environment, and it has one client secret."
)
class Application(Node):
    """An application."""

    name: str = strawberry.field(description="What people call it.")
    environment: Environment = strawberry.field(description="Where it runs, for ever.")
    secret_policy: SecretPolicy = strawberry.field(description="Whether its secret is kept.")
    created_at: datetime = strawberry.field(description="When it came to be.")

    @strawberry.field(description="Its client secret, of which it shows everything but the secret. Needs tokens:read.")
    async def client_secret(self, info: ApiInfo) -> Token | None:
        """Load the client secret."""
        token_id = await info.context.client_secrets.load(str(self.id))
        return None if token_id is None else token_of(await info.context.tokens.load(token_id))


def application_of(state: ApplicationState | None) -> Application | None:
    """Show an application, if there is one."""
    return None if state is None else shown_application(state)


def shown_application(state: ApplicationState) -> Application:
    """Show an application."""
    return Application(
        id=strawberry.ID(state.id),
        name=state.name,
        environment=state.environment,
        secret_policy=state.secret_policy,
        created_at=state.created_at,
    )


@strawberry.type(description="An application's place in a connection.")
class ApplicationEdge:
    """An application's place."""

    cursor: str = strawberry.field(description="Marks the place, for `after` and `before`.")
    node: Application = strawberry.field(description="The application.")


@strawberry.type(description="A page of the organization's applications, the newest first.")
class ApplicationConnection:
    """A page of applications."""

    edges: list[ApplicationEdge] = strawberry.field(description="The applications of the page with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies.")

    @strawberry.field(description="The applications of the page.")
    def nodes(self) -> list[Application]:
        """Give the applications without their cursors."""
        return [edge.node for edge in self.edges]

    @strawberry.field(description="How many applications there are in all; counted only when selected.")
    async def total_count(self, info: ApiInfo) -> int:
        """Count the applications."""
        context = info.context
        return await context.services.queries.applications.count(context.caller.principal)


async def applications_page(context: Context, page: Page) -> ApplicationConnection:
    """Read a page of the organization's applications."""
    cursors = context.cursors
    query = ApplicationPageQuery(
        organization=context.caller.principal.organization,
        newest_first=not page.backward,
        after=None if page.cursor is None else cursors.application_place(page.cursor),
        limit=page.size + 1,
    )
    found = await context.services.queries.applications.page(context.caller.principal, query)
    shown = found[: page.size]
    if page.backward:
        shown.reverse()
    marks = [cursors.of_application(state.created_at, state.id) for state in shown]
    return ApplicationConnection(
        edges=[
            ApplicationEdge(cursor=mark, node=shown_application(state))
            for mark, state in zip(marks, shown, strict=True)
        ],
        page_info=page.info(marks, more=len(found) > page.size),
    )
