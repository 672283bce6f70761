"""GraphQL over HTTP: methods, media types, status codes and bodies as the specification's draft asks.

https://graphql.github.io/graphql-over-http/draft/ . The body is GraphQL-shaped whatever happens. Authentication comes
before the body is read. It must never answer without a request id, let an answer be cached, or execute anything itself.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import orjson
import structlog
from aiohttp import web
from graphql import OperationType

from service.api.execution import Execution, Executor, GraphQLRequest, Way
from service.web.credentials import CredentialError, Nobody
from service.web.graphiql import explorer_page
from service.web.parameters import JSON, RefusedError, check_body_type, parameters
from service.web.sse import EVENT_STREAM, answer_events
from service.web.streaming import Streaming
from service.web.websocket import answer_upgrade, is_upgrade

Principal = TypeVar("Principal")
Context = TypeVar("Context")
Authenticate = Callable[[web.Request], Awaitable[Principal | Nobody]]
MakeContext = Callable[[web.Request, Principal | Nobody, str], Context]

GRAPHQL_JSON: Final = "application/graphql-response+json"

_LOG: Final = structlog.get_logger("service.web")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CODES: Final = {
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    429: "RATE_LIMITED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_RETRY_AFTER_S: Final = 1
SIGN_IN_BYTES: Final = 16_384
"""What is read at most for who presents no credential."""


@dataclass(frozen=True, slots=True)
class GraphQLEndpoint(Generic[Principal, Context]):
    """What `/graphql` needs: who may come in, what resolvers get to see, and what runs the documents."""

    executor: Executor
    authenticate: Authenticate[Principal]
    make_context: MakeContext[Principal, Context]
    confirm: Callable[[web.Request], Awaitable[object]]
    """Raises CredentialError where the key or the session that a request came with is not good any more."""
    cookie: Callable[[web.Request, Context], str | None] = lambda _, __: None
    """The value of `Set-Cookie` in the answer, if a resolver wants one."""
    streaming: Streaming | None = None
    """Without it there are no WebSockets and no event streams."""
    explorer: bool = False
    body_limit_bytes: int = 262_144
    body_timeout_s: float = 20.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of who presents no credential: one after the other, with what others wait for in between."""
    new_request_id: Callable[[], str] = lambda: secrets.token_hex(16)


def routes(endpoint: GraphQLEndpoint[Principal, Context]) -> list[web.RouteDef]:
    """Return the one route, for every method: those not allowed get a GraphQL-shaped body too."""

    async def graphql(request: web.Request) -> web.StreamResponse:
        return await _answer(endpoint, request)

    return [web.route("*", "/graphql", graphql)]


def request_id_of(request: web.Request, new_request_id: Callable[[], str]) -> str:
    """Return the id that the request brings if it is one plain word, a new one otherwise."""
    given = request.headers.getall("X-Request-Id", [])
    return given[0] if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) else new_request_id()


async def _answer(endpoint: GraphQLEndpoint[Principal, Context], request: web.Request) -> web.StreamResponse:
    request_id = request_id_of(request, endpoint.new_request_id)
    media_type = _negotiated(request.headers.getall("Accept", []))
    response: web.StreamResponse
    try:
        if endpoint.streaming is not None and is_upgrade(request):
            return await answer_upgrade(endpoint.streaming, request, {"X-Request-Id": request_id})
        response = await _admitted(endpoint, request, request_id, media_type)
    except RefusedError as refused:
        response = _failure(refused.status, refused.message, media_type)
        response.headers.update(refused.headers)
    except CredentialError as error:
        response = _failure(error.status, error.message, media_type)
        if error.status == web.HTTPUnauthorized.status_code:
            response.headers["WWW-Authenticate"] = "Bearer"
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        response.headers.extend(("Set-Cookie", one) for one in error.cookies)
    except Exception as error:  # noqa: BLE001 - whatever broke, the body stays GraphQL-shaped and tells nothing
        _LOG.error("internal_error", request_id=request_id, exc_info=error)
        response = _failure(500, "Internal error", media_type, {"requestId": request_id})
    if response.status == web.HTTPServiceUnavailable.status_code:
        response.headers.setdefault("Retry-After", str(_RETRY_AFTER_S))
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Request-Id"] = request_id
    return response


async def _admitted(
    endpoint: GraphQLEndpoint[Principal, Context], request: web.Request, request_id: str, media_type: str
) -> web.StreamResponse:
    if request.method not in {"GET", "POST"}:
        raise RefusedError(405, "Use POST, or GET for queries.", {"Allow": "GET, POST"})
    if endpoint.explorer and _wants_page(request):
        return explorer_page()
    if endpoint.streaming is not None and _prefers_events(request.headers.getall("Accept", [])):
        return await _streamed(endpoint, endpoint.streaming, request, {"X-Request-Id": request_id}, media_type)
    principal = await endpoint.authenticate(request)
    if isinstance(principal, Nobody):
        return await _signed_in(endpoint, request, principal, request_id=request_id, media_type=media_type)
    parsed = await _parsed(endpoint, request)
    context = endpoint.make_context(request, principal, request_id)
    way = Way.POST if request.method == "POST" else Way.GET
    execution = await endpoint.executor.execute(parsed, context=context, request_id=request_id, way=way)
    if execution.executed and not execution.is_mutation:
        # Nothing is told on the word of a key that was revoked meanwhile. What a mutation did is told all the same.
        await endpoint.confirm(request)
    response = _executed(execution, media_type)
    if (cookie := endpoint.cookie(request, context)) is not None:
        response.headers.add("Set-Cookie", cookie)
    return response


async def _signed_in(
    endpoint: GraphQLEndpoint[Principal, Context],
    request: web.Request,
    nobody: Nobody,
    *,
    request_id: str,
    media_type: str,
) -> web.StreamResponse:
    """Answer a document that does nothing but sign in; whatever else it is, and whatever is wrong with it, gets 401."""
    if request.method != "POST":
        raise nobody.refusal
    try:
        body = await _body(endpoint, request, SIGN_IN_BYTES)
        async with endpoint.turn:
            await asyncio.sleep(0)
        asked = parameters(_json(body, "The body"))
    except RefusedError:
        raise nobody.refusal from None
    context = endpoint.make_context(request, nobody, request_id)
    execution = await endpoint.executor.sign_in(asked, context=context, request_id=request_id)
    if execution is None:
        raise nobody.refusal
    response = _executed(execution, media_type)
    cookie = endpoint.cookie(request, context)
    response.headers.extend(("Set-Cookie", one) for one in (nobody.refusal.cookies if cookie is None else (cookie,)))
    return response


async def _streamed(
    endpoint: GraphQLEndpoint[Principal, Context],
    streaming: Streaming,
    request: web.Request,
    headers: Mapping[str, str],
    media_type: str,
) -> web.StreamResponse:
    session = await streaming.open_session(request, None)
    try:
        asked = await _parsed(endpoint, request)
        if request.method == "GET" and streaming.executor.kind_of(asked) is OperationType.MUTATION:
            raise RefusedError(405, "Mutations need POST.", {"Allow": "POST"})
        answer = await answer_events(streaming, request, asked, session=session, headers=headers)
    finally:
        session.close()
    if isinstance(answer, web.StreamResponse):
        return answer
    if any(error["extensions"]["code"] == "UNAUTHENTICATED" for error in answer.errors):
        raise CredentialError(401, "Unauthorized")
    return _executed(answer, media_type)


async def _parsed(endpoint: GraphQLEndpoint[Principal, Context], request: web.Request) -> GraphQLRequest:
    if request.method == "GET":
        return _from_url(request)
    return parameters(_json(await _body(endpoint, request, endpoint.body_limit_bytes), "The body"))


def _from_url(request: web.Request) -> GraphQLRequest:
    given: dict[str, object] = {}
    for name in ("query", "variables", "operationName", "extensions"):
        values = request.query.getall(name, [])
        if len(values) > 1:
            raise RefusedError(400, f"The parameter '{name}' is given more than once.")
        if values and name in {"variables", "extensions"}:
            given[name] = _json(values[0].encode("utf-8", "surrogatepass"), f"The parameter '{name}'")
        elif values:
            given[name] = values[0]
    return parameters(given)


async def _body(endpoint: GraphQLEndpoint[Principal, Context], request: web.Request, limit_bytes: int) -> bytes:
    check_body_type(request)
    too_large = RefusedError(413, f"The body is larger than {limit_bytes} bytes.")
    if (request.content_length or 0) > limit_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(endpoint.body_timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit_bytes:
                    raise too_large
    except TimeoutError:
        raise RefusedError(408, "The body did not arrive in time.") from None
    except (web.RequestPayloadError, ConnectionError):
        raise RefusedError(400, "The body could not be read to its end.") from None
    return bytes(body)


def _json(text: bytes, what: str) -> object:
    try:
        parsed: object = orjson.loads(text)
    except orjson.JSONDecodeError:  # not chained: it carries the whole text
        raise RefusedError(400, f"{what} must be valid JSON in UTF-8.") from None
    return parsed


def _executed(execution: Execution, media_type: str) -> web.Response:
    response = web.Response(status=_status(execution, media_type), body=orjson.dumps(execution.payload()))
    response.headers["Content-Type"] = f"{media_type}; charset=utf-8"
    if execution.needs_post:
        response.headers["Allow"] = "POST"
    return response


def _status(execution: Execution, media_type: str) -> int:
    codes = {error["extensions"]["code"] for error in execution.errors}
    if execution.needs_post:
        return 405
    if execution.data is None and "UNAVAILABLE" in codes:
        return 503
    if execution.executed:
        return 200
    if "INTERNAL" in codes:
        return 500
    # The older media type: a well-formed request gets 200 even if its document is refused.
    return 200 if media_type == JSON else 400


def _failure(status: int, message: str, media_type: str, extra: Mapping[str, str] | None = None) -> web.Response:
    extensions = {"code": _CODES.get(status, "BAD_USER_INPUT"), **(extra or {})}
    body = orjson.dumps({"errors": [{"message": message, "extensions": extensions}]})
    return web.Response(status=status, body=body, headers={"Content-Type": f"{media_type}; charset=utf-8"})


def _wants_page(request: web.Request) -> bool:
    accepted = ",".join(request.headers.getall("Accept", [])).lower()
    return request.method == "GET" and "text/html" in accepted and "query" not in request.query


def _negotiated(accept: list[str]) -> str:
    """Return the newer media type if it is named and not liked less than the older one, which is the default."""
    liked = _liked(accept)
    older = liked.get(JSON, liked.get("application/*", liked.get("*/*", 0.0)))
    newer = liked.get(GRAPHQL_JSON, 0.0)
    return GRAPHQL_JSON if newer and newer >= older else JSON


def _prefers_events(accept: list[str]) -> bool:
    """Say whether events are named, and no media type of JSON is that is liked as much."""
    liked = _liked(accept)
    return liked.get(EVENT_STREAM, 0.0) > max(liked.get(JSON, 0.0), liked.get(GRAPHQL_JSON, 0.0))


def _liked(accept: list[str]) -> dict[str, float]:
    """Read how much each media type is liked."""
    liked: dict[str, float] = {}
    for entry in ",".join(accept).lower().split(","):
        media_type, *given = (part.strip() for part in entry.split(";"))
        quality = next((part[2:] for part in given if part.startswith("q=")), "1")
        liked[media_type] = float(quality) if re.fullmatch(r"[01](\.\d{0,3})?", quality) else 0.0
    return liked
