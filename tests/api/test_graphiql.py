"""The explorer page: confined to its own origin, and served only where it is enabled and asked for."""

from collections.abc import AsyncIterator

import pytest
import strawberry
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from service.api.execution import Executor
from service.api.limits import Limits
from service.web.credentials import presented_key
from service.web.graphql import GraphQLEndpoint, routes

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

Client = TestClient[web.Request, web.Application]


@strawberry.type
class Query:
    """One field."""

    @strawberry.field
    def ping(self) -> bool:
        """Answer."""
        return True


async def authenticate(request: web.Request) -> str:
    """Take any key."""
    return presented_key(request.headers)


@pytest.fixture
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """Give a client of a server with the explorer on, or off if the test says so."""
    explorer = getattr(request, "param", True)
    executor = Executor(strawberry.Schema(Query), Limits())
    app = web.Application()
    app.add_routes(routes(GraphQLEndpoint(executor, authenticate, lambda *_: None, authenticate, explorer=explorer)))
    async with TestClient(TestServer(app)) as connected:
        yield connected


async def test_the_explorer_loads_nothing_from_elsewhere(client: Client) -> None:
    """The page names no other host, keeps nothing, and its policy allows its own two blocks and this origin only."""
    async with client.get("/graphql", headers=BROWSER) as answer:
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Request-Id"]
    assert "<title>GraphQL explorer</title>" in page
    for absent in ("://", " src=", "href=", "@import", "Storage", "cookie =", "style=", " onclick="):
        assert absent not in page
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy


async def test_a_query_in_the_url_is_not_for_the_explorer(client: Client) -> None:
    """A browser that follows a link with a query is asked for a credential."""
    async with client.get("/graphql?query={ping}", headers=BROWSER) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("client", [False], indirect=True)
async def test_the_explorer_is_off_unless_enabled(client: Client) -> None:
    """Without the setting a browser is asked for a credential like everybody else."""
    async with client.get("/graphql", headers=BROWSER) as answer:
        assert answer.status == 401
