"""What every answer has in common: it is measured, named, and JSON where the route itself did not answer."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger

from service.metrics import Metrics
from service.requests import Requests

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
UNKNOWN_ROUTE: Final = "unknown"
UNKNOWN_PATH: Final = "/{unknown}"
SERVER: Final = "entri"

log = structlog.get_logger("service.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What surrounds a route: it is measured and waited for, and nothing that breaks in it is told."""

    metrics: Metrics
    requests: Requests
    draining: asyncio.Event

    def __post_init__(self) -> None:
        """Keep the server from logging what reaches no route."""
        server_logger.addFilter(discreet)

    def surround(self, handler: Handler) -> Handler:
        """Make the handler that a route gets: middlewares of the whole application would cost the quick ones too."""

        async def surrounded(request: web.Request) -> web.StreamResponse:
            began = time.perf_counter()
            with self.requests.one():
                response = await self._answer(handler, request)
            if response.prepared:  # it was a stream: how long it lasted says nothing about how quick answers are
                return response
            response.headers["Server"] = SERVER
            if self.draining.is_set():  # so that a client's next request goes to another process
                response.headers["Connection"] = "close"
                response.force_close()
            self.metrics.requests.of(route_of(request), response.status).observe(time.perf_counter() - began)
            return response

        return surrounded

    async def _answer(self, handler: Handler, request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            response = failure(error.status, error.reason)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except Exception:
            log.exception("internal_error", route=route_of(request))
            return failure(500, "Internal Server Error")

    def routes(self, given: Sequence[web.RouteDef]) -> list[web.RouteDef]:
        """Surround routes, and answer in their form for other methods of the same paths."""
        made = [web.route(one.method, one.path, self.surround(one.handler), **one.kwargs) for one in given]
        allowed: dict[str, set[str]] = {}
        for one in given:
            allowed.setdefault(one.path, set()).update({one.method, "HEAD"} if one.method == "GET" else {one.method})
        for path, methods in allowed.items():
            if "*" not in methods:
                made.append(web.route("*", path, self.surround(other_methods(methods))))
        return made

    def unknown(self) -> web.RouteDef:
        """Answer for every path that is no route's: to be added last."""

        async def unknown(_: web.Request) -> web.StreamResponse:
            raise web.HTTPNotFound

        return web.route("*", "/{unknown:.*}", self.surround(unknown))


def other_methods(allowed: set[str]) -> Handler:
    """Make the handler of the methods that a path does not allow."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, sorted(allowed))

    return refuse


def discreet(record: logging.LogRecord) -> bool:
    """Log a request that is no HTTP by its fault's kind: aiohttp's message quotes it, and a key may be there."""
    fault = record.exc_info[1] if record.exc_info else None
    if not isinstance(fault, HttpProcessingError):
        return True
    log.info("malformed_request", fault=type(fault).__name__)
    return False


def route_of(request: web.Request) -> str:
    """Name the route that a request took, which no client can choose."""
    resource = request.match_info.route.resource
    return UNKNOWN_ROUTE if resource is None or resource.canonical == UNKNOWN_PATH else resource.canonical


def failure(status: int, reason: str) -> web.Response:
    """Answer where no route did, in the form of the plain HTTP answers."""
    body = {"statusCode": status, "message": reason, "error": reason}
    return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})
