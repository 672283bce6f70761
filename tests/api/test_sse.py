"""GraphQL over server-sent events: the bytes of each answer, its headers, and how a stream ends."""

import asyncio

import orjson
import pytest
from aiohttp import ClientResponse

from tests.api.conftest import PATIENCE_S, Json, Service, unknown_key
from tests.api.documents import do
from tests.api.sockets import FOLLOW, QUERY, nothing_left

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVENTS = {"Accept": "text/event-stream"}
COMPLETE = b"event: complete\ndata:\n\n"


async def event(answer: ClientResponse) -> bytes:
    """Read an event."""
    async with asyncio.timeout(PATIENCE_S):
        return await answer.content.readuntil(b"\n\n")


def position(event: bytes) -> int:
    """Read which position an event is of."""
    head, data, *rest = event.split(b"\n")
    assert (head, rest) == (b"event: next", [b"", b""])
    return int(orjson.loads(data.removeprefix(b"data: "))["data"]["events"]["node"]["position"])


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_history_is_followed_line_by_line(service: Service, method: str) -> None:
    """What came before and what comes are one; lines end with LF alone; nothing on the way may keep or change it."""
    reader = await service.token("events:read")
    asked: Json = (
        {"json": {"query": FOLLOW, "variables": {"from": "0"}}}
        if method == "POST"
        else {"params": {"query": FOLLOW, "variables": '{"from":"0"}'}}
    )
    headers = {**EVENTS, "X-API-Key": reader.key, "X-Request-Id": "mine"}
    async with service.session.request(method, f"{service.url}/graphql", headers=headers, **asked) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["X-Request-Id"] == "mine"
        came = [await event(answer), await event(answer)]
        await service.token("a:b", organization=reader.organization)
        came.append(await event(answer))
        assert [position(one) for one in came] == [1, 2, 3]
        assert b"\r" not in b"".join(came)
        answer.close()
    await nothing_left(service)


async def test_a_query_and_a_mutation_are_one_event(service: Service) -> None:
    """Then the stream is complete."""
    admin = await service.token("*:*")
    create = 'mutation { createToken(input: {name: "a"}) { secret } }'
    for query in (QUERY, create, "{ nonsense }", "subscription { events { nonsense } }"):
        answer = await service.request(
            "POST", "/graphql", json={"query": query}, headers={**EVENTS, "X-API-Key": admin.key}
        )
        assert answer.status == 200
        assert answer.text.endswith(COMPLETE.decode())
        first = answer.text.removesuffix(COMPLETE.decode())
        told = orjson.loads(first.removeprefix("event: next\ndata: ").removesuffix("\n\n"))
        assert ("errors" in told) == ("nonsense" in query)
        assert "nonsense" not in query or "nonsense" in told["errors"][0]["message"]
    await nothing_left(service)


async def test_what_is_wrong_with_the_request_itself_is_told_by_its_status(service: Service) -> None:
    """As over HTTP, before a stream begins."""
    reader = await service.token("events:read")
    good = {**EVENTS, "X-API-Key": reader.key}
    ask = {"query": FOLLOW}
    bad_key = await service.request("POST", "/graphql", json=ask, headers={**EVENTS, "X-API-Key": unknown_key()})
    assert (bad_key.status, bad_key.codes) == (401, ["UNAUTHENTICATED"])
    no_json = await service.request("POST", "/graphql", data=b"{", headers={**good, "Content-Type": "application/json"})
    assert (no_json.status, no_json.codes) == (400, ["BAD_USER_INPUT"])
    create = 'mutation { createToken(input: {name: "a"}) { secret } }'
    write = await service.request("GET", "/graphql", params={"query": create}, headers=good)
    assert (write.status, write.headers["Allow"]) == (405, "POST")
    await nothing_left(service)


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        ("text/event-stream", True),
        ("text/event-stream, multipart/mixed", True),
        ("text/event-stream, */*;q=0.5", True),
        ("application/json;q=0.5, text/event-stream", True),
        ("application/graphql-response+json, application/json, text/event-stream, multipart/mixed", False),
        ("application/json, text/event-stream;q=0.9", False),
        ("text/event-stream;q=0", False),
        ("*/*", False),
    ],
)
async def test_events_come_to_who_prefers_them(service: Service, accept: str, *, is_stream: bool) -> None:
    """A client that takes JSON as well gets JSON."""
    reader = await service.token("events:read")
    headers = {"X-API-Key": reader.key, "Accept": accept}
    answer = await service.request("POST", "/graphql", json={"query": QUERY}, headers=headers)
    assert answer.headers["Content-Type"].startswith("text/event-stream") == is_stream


async def test_a_revoked_key_ends_its_stream(service: Service) -> None:
    """The client is told why, and that it is complete, so that it does not come back with that key."""
    admin = await service.token("*:*")
    reader = await service.token("events:read", organization=admin.organization)
    headers = {**EVENTS, "X-API-Key": reader.key}
    async with service.session.post(f"{service.url}/graphql", json={"query": FOLLOW}, headers=headers) as answer:
        await do(service, admin, "revokeToken", id=reader.id)
        async with asyncio.timeout(PATIENCE_S):
            told = await answer.content.read()
        assert told.endswith(COMPLETE)
        last = told.removesuffix(COMPLETE).removesuffix(b"\n\n").rsplit(b"data: ", 1)[1]
        assert orjson.loads(last)["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    await nothing_left(service)


async def test_a_client_of_http_1_0_gets_no_chunks(service: Service) -> None:
    """It has the bytes as they are, until the connection ends."""
    reader = await service.token("events:read")
    port = int(service.url.rsplit(":", 1)[1])
    source, sink = await asyncio.open_connection("127.0.0.1", port)
    body = orjson.dumps({"query": FOLLOW, "variables": {"from": "0"}})
    sink.write(
        f"POST /graphql HTTP/1.0\r\nAccept: text/event-stream\r\nX-API-Key: {reader.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    async with asyncio.timeout(PATIENCE_S):
        head = await source.readuntil(b"\r\n\r\n")
        assert b"chunked" not in head
        assert position(await source.readuntil(b"\n\n")) == 1
    sink.close()
    await sink.wait_closed()
    await nothing_left(service)
