"""Clients that insist: each asks until it is answered, and writes down what was acknowledged."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout

CREATE: Final = """
mutation($name: String!, $key: String!) {
  createToken(input: {name: $name, idempotencyKey: $key}) { token { id } secret position userErrors { code message } }
}
"""
ROTATE: Final = """
mutation($id: ID!, $overlap: Int!, $key: String!) {
  rotateToken(input: {id: $id, overlapSeconds: $overlap, idempotencyKey: $key}) {
    token { id } secret position userErrors { code message }
  }
}
"""
REVOKE: Final = """
mutation($id: ID!) { revokeToken(input: {id: $id}) { token { id } position userErrors { code message } } }
"""
NOT_NOW: Final = (ClientError, TimeoutError, OSError)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """What a client was told: that this happened to a token, at this place in the history if it was told that too."""

    type: str
    token_id: str
    position: int | None


@dataclass(slots=True, kw_only=True)
class Target:
    """The service, wherever it is at the moment."""

    key: str
    url: str = ""
    session: ClientSession
    serving: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    verified: int = 0
    """Good answers of `/verify`, each of which is a use."""

    async def insist(self, query: str, variables: Mapping[str, object]) -> Json:
        """Send a mutation until it is acknowledged, and return its payload."""
        body = {"query": query, "variables": variables}
        while True:
            await self.serving.wait()
            try:
                headers = {"X-API-Key": self.key}
                async with self.session.post(f"{self.url}/graphql", json=body, headers=headers) as response:
                    status, answer = response.status, await response.json()
            except NOT_NOW:
                status, answer = 503, {}
            if status == 200 and "errors" not in answer:
                (payload,) = answer["data"].values()
                assert payload["userErrors"] == [], payload
                return dict(payload)
            assert status == 503, (status, answer)
            await asyncio.sleep(0.02)

    async def verify(self, secret: str) -> int | None:
        """Verify a secret; None when nobody could say."""
        try:
            async with self.session.get(f"{self.url}/verify", headers={"X-API-Key": secret}) as response:
                status = response.status
        except NOT_NOW:
            return None
        assert status in {200, 401, 503}, status
        self.verified += status == 200
        return None if status == 503 else status


@dataclass(slots=True, kw_only=True)
class Client:
    """Creates, rotates, revokes and verifies tokens that are its own, one thing after another."""

    name: str
    target: Target
    rng: random.Random
    secrets: dict[str, str] = field(default_factory=dict)
    numbers: "count[int]" = field(default_factory=count)

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until told to stop, and end with an answer."""
        while not stopping.is_set():
            await self.rng.choice((self.create, self.create, self.rotate, self.revoke, self.verify, self.verify))()

    async def create(self) -> None:
        """Create a token."""
        name = f"{self.name}-{next(self.numbers)}"
        payload = await self.target.insist(CREATE, {"name": name, "key": name})
        self.secrets[payload["token"]["id"]] = payload["secret"]
        self.note("TokenCreated", payload)

    async def rotate(self) -> None:
        """Rotate one of the tokens."""
        if self.secrets:
            token_id = self.rng.choice(list(self.secrets))
            old = self.secrets[token_id]
            overlap = self.rng.choice((0, 600))
            key = f"{self.name}-{next(self.numbers)}"
            payload = await self.target.insist(ROTATE, {"id": token_id, "overlap": overlap, "key": key})
            self.secrets[token_id] = payload["secret"]
            self.note("TokenRotated", payload)
            assert await self.target.verify(old) in {None, 200 if overlap else 401}

    async def revoke(self) -> None:
        """Revoke one of the tokens, whose secret is good for nothing from then on."""
        if self.secrets:
            token_id = self.rng.choice(list(self.secrets))
            self.note("TokenRevoked", await self.target.insist(REVOKE, {"id": token_id}))
            assert await self.target.verify(self.secrets.pop(token_id)) in {None, 401}

    async def verify(self) -> None:
        """Verify one of the tokens, whose newest secret is good."""
        if self.secrets:
            assert await self.target.verify(self.rng.choice(list(self.secrets.values()))) in {None, 200}

    def note(self, event: str, payload: Json) -> None:
        """Write down what was acknowledged; a revocation that a lost answer had done has no position."""
        position = None if payload["position"] is None else int(payload["position"])
        self.target.acknowledged.append(Acknowledged(type=event, token_id=payload["token"]["id"], position=position))


def patient_session() -> ClientSession:
    """Open connections that outwait an outage."""
    return ClientSession(timeout=ClientTimeout(total=20))
