"""GraphQL over real HTTP on loopback: status codes, shapes, limits, and that no answer holds a secret."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import strawberry
import structlog
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from graphql import get_introspection_query

from service.api.errors import ApiError
from service.api.execution import Executor
from service.api.limits import Limits
from service.web.credentials import CredentialError, presented_key
from service.web.graphql import GRAPHQL_JSON, GraphQLEndpoint, routes
from service.web.parameters import JSON

SECRET = "entri_aB3dEfGhIjKlMnOpQrStUvWx9Zk"
KEY = {"X-API-Key": "good"}

Client = TestClient[web.Request, web.Application]


@strawberry.input
class Credentials:
    """An input object with a secret and a list."""

    secret: int
    scopes: list[int] | None = None
    inner: "Credentials | None" = None


@strawberry.type
class Node:
    """Something that nests and has pages."""

    @strawberry.field
    def id(self) -> strawberry.ID:
        """Identify it."""
        return strawberry.ID("1")

    @strawberry.field
    def node(self) -> "Node":
        """Nest."""
        return Node()

    @strawberry.field
    def nodes(self, first: int | None = None) -> "list[Node]":
        """Return a page."""
        return [Node()] * min(first or 1, 2)


@strawberry.type
class Query(Node):
    """Fields that answer, refuse and break."""

    @strawberry.field
    def echo(self, text: str = "") -> str:
        """Return the text."""
        return text

    @strawberry.field
    def verify(self, secret: int, filter: Credentials | None = None) -> bool:  # noqa: A002 - the name of an argument
        """Take a secret of the wrong type."""
        return secret > 0 and filter is None

    @strawberry.field
    def default(self, first: int = 5) -> int:
        """Return an argument that has a default and takes no null."""
        return first

    @strawberry.field
    async def broken(self) -> str | None:
        """Fail with a message that must not be told."""
        raise RuntimeError(f"no row for {SECRET}")

    @strawberry.field
    def refused(self) -> str | None:
        """Refuse with one of our own errors."""
        raise ApiError("FORBIDDEN", "The scope tokens:read is missing.", {"scope": "tokens:read"})

    @strawberry.field
    def away(self) -> str:
        """Be unavailable."""
        raise ApiError("UNAVAILABLE", "The database is away.")

    @strawberry.field
    def huge(self) -> strawberry.scalars.JSON:
        """Return what no JSON encoder takes."""
        return strawberry.scalars.JSON(2**100)

    @strawberry.field
    def request_id(self, info: strawberry.Info[str, None]) -> str:
        """Return the id that the context was made with."""
        return info.context


@strawberry.type
class Mutation:
    """One mutation."""

    @strawberry.mutation
    def write(self) -> bool:
        """Do nothing."""
        return True


@strawberry.type
class Subscription:
    """One subscription."""

    @strawberry.subscription
    async def ticks(self) -> AsyncIterator[int]:
        """Tick once."""
        yield 1


async def authenticate(request: web.Request) -> str:
    """Know one key, and be away for another."""
    key = presented_key(request.headers)
    if key == "away":
        raise CredentialError(503, "Verification is unavailable.", 2)
    if key == "bug":
        raise RuntimeError(SECRET)
    if key != "good":
        raise CredentialError(401, "Unauthorized")
    return key


@pytest.fixture
def executor() -> Executor:
    """Give an executor of the schema above."""
    return Executor(strawberry.Schema(Query, Mutation, Subscription), Limits())


@pytest.fixture
async def client(executor: Executor) -> AsyncIterator[Client]:
    """Give a client of a real server on loopback."""
    app = web.Application()
    endpoint = GraphQLEndpoint(executor, authenticate, lambda _request, _key, request_id: request_id, authenticate)
    app.add_routes(routes(endpoint))
    async with TestClient(TestServer(app)) as connected:
        yield connected


async def post(client: Client, query: object, **parameters: object) -> tuple[int, dict[str, Any]]:
    """Post a document and return status and body; check what every answer has in common."""
    async with client.post(
        "/graphql", json={"query": query, **parameters}, headers={**KEY, "Accept": GRAPHQL_JSON}
    ) as answer:
        return answer.status, await checked(answer)


async def checked(answer: ClientResponse) -> dict[str, Any]:
    """Return the body of an answer whose headers and shape are as they always are."""
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]
    assert answer.headers["Content-Type"] in {f"{JSON}; charset=utf-8", f"{GRAPHQL_JSON}; charset=utf-8"}
    text = await answer.text()
    assert SECRET not in text
    assert "entri" not in text
    body: dict[str, Any] = json.loads(text)
    assert body.keys() <= {"data", "errors"}
    assert len(body.get("errors", [])) <= 10
    assert all(error["message"] and error["extensions"]["code"] for error in body.get("errors", []))
    return body


def code(body: dict[str, Any]) -> str:
    """Return the code of the first error."""
    found: str = body["errors"][0]["extensions"]["code"]
    return found


async def test_a_query_is_answered(client: Client) -> None:
    """A query with variables comes back with data, and nothing but data."""
    answered = await post(
        client, "query Q($t: String!) { echo(text: $t) }", variables={"t": "a\0b🏃"}, operationName="Q"
    )
    assert answered == (200, {"data": {"echo": "a\0b🏃"}})


@pytest.mark.parametrize(
    ("accept", "content_type", "status"),
    [
        (None, JSON, 200),
        ("*/*", JSON, 200),
        ("text/html", JSON, 200),
        (JSON, JSON, 200),
        (GRAPHQL_JSON, GRAPHQL_JSON, 400),
        (f"{GRAPHQL_JSON}, {JSON}", GRAPHQL_JSON, 400),
        (f"{JSON}, {GRAPHQL_JSON};q=0.9", JSON, 200),
        (f"{JSON};q=0.5, {GRAPHQL_JSON};q=0.9", GRAPHQL_JSON, 400),
        (f"{GRAPHQL_JSON};q=0", JSON, 200),
        (f"{GRAPHQL_JSON};q=x, */*", JSON, 200),
    ],
)
async def test_the_media_type_is_negotiated(client: Client, accept: str | None, content_type: str, status: int) -> None:
    """The newer media type answers a refused document with 400, the older one with 200."""
    headers = {**KEY, "Accept": accept} if accept else KEY
    skip = () if accept else ("Accept",)
    async with client.post("/graphql", json={"query": "{"}, headers=headers, skip_auto_headers=skip) as answer:
        assert code(await checked(answer)) == "BAD_USER_INPUT"
        assert (answer.content_type, answer.status) == (content_type, status)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "valid JSON"),
        (b"{", "valid JSON"),
        (b"\0\0\0", "valid JSON"),
        (b'{"query":"\xff"}', "valid JSON"),
        (b'{"query":"\\ud800"}', "valid JSON"),
        (b"[" * 100_000, "valid JSON"),
        (b'[{"query":"{id}"}]', "Batches"),
        (b'"{id}"', "a JSON object"),
        (b"{}", "'query' must be a string"),
        (b'{"query":null}', "'query' must be a string"),
        (b'{"query":["{id}"]}', "'query' must be a string"),
        (b'{"query":"{id}","variables":"{}"}', "'variables' must be an object"),
        (b'{"query":"{id}","variables":[]}', "'variables' must be an object"),
        (b'{"query":"{id}","operationName":1}', "'operationName' must be a string"),
        (b'{"query":"{id}","extensions":0}', "'extensions' must be an object"),
    ],
)
async def test_malformed_bodies_get_400(client: Client, body: bytes, message: str) -> None:
    """What is no GraphQL request gets 400 under either media type, and is told why."""
    for accept in (JSON, GRAPHQL_JSON):
        headers = {**KEY, "Content-Type": JSON, "Accept": accept}
        async with client.post("/graphql", data=body, headers=headers) as answer:
            assert answer.status == 400
            assert message in (await checked(answer))["errors"][0]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json; charset=latin1"},
        {"Content-Type": JSON, "Content-Encoding": "br-or-so"},
    ],
)
async def test_other_content_types_get_415(client: Client, headers: dict[str, str]) -> None:
    """Only JSON in UTF-8 that is not compressed is read."""
    async with client.post("/graphql", data=b'{"query":"{id}"}', headers={**KEY, **headers}) as answer:
        assert answer.status == 415
        await checked(answer)


@pytest.mark.parametrize("chunked", [True, False])
async def test_large_bodies_get_413(client: Client, chunked: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A megabyte is refused whether or not its length is announced, and a body at the limit is not."""

    async def megabyte() -> AsyncIterator[bytes]:
        for _ in range(16):
            yield b" " * 65_536

    headers = {**KEY, "Content-Type": JSON}
    data = megabyte() if chunked else b" " * 2**20
    async with client.post("/graphql", data=data, headers=headers) as answer:
        assert answer.status == 413
        await checked(answer)
    async with client.post("/graphql", data=b'{"query":"{id}"}'.ljust(262_144), headers=headers) as answer:
        assert answer.status == 200


async def test_a_slow_body_gets_408(executor: Executor) -> None:
    """A body that never ends is given up."""
    app = web.Application()
    endpoint = GraphQLEndpoint(executor, authenticate, lambda *_: None, authenticate, body_timeout_s=0.05)
    app.add_routes(routes(endpoint))
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(
            b"POST /graphql HTTP/1.1\r\nHost: x\r\nX-API-Key: good\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert b" 408 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_other_methods_get_405(client: Client, method: str) -> None:
    """Methods that GraphQL does not use are told which it does."""
    async with client.request(method, "/graphql", headers=KEY) as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, POST"


async def test_get_carries_queries_only(client: Client) -> None:
    """A query works in the URL; a mutation gets 405 there and runs by POST."""
    query = {"query": "query ($t: String!) { echo(text: $t) }", "variables": '{"t": "x+y"}', "operationName": ""}
    async with client.get("/graphql", params=query, headers=KEY) as answer:
        assert (answer.status, await checked(answer)) == (200, {"data": {"echo": "x+y"}})
    async with client.get("/graphql", params={"query": "mutation { write }"}, headers=KEY) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        await checked(answer)
    assert await post(client, "mutation { write }") == (200, {"data": {"write": True}})


@pytest.mark.parametrize("query", ["", "query={id}&query={id}", "query={id}&variables=[]", "query={id}&variables={"])
async def test_malformed_urls_get_400(client: Client, query: str) -> None:
    """Missing, repeated and malformed parameters in the URL are refused like those in a body."""
    async with client.get(f"/graphql?{query}", headers=KEY) as answer:
        assert answer.status == 400
        await checked(answer)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([("X-API-Key", "")], 401),
        ([("X-API-Key", SECRET)], 401),
        ([("Authorization", "Basic Z29vZDo=")], 401),
        ([("Authorization", "Bearer")], 401),
        ([("Authorization", "bearer good")], 200),
        ([("X-API-Key", "good"), ("X-API-Key", "good")], 400),
        ([("X-API-Key", "good"), ("Authorization", "Bearer good")], 400),
        ([("X-API-Key", ""), ("Authorization", "Bearer good")], 400),
        ([("Authorization", "Bearer good"), ("Authorization", "Bearer good")], 400),
        ([("X-API-Key", "away")], 503),
        ([("X-API-Key", "bug")], 500),
    ],
)
async def test_one_good_credential_is_needed(client: Client, headers: list[tuple[str, str]], status: int) -> None:
    """No credential, a bad one, two of them, and the keeper of them away: each has its status and shape."""
    with structlog.testing.capture_logs():
        async with client.post("/graphql", json={"query": "{ id }"}, headers=headers) as answer:
            assert answer.status == status
            body = await checked(answer)
            assert answer.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
            assert answer.headers.get("Retry-After") == ("2" if status == 503 else None)
    codes = {200: None, 400: "BAD_USER_INPUT", 401: "UNAUTHENTICATED", 500: "INTERNAL", 503: "UNAVAILABLE"}
    assert (code(body) if "errors" in body else None) == codes[status]


async def test_authentication_comes_before_the_body(client: Client) -> None:
    """Without a credential a megabyte of nonsense is 401, not 413 or 415."""
    async with client.post("/graphql", data=b"\0" * 2**20) as answer:
        assert answer.status == 401


async def test_the_request_id_is_kept_if_it_is_a_word(client: Client) -> None:
    """A request's own id is used for the answer and the context; one that could break a log line is replaced."""
    for given, kept in (("Req-1.a_b", True), ("x" * 65, False), ('a"b', False)):
        headers = {**KEY, "X-Request-Id": given}
        async with client.post("/graphql", json={"query": "{ requestId }"}, headers=headers) as answer:
            used = answer.headers["X-Request-Id"]
            assert (used == given) is kept
            assert (await checked(answer))["data"]["requestId"] == used


@pytest.mark.parametrize(
    ("query", "variables", "message"),
    [
        (
            "query ($s: Int!) { verify(secret: $s) }",
            {"s": SECRET},
            r"Variable '\$s' is invalid: Expected a value of type 'Int!'",
        ),
        ("query ($s: Int!) { verify(secret: $s) }", {}, "'Int!' to be provided"),
        ("query ($s: Int!) { verify(secret: $s) }", {"s": None}, "not to be null"),
        (
            "query ($f: Credentials!) { verify(secret: 1, filter: $f) }",
            {"f": {"secret": 1, "scopes": [1, SECRET]}},
            r"'\$f' is invalid at 'scopes.1': Expected a value of type 'Int!'",
        ),
        (
            "query ($f: Credentials!) { verify(secret: 1, filter: $f) }",
            {"f": {"inner": {"secret": SECRET}}},
            "at 'inner.secret'|required field 'secret'",
        ),
        ("query ($f: Credentials!) { verify(secret: 1, filter: $f) }", {"f": SECRET}, "type 'Credentials!'"),
        ("query ($f: Credentials!) { verify(secret: 1, filter: $f) }", {"f": {"x": SECRET}}, "field 'secret'"),
        (f'{{ verify(secret: "{SECRET}") }}', {}, "Expected a value of type 'Int!'"),
        (f'{{ verify(secret: """{SECRET}""") }}', {}, "Expected a value of type 'Int!'"),
        (f"{{ verify(secret: {SECRET}) }}", {}, "Expected a value of type 'Int!'"),
        (f'{{ verify(secret: 1, filter: {{secret: ["{SECRET}"]}}) }}', {}, "Expected a value of type 'Int!'"),
        (f'query ($s: Int = "{SECRET}") {{ verify(secret: $s) }}', {}, "Expected a value of type 'Int'"),
        (f'{{ id @skip(if: "{SECRET}") }}', {}, "Expected a value of type 'Boolean!'"),
        (f'{{ verify(secret: "a" "{SECRET}") }}', {}, "found String"),
        (f"{{ verify(secret: 1 {SECRET}) }}", {}, "found [)]|found Name|Expected ':'"),
        (f'{{ "{SECRET}" }}', {}, "found String"),
        (f'{{ echo(text: "\\{SECRET}") }}', {}, "Invalid character escape sequence"),
        ("query ($n: Int) { default(first: $n) }", {"n": None}, "Argument 'first' has an invalid value"),
    ],
)
async def test_no_error_quotes_a_value(client: Client, query: str, variables: dict[str, object], message: str) -> None:
    """Errors of syntax, validation and coercion name places and types; a secret in their way is not repeated."""
    _, body = await post(client, query, variables=variables)
    assert code(body) == "BAD_USER_INPUT"
    assert re.search(message, body["errors"][0]["message"])


async def test_errors_are_at_most_ten(client: Client) -> None:
    """A request with hundreds of errors of any kind is told ten."""
    for query, variables in (
        ("{ " + " ".join(f"x{i}" for i in range(500)) + " }", {}),
        ("query ($s: [Int!]!) { verify(secret: $s) }", {"s": [SECRET] * 1_000}),
        ("query ($f: Credentials!) { verify(secret: 1, filter: $f) }", {"f": {"secret": 1, "scopes": ["x"] * 500}}),
        ("{ " + " ".join(f"a{i}: broken" for i in range(30)) + " }", {}),
    ):
        with structlog.testing.capture_logs():
            _, body = await post(client, query, variables=variables)
        assert 1 <= len(body["errors"]) <= 10


async def test_a_bug_is_masked_and_logged(client: Client) -> None:
    """An exception's words go to the log with the request's id, and only the id goes to the caller."""
    with structlog.testing.capture_logs() as logs:
        status, body = await post(client, "{ broken id }")
    assert (status, body["data"]) == (200, {"broken": None, "id": "1"})
    [error], [line] = body["errors"], logs
    assert (error["message"], error["path"], error["extensions"]["code"]) == ("Internal error", ["broken"], "INTERNAL")
    assert line["request_id"] == error["extensions"]["requestId"]
    assert SECRET in str(line["exc_info"])
    assert "variables" not in line


async def test_our_own_errors_are_told(client: Client) -> None:
    """An `ApiError` keeps its code, message and extensions, and the rest of the answer stands."""
    status, body = await post(client, "{ refused id }")
    assert (status, body["data"]) == (200, {"refused": None, "id": "1"})
    assert body["errors"][0]["extensions"] == {"code": "FORBIDDEN", "scope": "tokens:read"}


async def test_unavailable_without_data_gets_503(client: Client) -> None:
    """An answer that is nothing but `UNAVAILABLE` says when to come again."""
    async with client.post("/graphql", json={"query": "{ away }"}, headers=KEY) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert code(await checked(answer)) == "UNAVAILABLE"


async def test_an_answer_that_is_no_json_gets_500(client: Client) -> None:
    """Data that cannot be encoded is a bug of ours and told as such."""
    with structlog.testing.capture_logs():
        status, body = await post(client, "{ huge }")
    assert (status, code(body)) == (500, "INTERNAL")


@pytest.mark.parametrize(
    ("query", "name", "message"),
    [
        ("query A { id } query B { id }", "A", "exactly one operation"),
        ("fragment F on Query { id }", None, "exactly one operation"),
        ("query A { id }", "B", "no operation of the name"),
        ("{ id }", "A", "no operation of the name"),
        ("{ ...A } fragment A on Query { ...A }", None, "within itself"),
        ("{ id } fragment A on Query { id }", None, "never used"),
        ("{ ...A }", None, "Unknown fragment"),
        ("subscription { ticks }", None, "WebSocket"),
        ("", None, "Syntax Error"),
    ],
)
async def test_other_documents_are_refused(client: Client, query: str, name: str | None, message: str) -> None:
    """One valid query or mutation a request, and nothing else."""
    status, body = await post(client, query, operationName=name)
    assert status == 400
    assert "data" not in body
    assert message in body["errors"][0]["message"]


async def test_hostile_documents_are_refused_over_http(client: Client) -> None:
    """What is too complex says so with its code and status."""
    bomb = " ".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(25))
    for query in (
        "{node" * 50_000,
        "{ " + " ".join(f"a{i}: id" for i in range(31)) + " }",
        "{ " + " ".join(f"a{i}: id" for i in range(10_000)) + " }",
        "{ " + "id " * 900 + "}",
        f"{{ ...F0 }} {bomb} fragment F25 on Query {{ id }}",
        '{ echo(text: "' + "x" * 262_000 + '") }',
    ):
        status, body = await post(client, query)
        assert (status, code(body)) == (400, "QUERY_TOO_COMPLEX"), query[:80]


async def test_the_cost_of_a_remembered_document_follows_its_variables(client: Client) -> None:
    """One document passes with small pages, fails with large ones, and passes again."""
    query = "query ($n: Int) { nodes(first: $n) { nodes(first: $n) { id } } }"
    for rows, expected in ((2, 200), (100, 400), (2, 200)):
        status, _ = await post(client, query, variables={"n": rows})
        assert status == expected


async def test_introspection_works_for_the_authenticated(client: Client) -> None:
    """The query that every tool sends passes the limits, once a key is presented."""
    status, body = await post(client, get_introspection_query(specified_by_url=True, input_value_deprecation=True))
    assert status == 200
    assert body["data"]["__schema"]["queryType"]["name"] == "Query"
