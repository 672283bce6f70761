"""The way from a client through a gateway to the service behind it, and what may be said of a request that takes it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout
from multidict import CIMultiDict

from tests.gateways.living import Living
from tests.gateways.running import Gateway, Places, running_gateway
from tests.gateways.upstream import Upstream

PATIENCE_S = 10

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client was told, and after how long."""

    status: int
    headers: CIMultiDict[str]
    text: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The way from a client through a gateway to the service behind it."""

    gateway: Gateway
    session: ClientSession
    url: str
    living: Living
    upstream: Upstream

    async def send(
        self, headers: Headers, method: str = "GET", *, path: str = "/orders", body: object = None
    ) -> Answer:
        """Send a request through the gateway."""
        began = time.monotonic()
        async with self.session.request(
            method, self.url + path, headers=CIMultiDict(headers), data=body, allow_redirects=False
        ) as answer:
            text = await answer.text()
        seconds = time.monotonic() - began
        return Answer(status=answer.status, headers=CIMultiDict(answer.headers), text=text, seconds=seconds)

    async def passes(self, key: str) -> None:
        """Check that a key is let through, and the service behind answers."""
        before = len(self.upstream.arrivals)
        answer = await self.send([("X-API-Key", key)])
        assert (answer.status, answer.text) == (200, "from behind")
        assert len(self.upstream.arrivals) == before + 1

    async def refuses(
        self, headers: Headers, method: str = "GET", *, path: str = "/orders", body: object = None
    ) -> Answer:
        """Check that nothing gets through, whatever the client is told."""
        before = len(self.upstream.arrivals)
        answer = await self.send(headers, method, path=path, body=body)
        assert len(self.upstream.arrivals) == before
        assert "X-Behind" not in answer.headers
        assert not any(name.lower().startswith("x-entri") for name in answer.headers)
        return answer


@asynccontextmanager
async def through(
    gateway: Gateway, places: Places, folder: Path, *, living: Living, upstream: Upstream
) -> AsyncIterator[Way]:
    """Run a gateway and a client."""
    with running_gateway(gateway, places, folder) as url:
        async with ClientSession(timeout=ClientTimeout(total=PATIENCE_S)) as session:
            yield Way(gateway=gateway, session=session, url=url, living=living, upstream=upstream)
