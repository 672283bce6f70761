"""The running service's `/graphql` with a schema of its own: what changes a session, and hardly anything else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import strawberry
from aiohttp import web
from aiohttp.test_utils import TestServer
from strawberry.types import Info

from events.refusals import Refused
from service.api.context import Context
from service.api.execution import Executor
from service.api.limits import Limits
from service.member_commands import Entered
from service.secret_text import SecretText
from service.streams import Streams
from service.web.graphql import GraphQLEndpoint, routes
from service.web.origins import Origin
from service.web.streaming import Streaming
from tests.api.conftest import Service

DoorInfo = Info[Context, None]


@strawberry.type
class Viewer:
    """Who acts."""

    @strawberry.field
    def id(self, info: DoorInfo) -> str:
        """Name the actor."""
        return info.context.caller.principal.actor.id

    @strawberry.field
    async def organization(self, info: DoorInfo) -> str:
        """Read something as the caller."""
        found = await info.context.services.queries.organization(info.context.caller.principal)
        return found.name


@strawberry.input
class SignInInput:
    """Who wants to sign in."""

    email: str
    password: str


@strawberry.type
class Payload:
    """The caller, if there is one now."""

    viewer: Viewer | None


@strawberry.type
class Query:
    """What callers may ask."""

    @strawberry.field
    def viewer(self) -> Viewer:
        """Show the caller."""
        return Viewer()


@strawberry.type
class Mutation:
    """What changes a session."""

    @strawberry.mutation
    async def sign_in(self, info: DoorInfo, input: SignInInput) -> Payload:  # noqa: A002 -- its name in the API
        """Sign in."""
        visitor = info.context.visitor
        entered = await info.context.services.members.sign_in(
            input.email, SecretText(input.password), address=visitor.address, request_id=visitor.request_id
        )
        return _begun(info.context, entered)

    @strawberry.mutation
    async def reauthenticate(self, info: DoorInfo, password: str) -> Payload:
        """Enter the password again."""
        context = info.context
        return _begun(context, await context.services.members.reauthenticate(context.caller, SecretText(password)))

    @strawberry.mutation
    async def sign_out(self, info: DoorInfo) -> bool:
        """Sign out."""
        await info.context.services.members.sign_out(info.context.caller)
        info.context.end_session()
        return True


@strawberry.type
class Subscription:
    """What goes on: nothing."""

    @strawberry.subscription
    async def nothing(self) -> AsyncIterator[int]:
        """Never begin."""
        yield 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A second `/graphql` of the running service."""

    url: str
    executor: Executor


@asynccontextmanager
async def door(service: Service, *, public: Origin | None = None) -> AsyncIterator[Door]:
    """Serve the schema above to the running service's members, behind a public origin or not."""
    entrances = service.entrances
    cookies = replace(entrances.cookies, public=public)
    entrances = replace(entrances, cookies=cookies)
    executor = Executor(strawberry.Schema(Query, Mutation, Subscription), Limits())
    streams = Streams(executor, entrances.services, pool=entrances.core.pool, tail=entrances.verifying.tail)
    streaming = Streaming(
        open_session=entrances.open_session,
        check_upgrade=cookies.check_upgrade,
        streams=streams,
        executor=executor,
        requests=entrances.requests,
    )
    endpoint = GraphQLEndpoint(
        executor=executor,
        authenticate=entrances.authenticate,
        confirm=entrances.confirm,
        make_context=entrances.context,
        cookie=cookies.written,
        streaming=streaming,
    )
    app = web.Application()
    app.add_routes(routes(endpoint))
    async with TestServer(app) as server:
        yield Door(url=str(server.make_url("")).rstrip("/"), executor=executor)


def _begun(context: Context, entered: Entered | Refused) -> Payload:
    if isinstance(entered, Refused):
        return Payload(viewer=None)
    context.begin_session(entered.credential.principal, entered.cookie)
    return Payload(viewer=Viewer())
