"""The service behind a gateway, which keeps what reaches it. Must never refuse a request: that is the gateway's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from multidict import CIMultiDictProxy

MOST_BYTES = 2**23
MOST_HEADER_BYTES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request that a gateway let through."""

    method: str
    path: str
    headers: CIMultiDictProxy[str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Upstream:
    """Where the service behind listens, and all that has reached it."""

    port: int = 0
    arrivals: list[Arrival] = field(default_factory=list)

    async def keep(self, request: web.Request) -> web.Response:
        """Keep a request, and answer what no gateway would."""
        body = await request.read()
        self.arrivals.append(Arrival(method=request.method, path=request.raw_path, headers=request.headers, body=body))
        return web.Response(text="from behind", headers={"X-Behind": "yes"})


@asynccontextmanager
async def listening_upstream() -> AsyncIterator[Upstream]:
    """Serve on a free port until left."""
    upstream = Upstream()
    app = web.Application(client_max_size=MOST_BYTES)
    app.router.add_route("*", "/{rest:.*}", upstream.keep)
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=1, max_line_size=MOST_HEADER_BYTES, max_field_size=MOST_HEADER_BYTES
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        upstream.port = runner.addresses[0][1]
        yield upstream
    finally:
        await runner.cleanup()
