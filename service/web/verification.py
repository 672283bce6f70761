"""`/verify`: the gateways' question, answered by status and headers alone. Must never hold a body that varies or a key.

Any method and any path below `/verify` is answered alike, since Envoy keeps the method and appends the path.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiohttp import web
from multidict import MultiMapping

from events.applications import Environment
from events.identifiers import prefix_of
from events.scopes import MOST_SCOPES, problem_with
from service.availability import RETRY_AFTER_S, is_unavailable
from service.credential import Credential, Failure, Verification, Wanted
from service.web.acceptance import Acceptance, fits
from service.web.answers import SERVER, Surroundings
from service.web.credentials import FORBIDDEN_BODY, UNAUTHORIZED_BODY, CredentialError, presented_key

UNAVAILABLE_BODY: Final = b'{"statusCode":503,"message":"Service Unavailable","error":"Service Unavailable"}'
MOST_QUESTIONS: Final = 1_000
NO_STORE: Final = {"Cache-Control": "no-store"}

log = structlog.get_logger("service.web")


Accept = Callable[[str, Wanted, web.Request], Credential | None]
Verify = Callable[[str, Wanted], Awaitable[Verification]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyEndpoint:
    """What `/verify` needs: the verifier, and where a good key's use is counted."""

    accept: Accept
    """Accepts a key from memory and counts its use; None where that cannot tell, or not that the key is good."""
    verify: Verify
    record: Callable[[Credential, web.Request], None]
    questions: dict[str, Wanted] = field(default_factory=dict)
    """What the queries mean that good keys came with: a gateway asks the same for every request."""


def routes(endpoint: VerifyEndpoint, surroundings: Surroundings) -> list[web.RouteDef]:
    """Return the routes: what can be accepted from memory is answered at once, with nothing around it."""

    async def whole(request: web.Request) -> web.Response:
        return await answer(endpoint, request)

    surrounded = surroundings.surround(whole)

    async def verify(request: web.Request) -> web.StreamResponse:
        accepted = None if surroundings.draining.is_set() else accept_quickly(endpoint, request)
        return await surrounded(request) if accepted is None else accepted

    return [web.route("*", "/verify", verify), web.route("*", "/verify/{rest:.*}", verify)]


def accept_quickly(endpoint: VerifyEndpoint, request: web.Request) -> web.StreamResponse | None:
    """Accept a key that is remembered, for a question that was asked before; None leaves the answer to `answer`."""
    wanted = endpoint.questions.get(request.rel_url.raw_query_string)
    if wanted is None or not fits(request):
        return None
    try:
        presented = presented_key(request.headers)
    except CredentialError:
        return None
    credential = endpoint.accept(presented, wanted, request)
    return None if credential is None else Acceptance(credential)


async def answer(endpoint: VerifyEndpoint, request: web.Request) -> web.Response:
    """Say whether the presented key is good for what the query asks."""
    try:
        is_exact = "rest" not in request.match_info
        wanted = wanted_of(request.query, is_exact=is_exact)
        presented = presented_key(request.headers)
        verification = await endpoint.verify(presented, wanted)
    except CredentialError as error:
        return unauthorized() if error.status == web.HTTPUnauthorized.status_code else bad_request(error.message)
    except BadQuestionError as error:
        return bad_request(str(error))
    except Exception as error:
        if not is_unavailable(error):
            raise
        log.debug("verification_unavailable", error=type(error).__name__)
        return unavailable()
    if verification.failure in {Failure.MISSING_SCOPE, Failure.WRONG_ENVIRONMENT}:
        return forbidden()
    if verification.failure is not None or verification.credential is None:
        return unauthorized()
    if is_exact and len(endpoint.questions) < MOST_QUESTIONS:
        endpoint.questions[request.rel_url.raw_query_string] = wanted
    endpoint.record(verification.credential, request)
    return accepted(verification.credential)


class BadQuestionError(Exception):
    """The query asks for something that cannot be; the message quotes nothing of it."""


def wanted_of(query: MultiMapping[str], *, is_exact: bool) -> Wanted:
    """Read what the key is wanted for. Raises BadQuestionError.

    Below `/verify` (not `is_exact`) the rest of the query is that of the request that a gateway asks about.
    """
    unknown = set(query) - {"organization", "scope", "environment"}
    if unknown and is_exact:
        raise BadQuestionError(f"{len(unknown)} unknown parameters: only organization, scope and environment are known")
    if any(len(query.getall(name, [])) > 1 for name in ("organization", "environment")):
        raise BadQuestionError("organization and environment can be given once")
    organization, environment = query.get("organization"), query.get("environment")
    if organization is not None and prefix_of(organization) != "org":
        raise BadQuestionError("organization must be an organization's id")
    if environment is not None and environment not in Environment.__members__:
        raise BadQuestionError("environment must be DEVELOPMENT, STAGING, PRODUCTION or SANDBOX")
    scopes = tuple(" ".join(query.getall("scope", [])).replace(",", " ").split())
    if len(scopes) > MOST_SCOPES:
        raise BadQuestionError(f"at most {MOST_SCOPES} scopes can be asked for")
    for scope in scopes:
        if problem := problem_with(scope):
            raise BadQuestionError(f"scope must be scopes with spaces between them: {problem}")
    return Wanted(
        organization=organization, environment=None if environment is None else Environment(environment), scopes=scopes
    )


def accepted(credential: Credential) -> web.Response:
    """Answer for a good key: whose it is and what it may do, in headers for the service behind the gateway."""
    headers = {
        "X-Entri-Organization": credential.organization,
        "X-Entri-Token": credential.token_id,
        "X-Entri-Kind": credential.kind.value,
        "X-Entri-Scopes": " ".join(credential.scopes),
    }
    if credential.application_id is not None and credential.environment is not None:
        headers["X-Entri-Application"] = credential.application_id
        headers["X-Entri-Environment"] = credential.environment.value
    return web.Response(status=200, headers={**headers, **NO_STORE, "Server": SERVER})


def unauthorized() -> web.Response:
    """Answer for a key that is not good, whatever the reason."""
    headers = {**NO_STORE, "WWW-Authenticate": "Bearer"}
    return web.Response(status=401, body=UNAUTHORIZED_BODY, content_type="application/json", headers=headers)


def forbidden() -> web.Response:
    """Answer for a good key that may not do what was asked."""
    return web.Response(status=403, body=FORBIDDEN_BODY, content_type="application/json", headers=NO_STORE)


def unavailable() -> web.Response:
    """Answer where nothing can be said now."""
    headers = {**NO_STORE, "Retry-After": str(RETRY_AFTER_S)}
    return web.Response(status=503, body=UNAVAILABLE_BODY, content_type="application/json", headers=headers)


def bad_request(message: str) -> web.Response:
    """Answer for a question that cannot be answered."""
    body = {"statusCode": 400, "message": message, "error": "Bad Request"}
    return web.json_response(body, status=400, headers=NO_STORE)
