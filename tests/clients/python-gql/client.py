"""gql: everything over WebSocket, by the library `websockets` or by aiohttp (`client.py websockets`)."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.exceptions import TransportConnectionFailed, TransportQueryError
from gql.transport.websockets import WebsocketsTransport

sys.path.append(str(Path(__file__).parents[1]))
from scenario import KEY, OPERATIONS, SOCKET_URL, URL, Disconnected, Refused, play

IS_AIOHTTP = sys.argv[1:] == ["aiohttp"]


def request_of(name: str, variables: dict[str, Any]) -> GraphQLRequest:
    """Take one of the operations that every client has."""
    return GraphQLRequest(OPERATIONS[name], variable_values=variables, operation_name=name)


class Gql:
    """Queries and mutations over HTTP with one transport, over the socket with the other."""

    async def request(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Ask once."""
        over_http = AIOHTTPTransport(URL, headers={"X-API-Key": KEY})
        over_socket = WebsocketsTransport(SOCKET_URL, init_payload={"X-API-Key": KEY})
        async with Client(transport=over_http if IS_AIOHTTP else over_socket) as session:
            answer: dict[str, Any] = await session.execute(request_of(name, variables))
            return answer

    async def follow(self, key: str, name: str, variables: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Subscribe over a socket of its own."""
        chosen = AIOHTTPWebsocketsTransport if IS_AIOHTTP else WebsocketsTransport
        transport = chosen(SOCKET_URL, init_payload={"X-API-Key": key})
        socket: Any = None
        try:
            async with Client(transport=transport) as session:
                socket = transport.adapter.websocket  # the library forgets it, and the close code with it
                async for data in session.subscribe(request_of(name, variables)):
                    (edge,) = data.values()
                    yield edge
        except TransportQueryError as error:
            raise Refused(str(error)) from error
        except TransportConnectionFailed as error:
            raise Disconnected(socket and socket.close_code) from error


asyncio.run(play(Gql()))
