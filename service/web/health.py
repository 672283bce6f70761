"""`/livez`, `/readyz` and `/metrics`: for operators and their machines. Must never hold an id, a name or a secret."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

Check = Callable[[], Awaitable[str | None]]
"""Answers what is wrong, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthEndpoint:
    """What the routes look at."""

    checks: Mapping[str, Check]
    notes: Mapping[str, Check]
    """What is told on request, though nothing that is asked of this process suffers from it."""
    expose: Callable[[], Awaitable[str]]
    """Writes the metrics in Prometheus' text format."""


def routes(endpoint: HealthEndpoint) -> list[web.RouteDef]:
    """Return the routes."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        return await readiness(endpoint, is_verbose="verbose" in request.query)

    async def metrics(_: web.Request) -> web.Response:
        text = await endpoint.expose()
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    return [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]


async def readiness(endpoint: HealthEndpoint, *, is_verbose: bool) -> web.Response:
    """Say whether requests may be sent here, and on request what each check found."""
    found = {name: await check() for name, check in endpoint.checks.items()}
    status = 503 if any(found.values()) else 200
    if is_verbose:
        found |= {name: await check() for name, check in endpoint.notes.items()}
    lines = [f"{name}: {problem or 'ok'}" for name, problem in found.items()] if is_verbose else []
    lines.append("not ready" if status != web.HTTPOk.status_code else "ok")
    return web.Response(status=status, text="\n".join(lines) + "\n", headers={"Cache-Control": "no-store"})
