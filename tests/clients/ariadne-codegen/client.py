"""ariadne-codegen: the client that it generates from schema.graphql and operations.graphql."""

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

from entri_client import Client
from entri_client.exceptions import GraphQLClientGraphQLMultiError
from websockets.exceptions import ConnectionClosed, InvalidHandshake

sys.path.append(str(Path(__file__).parents[1]))
from scenario import KEY, OPERATIONS, SOCKET_URL, URL, Disconnected, Refused, play


def client_of(key: str) -> Client:
    """Make a generated client that presents a key."""
    credential = {"X-API-Key": key}
    return Client(URL, headers=credential, ws_url=SOCKET_URL, ws_connection_init_payload=credential)


def in_snake_case(name: str) -> str:
    """Spell a name as the generator does."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def arguments(variables: dict[str, Any]) -> dict[str, Any]:
    """Spell variables as the generator does."""
    return {in_snake_case(name): value for name, value in variables.items()}


class AriadneCodegen:
    """Every operation is a method of the generated client."""

    async def request(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Ask once."""
        async with client_of(KEY) as client:
            model = await getattr(client, in_snake_case(name))(**arguments(variables))
            answer: dict[str, Any] = model.model_dump(by_alias=True, mode="json")
            return answer

    async def follow(self, key: str, name: str, variables: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Subscribe over a socket of its own."""
        try:
            async with client_of(key) as client:
                async for data in self._answers(client, name, variables):
                    (edge,) = data.values()
                    yield edge
        except GraphQLClientGraphQLMultiError as error:
            raise Refused(str(error)) from error
        except ConnectionClosed as error:
            raise Disconnected(error.rcvd and error.rcvd.code) from error
        except (InvalidHandshake, OSError) as error:
            raise Disconnected(None) from error

    async def _answers(self, client: Client, name: str, variables: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        if name == "Wrong":
            async for data in client.execute_ws(OPERATIONS[name]):
                yield data
            return
        async for model in getattr(client, in_snake_case(name))(**arguments(variables)):
            yield model.model_dump(by_alias=True, mode="json")


asyncio.run(play(AriadneCodegen()))
