"""A real service a worker, on a real port and its own PostgreSQL; each test makes its own organizations and tokens."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeVar

import asyncpg
import orjson
import pytest
import pytest_asyncio
import structlog
from aiohttp import ClientSession

from events.applications import CreateApplication, Environment, SecretPolicy
from events.refusals import Refused
from events.statement import Connection
from events.token_kinds import TokenKind
from events.tokens import CreateToken
from service import embedded_postgres
from service.app import serving
from service.authorization import operator
from service.entrances import Entrances
from service.secret_format import generate
from service.settings import load
from tests.costs import CHEAP
from tests.places import short_directory

PATIENCE_S: Final = 10.0
ACCEPT: Final = {"Accept": "application/graphql-response+json"}
numbers = count(1)

Found = TypeVar("Found")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Json:
        """The body as JSON."""
        body: Json = orjson.loads(self.text)
        return body

    @property
    def data(self) -> Json:
        """The data of an answer without errors."""
        assert "errors" not in self.body, self.text
        data: Json = self.body["data"]
        return data

    @property
    def codes(self) -> list[str]:
        """The codes of the top-level errors."""
        return [error["extensions"]["code"] for error in self.body.get("errors", [])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token and its secret."""

    id: str
    key: str
    organization: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedApplication:
    """An application and its client secret."""

    id: str
    token_id: str
    key: str
    organization: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The running service, its client, and its database as the owner sees it."""

    entrances: Entrances
    url: str
    session: ClientSession
    owner_dsn: str

    async def organization(self) -> str:
        """Make an organization."""
        made = await self.entrances.core.organizations.create(f"organization {next(numbers)}")
        assert isinstance(made, str)
        return made

    async def token(
        self,
        *scopes: str,
        organization: str | None = None,
        name: str = "a token",
        kind: TokenKind = TokenKind.API_TOKEN,
    ) -> Issued:
        """Issue a token with these scopes, in an organization of its own unless one is given."""
        organization = organization or await self.organization()
        command = CreateToken(token_id="", kind=kind, name=name, hint="", scopes=scopes)
        done = await self.entrances.core.commands.create(operator(organization), command)
        assert not isinstance(done, Refused)
        assert done.secret is not None
        return Issued(id=done.token_id, key=done.secret.reveal(), organization=organization)

    async def application(
        self,
        *scopes: str,
        organization: str | None = None,
        name: str = "an application",
        environment: Environment = Environment.PRODUCTION,
        secret_policy: SecretPolicy = SecretPolicy.SHOW_ONCE,
    ) -> IssuedApplication:
        """Make an application, in an organization of its own unless one is given."""
        organization = organization or await self.organization()
        command = CreateApplication(
            application_id="",
            name=name,
            environment=environment,
            secret_policy=secret_policy,
            token_id="",
            hint="",
            scopes=scopes,
        )
        done = await self.entrances.services.applications.create(operator(organization), command)
        assert not isinstance(done, Refused)
        assert done.secret is not None
        assert done.application_id is not None
        return IssuedApplication(
            id=done.application_id, token_id=done.token_id, key=done.secret.reveal(), organization=organization
        )

    async def gql(self, key: str, query: str, variables: Mapping[str, object] | None = None) -> Answer:
        """Post a document with a key."""
        return await self.request(
            "POST", "/graphql", json={"query": query, "variables": variables}, headers={"X-API-Key": key, **ACCEPT}
        )

    async def verify(self, key: str, query: str = "") -> int:
        """Ask `/verify` about a key and return the status."""
        return (await self.request("GET", f"/verify{query}", headers={"X-API-Key": key})).status

    async def request(self, method: str, path: str, **arguments: Any) -> Answer:  # noqa: ANN401 -- aiohttp's own
        """Send any request."""
        async with self.session.request(method, self.url + path, **arguments) as answer:
            return Answer(status=answer.status, headers=answer.headers, text=await answer.text())

    async def sql(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a statement as the owner of the database."""
        async with self.owner() as connection:
            return await connection.fetch(query, *arguments)

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[Connection]:
        """Connect as the owner of the database."""
        connection = await asyncpg.connect(self.owner_dsn)
        try:
            yield connection
        finally:
            await connection.close()

    async def decided(self, *organizations: str) -> list[tuple[str, str]]:
        """List all that was decided in these organizations: the log without the uses, which every request makes."""
        statement = "select type, subject from events where organization = any ($1) and not is_usage order by position"
        return [(row["type"], row["subject"]) for row in await self.sql(statement, list(organizations))]


def unknown_key() -> str:
    """Make a key that is well-formed and was never issued."""
    return generate("entri_", os.urandom).reveal()


async def eventually(probe: Callable[[], Awaitable[Found | None]]) -> Found:
    """Ask until there is an answer."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not (found := await probe()):
        assert time.monotonic() < give_up_at, "it did not come to pass"
        await asyncio.sleep(0.01)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running() -> AsyncIterator[Service]:
    """Run a service: uses are written at once, commands need not reach the disk, passwords are cheap to hash."""
    with short_directory() as data_dir:
        postgres = await asyncio.to_thread(embedded_postgres.start, data_dir)
        try:
            connection = await asyncpg.connect(postgres.owner_dsn)
            await connection.execute("alter database entri set synchronous_commit = off")
            await connection.close()
            settings = load({}, {"data_dir": str(data_dir), "port": "0", "usage_window_s": "0", "drain_s": "1"})
            async with serving(settings) as (entrances, url, _), ClientSession() as session:
                entrances.services.members.passwords._hashing._cost = CHEAP
                yield Service(entrances=entrances, url=url, session=session, owner_dsn=postgres.owner_dsn)
        finally:
            await asyncio.to_thread(postgres.release)


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    """Give the running service, and check that nothing broke in it during the test."""
    with structlog.testing.capture_logs() as lines:
        yield running
    assert [line for line in lines if line["log_level"] in {"error", "critical"}] == []
