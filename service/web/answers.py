"""What every answer has in common: it is measured, named, and JSON where the route itself did not answer."""

import logging
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger
from aiohttp.typedefs import Middleware

from service.metrics import Metrics

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
UNKNOWN_ROUTE = "unknown"

log = structlog.get_logger("service.web")


def answering(metrics: Metrics) -> Middleware:
    """Make the middleware that surrounds every route, and keep the server from logging what reaches none."""
    server_logger.addFilter(discreet)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = failure(error.status, error.reason)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except Exception:
            log.exception("internal_error", route=route_of(request))
            response = failure(500, "Internal Server Error")
        response.headers["Server"] = "entri"
        metrics.requests.observe(route_of(request), response.status, time.perf_counter() - began)
        return response

    return middleware


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
    return UNKNOWN_ROUTE if resource is None else resource.canonical


def failure(status: int, reason: str) -> web.Response:
    """Answer where no route did, in the form of the plain HTTP answers."""
    body = {"statusCode": status, "message": reason, "error": reason}
    return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})
