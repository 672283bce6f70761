"""`/log/checkpoint` and `/log/key`: how long the caller's history is, signed, and the key that it was signed with.

For whoever may read events. Must never tell of another organization than the caller's.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from service.authorization import ForbiddenError, Principal
from service.availability import RETRY_AFTER_S, is_unavailable
from service.log_proofs import LogProofs
from service.signing import NotSignedError
from service.web.answers import Handler
from service.web.credentials import CredentialError
from service.web.verification import NO_STORE, bad_request, forbidden, unauthorized, unavailable

NOTHING_SIGNED: Final = "the history has no event yet: try again"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEndpoint:
    """What the routes need: who may come in, and what they get."""

    authenticate: Callable[[web.Request], Awaitable[Principal]]
    confirm: Callable[[web.Request], Awaitable[object]]
    """Raises CredentialError where the key that a request came with is not good any more."""
    proofs: LogProofs


def routes(endpoint: LogEndpoint) -> list[web.RouteDef]:
    """Return the routes."""

    async def checkpoint(principal: Principal) -> str | None:
        found = await endpoint.proofs.checkpoint(principal)
        return None if found is None else found.text

    async def key(principal: Principal) -> str | None:
        return f"{endpoint.proofs.key(principal)}\n"

    return [
        web.get("/log/checkpoint", answering(endpoint, checkpoint)),
        web.get("/log/key", answering(endpoint, key)),
    ]


def answering(endpoint: LogEndpoint, tell: Callable[[Principal], Awaitable[str | None]]) -> Handler:
    """Make the handler that authenticates the caller and answers with text."""

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            text = await tell(await endpoint.authenticate(request))
            await endpoint.confirm(request)
        except CredentialError as error:
            return refused(error)
        except ForbiddenError:
            return forbidden()
        except NotSignedError as error:
            return not_yet(str(error))
        except Exception as error:
            if not is_unavailable(error):
                raise
            return unavailable()
        return not_yet(NOTHING_SIGNED) if text is None else web.Response(text=text, headers=NO_STORE)

    return handler


def not_yet(message: str) -> web.Response:
    """Answer where there is no checkpoint to show now."""
    body = {"statusCode": 503, "message": message, "error": "Service Unavailable"}
    return web.json_response(body, status=503, headers={**NO_STORE, "Retry-After": str(RETRY_AFTER_S)})


def refused(error: CredentialError) -> web.Response:
    """Answer for a request without a good credential."""
    match error.status:
        case web.HTTPUnauthorized.status_code:
            return unauthorized()
        case web.HTTPServiceUnavailable.status_code:
            return unavailable()
    return bad_request(error.message)
