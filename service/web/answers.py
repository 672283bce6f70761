"""What every answer has in common: it is measured, named, and JSON where the route itself did not answer."""

import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from service.metrics import Metrics

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
UNKNOWN_ROUTE = "unknown"

log = structlog.get_logger("service.web")


def answering(metrics: Metrics) -> Middleware:
    """Make the middleware that surrounds every route."""

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
        metrics.requests.labels(route_of(request), response.status).observe(time.perf_counter() - began)
        return response

    return middleware


def route_of(request: web.Request) -> str:
    """Name the route that a request took, which no client can choose."""
    resource = request.match_info.route.resource
    return UNKNOWN_ROUTE if resource is None else resource.canonical


def failure(status: int, reason: str) -> web.Response:
    """Answer where no route did, in the form of the plain HTTP answers."""
    body = {"statusCode": status, "message": reason, "error": reason}
    return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})
