"""What benchmarks ask of a running service over GraphQL: tokens issued and revoked. Must never print a secret."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import ClientSession, TCPConnector

from bench.serving import Service

CREATE: Final = """\
mutation ($name: String!) {
  createToken(input: {name: $name, scopes: ["projects:read"]}) { token { id } secret userErrors { code } }
}"""
REVOKE: Final = """\
mutation ($id: ID!) {
  revokeToken(input: {id: $id}) {
    token { status } userErrors { code } enforcement { processes acknowledged waitedOut tookMs }
  }
}"""
HEAD: Final = "{ events(first: 1) { nodes { position } } }"
NO_BARRIER: Final = {"waitedOut": 0, "processes": 0}
AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token and its secret."""

    token_id: str
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """How long a revocation was waited for, and how it reached the processes."""

    ms: float
    waited_out: int
    processes: int


@dataclass(frozen=True, slots=True)
class Graph:
    """Asks one service, with its first token."""

    service: Service
    session: ClientSession

    async def ask(self, document: str, variables: Mapping[str, object]) -> dict[str, Any]:
        """Run a mutation and answer its payload. Raises SystemExit when it was refused."""
        payload = await self.answer(document, variables)
        if payload["userErrors"]:
            raise SystemExit(f"an operation was refused: {payload['userErrors']}")
        return payload

    async def head(self) -> str:
        """Ask for the last position of the history."""
        page = await self.answer(HEAD, {})
        return str(page["nodes"][0]["position"])

    async def answer(self, document: str, variables: Mapping[str, object]) -> dict[str, Any]:
        """Run an operation with one field and answer what that is. Raises SystemExit when it failed."""
        url = f"http://{self.service.host}:{self.service.port}/graphql"
        body = {"query": document, "variables": variables}
        async with self.session.post(url, json=body, headers={"X-API-Key": self.service.key}) as response:
            answer = await response.json()
        if answer.get("errors"):
            raise SystemExit(f"an operation failed: {answer['errors']}")
        (payload,) = answer["data"].values()
        return dict(payload)

    async def issue(self, count: int) -> list[Issued]:
        """Issue tokens, several at once."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> Issued:
            async with gate:
                payload = await self.ask(CREATE, {"name": f"gateway {number}"})
            return Issued(token_id=payload["token"]["id"], secret=payload["secret"])

        return await asyncio.gather(*(one(number) for number in range(count)))

    async def revoke(self, token_id: str) -> Revoked:
        """Revoke a token."""
        began = time.perf_counter()
        enforcement = (await self.ask(REVOKE, {"id": token_id}))["enforcement"] or NO_BARRIER
        ms = (time.perf_counter() - began) * 1000
        return Revoked(ms=ms, waited_out=enforcement["waitedOut"], processes=enforcement["processes"])

    async def status_of(self, secret: str, *, service: Service | None = None) -> int:
        """Verify a secret at this service or another."""
        asked = service or self.service
        url = f"http://{asked.host}:{asked.port}/verify"
        async with self.session.get(url, headers={"X-API-Key": secret}) as response:
            return response.status


@asynccontextmanager
async def asking(service: Service) -> AsyncIterator[Graph]:
    """Keep connections to services open for as long as they are asked."""
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        yield Graph(service, session)
