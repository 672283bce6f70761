"""A client of `graphql-transport-ws` for the tests, and the service with another rhythm of its own."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web
from aiohttp.test_utils import TestServer

from service.app import streaming_of
from service.requests import Requests
from service.web.graphql import GraphQLEndpoint, routes
from service.web.outlet import Outlet
from service.web.streaming import Rhythm
from service.web.transport_ws import PROTOCOL
from service.web.websocket import Socket
from tests.api.conftest import PATIENCE_S, Json, Service, eventually

FOLLOW: Final = "subscription ($from: String) { events(afterPosition: $from) { cursor node { position } } }"
QUERY: Final = "{ viewer { scopes } }"


@dataclass(slots=True)
class Talk:
    """One socket, as a client sees it."""

    ws: ClientWebSocketResponse

    async def init(self, payload: Mapping[str, object] | None = None) -> "Talk":
        """Ask for the connection, and wait for the acknowledgement."""
        await self.send(type="connection_init", payload=payload)
        assert await self.hear() == {"type": "connection_ack"}
        return self

    async def send(self, **message: object) -> None:
        """Send a message."""
        await self.ws.send_str(orjson.dumps(message).decode())

    async def subscribe(self, query: str, id_: str = "1", **variables: object) -> None:
        """Begin an operation."""
        await self.send(type="subscribe", id=id_, payload={"query": query, "variables": variables})

    async def hear(self) -> Json:
        """Wait for a message."""
        async with asyncio.timeout(PATIENCE_S):
            message = await self.ws.receive()
        assert message.type is WSMsgType.TEXT, message
        heard: Json = orjson.loads(message.data)
        return heard

    async def end(self) -> tuple[int | None, str]:
        """Wait for the end, and say how it was; what comes before it is passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while (message := await self.ws.receive()).type is WSMsgType.TEXT:
                pass
        return self.ws.close_code, str(message.extra) if message.type is WSMsgType.CLOSE else ""


@dataclass(slots=True)
class Rhythmic:
    """The running service's routes with another rhythm, and an end of their own."""

    url: str
    session: ClientSession
    requests: Requests = field(default_factory=Requests)

    @asynccontextmanager
    async def talk(self, key: str | None, *, autoping: bool = True) -> AsyncIterator[Talk]:
        """Connect and, with a key, be acknowledged."""
        async with self.session.ws_connect(f"{self.url}/graphql", protocols=(PROTOCOL,), autoping=autoping) as ws:
            talk = Talk(ws)
            yield talk if key is None else await talk.init({"X-API-Key": key})


@asynccontextmanager
async def rhythmic(service: Service, rhythm: Rhythm) -> AsyncIterator[Rhythmic]:
    """Serve with another rhythm."""
    requests, entrances = Requests(), service.entrances
    endpoint = GraphQLEndpoint(
        executor=entrances.executor,
        authenticate=entrances.authenticate,
        confirm=entrances.confirm,
        make_context=entrances.context,
        cookie=entrances.cookies.written,
        streaming=streaming_of(entrances, requests=requests, rhythm=rhythm),
    )
    app = web.Application()
    app.add_routes(routes(endpoint))
    async with TestServer(app) as server:
        yield Rhythmic(str(server.make_url("")).rstrip("/"), service.session, requests)


@asynccontextmanager
async def socket(
    service: Service, *, headers: Mapping[str, str] | None = None, protocols: tuple[str, ...] = (PROTOCOL,)
) -> AsyncIterator[Talk]:
    """Connect to the running service."""
    url = f"{service.url}/graphql"
    async with service.session.ws_connect(url, headers=headers, protocols=protocols) as ws:
        yield Talk(ws)


def abort(talk: Talk) -> None:
    """Vanish."""
    transport_of(talk).abort()


def transport_of(talk: Talk) -> asyncio.Transport:
    """Give a client's connection."""
    connection = talk.ws._response.connection
    assert connection is not None
    assert connection.transport is not None
    return connection.transport


def outlets(requests: Requests) -> list[Outlet]:
    """List the writing sides of the sockets that are open."""
    found = [getattr(end, "__self__", None) for end in requests._ends]
    return [one._outlet for one in found if isinstance(one, Socket)]


async def nothing_left(service: Service) -> None:
    """Wait until no session, no stream and no task of either is left."""
    entrances = service.entrances

    async def is_released() -> bool:
        names = {task.get_name() for task in asyncio.all_tasks()}
        busy = names & {"operation", "stream", "group", "drain", "confirm"}
        return not (busy or len(entrances.verifying.sessions) or entrances.streams.running)

    assert await eventually(is_released)
