"""A real PostgreSQL for the tests that need one: a server a session, a database cloned from a template a test."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import asyncpg
import pytest

from events.applications import ApplicationEvent, ApplicationState, evolve_application, stream_of_application
from events.batch import Append, Appended, Outcome
from events.entry import NewEvent, new_event
from events.envelope import Actor, ActorKind, Circumstances, StreamId, Version
from events.members import (
    DecidedEvent,
    MemberState,
    ObservedEvent,
    evolve_member,
    stream_of_members,
    stream_of_sign_ins,
)
from events.migrate import migrate
from events.organizations import OrganizationCreated, OrganizationState
from events.organizations import evolve as evolve_organization
from events.organizations import stream_of as organization_stream
from events.registry import Event
from events.statement import Connection, DriverPool
from events.token_kinds import stream_of_api_token
from events.tokens import TokenEvent, TokenState
from events.tokens import evolve as evolve_token
from events.usage import TokenUsed
from events.usage import stream_of as usage_stream
from events.writer import LogWriter
from projections.applications import row_json as application_row
from projections.members import row_json as member_row
from projections.organizations import row_json as organization_row
from projections.tokens import row_json as token_row
from service import embedded_postgres
from tests.places import short_directory

LAYERS = ("events.migrations", "projections.migrations", "service.migrations")
MEMBER = Actor(kind=ActorKind.MEMBER, id="mem_01jd0000000000000000000000")
START = datetime(2026, 1, 1, tzinfo=UTC)
numbers = count(1)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and whom to connect as; `{}` is the database."""

    superuser_dsn: str
    owner_dsn: str
    service_dsn: str


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated database of a test's own."""

    owner_dsn: str
    service_dsn: str

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[Connection]:
        """Connect as the owner of the schema."""
        connection = await asyncpg.connect(self.owner_dsn)
        try:
            yield connection
        finally:
            await connection.close()

    async def connect(self, **session: str) -> Connection:
        """Connect as the service's role, with settings of the session."""
        return await asyncpg.connect(self.service_dsn, server_settings=session)

    @asynccontextmanager
    async def pool(self, *, size: int = 4) -> AsyncIterator[DriverPool]:
        """Open a pool as the service does."""
        async with asyncpg.create_pool(self.service_dsn, min_size=1, max_size=size) as pool:
            yield pool

    @asynccontextmanager
    async def history(self) -> AsyncIterator["History"]:
        """Open the log for appending, as the service does."""
        async with LogWriter(lambda: asyncpg.connect(self.service_dsn), partition_size=10_000) as writer:
            yield History(writer)


class History:
    """Appends events with their companion rows, as commands would."""

    def __init__(self, writer: LogWriter) -> None:
        self.writer = writer
        self.tokens: dict[str, TokenState] = {}
        self.applications: dict[str, ApplicationState] = {}
        self.members: dict[str, MemberState] = {}
        self.versions: dict[str, int] = {}
        self._now = START

    def now(self) -> datetime:
        """Let a minute pass."""
        self._now += timedelta(minutes=1)
        return self._now

    async def organization(self, organization: str) -> OrganizationState:
        """Append that an organization was created."""
        event, at = OrganizationCreated(organization_id=organization, name=organization), self.now()
        state = evolve_organization(None, event, at=at)
        stream = organization_stream(organization)
        new = recorded(event, Circumstances(organization=organization, actor=MEMBER, at=at), (stream, Version(1)))
        rows = {"organizations": [organization_row(state)]}
        await self.writer.append(Append(events=(new,), expected=(stream, Version(0)), companions=rows))
        return state

    async def token(self, event: TokenEvent, *, organization: str = "org_1", acting: str | None = None) -> Outcome:
        """Append what happened to a token, at the version that its stream is at."""
        state, at = self.tokens.get(event.token_id), self.now()
        after = evolve_token(state, event, organization=organization, actor=MEMBER, at=at)
        stream = stream_of_api_token(after.id)
        version = self.versions.get(stream, 0)
        new = recorded(
            event, Circumstances(organization=organization, actor=MEMBER, at=at), (stream, Version(version + 1))
        )
        append = Append(
            events=(new,),
            expected=(stream, Version(version)),
            acting=acting,
            companions={"tokens": [token_row(after)]},
        )
        outcome = await self.writer.append(append)
        if isinstance(outcome, Appended):
            self.tokens[after.id], self.versions[stream] = after, version + 1
        return outcome

    async def application(self, event: ApplicationEvent, *, organization: str = "org_1") -> None:
        """Append what happened to an application, at the version that its stream is at."""
        at, before = self.now(), self.applications.get(event.application_id)
        after = evolve_application(before, event, organization=organization, at=at)
        rows = {"applications": [application_row(after)]}
        await self._decided(event, stream_of_application(after.id), rows, organization=organization, at=at)
        self.applications[after.id] = after

    async def member(self, event: DecidedEvent | ObservedEvent, *, organization: str = "org_1") -> None:
        """Append what happened to a member, or what was seen of one."""
        at = self.now()
        if isinstance(event, ObservedEvent):
            placed = (stream_of_sign_ins(event.member_id), None)
            new = recorded(event, Circumstances(organization=organization, actor=MEMBER, at=at), placed)
            await self.writer.append(Append(events=(new,), expected=None))
            return
        after = evolve_member(self.members.get(event.member_id), event, organization=organization, actor=MEMBER, at=at)
        rows = {"members": [member_row(after)]}
        await self._decided(event, stream_of_members(organization), rows, organization=organization, at=at)
        self.members[after.id] = after

    async def _decided(
        self,
        event: Event,
        stream: StreamId,
        rows: Mapping[str, Sequence[Mapping[str, object]]],
        *,
        organization: str,
        at: datetime,
    ) -> None:
        version = self.versions.get(stream, 0)
        circumstances = Circumstances(organization=organization, actor=MEMBER, at=at)
        new = recorded(event, circumstances, (stream, Version(version + 1)))
        outcome = await self.writer.append(Append(events=(new,), expected=(stream, Version(version)), companions=rows))
        assert isinstance(outcome, Appended)
        self.versions[stream] = version + 1

    async def used(self, event: TokenUsed, *, organization: str = "org_1") -> Outcome:
        """Append that a token was used."""
        new = recorded(
            event, Circumstances(organization=organization, actor=MEMBER, at=self.now()), (usage_stream(event), None)
        )
        return await self.writer.append(Append(events=(new,), expected=None))


def recorded(event: Event, circumstances: Circumstances, placed: tuple[StreamId, Version | None]) -> NewEvent:
    """Write an event's entry under an id of its own."""
    number = next(numbers)
    return new_event(event, circumstances, event_id=f"evt_{number:026d}", placed=placed, random_bytes=bytes)


async def as_superuser(server: Server, statements: Sequence[str]) -> None:
    """Run statements that only the server's superuser may, each on its own."""
    connection = await asyncpg.connect(server.superuser_dsn.format("postgres"))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Run a server of this session's own."""
    with short_directory() as directory:
        running = embedded_postgres.start(directory)
        owner = running.owner_dsn.replace("@/entri?", "@/{}?")
        try:
            yield Server(
                superuser_dsn=owner.replace("entri_owner", "postgres"),
                owner_dsn=owner,
                service_dsn=running.service_dsn.replace("@/entri?", "@/{}?"),
            )
        finally:
            running.release()


async def migrated(server: Server) -> str:
    """Make the database that the others are cloned from; commits need not reach the disk."""
    await as_superuser(server, ("create database template_0 owner entri_owner",))
    await as_superuser(server, ("alter database template_0 set synchronous_commit = off",))
    connection = await asyncpg.connect(server.owner_dsn.format("template_0"))
    await migrate(connection, LAYERS)
    await connection.close()
    return "template_0"


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """Migrate one database that the tests' own are cloned from."""
    return asyncio.run(migrated(server))


@pytest.fixture
async def database(server: Server, template: str) -> AsyncIterator[Database]:
    """Clone a database, and drop it afterwards."""
    name = f"test_{next(numbers)}"
    await as_superuser(
        server,
        (
            f"create database {name} template {template} owner entri_owner",
            f"alter database {name} set synchronous_commit = off",
        ),
    )
    yield Database(server.owner_dsn.format(name), server.service_dsn.format(name))
    await as_superuser(server, (f"drop database {name} with (force)",))


@pytest.fixture
async def empty_database(server: Server) -> AsyncIterator[Database]:
    """Make a database with nothing in it, and drop it afterwards."""
    name = f"empty_{next(numbers)}"
    await as_superuser(server, (f"create database {name} owner entri_owner",))
    yield Database(server.owner_dsn.format(name), server.service_dsn.format(name))
    await as_superuser(server, (f"drop database {name} with (force)",))
