"""GraphQL over WebSocket, on real sockets: who may come in, what is answered, and how it closes."""

import asyncio
from collections import defaultdict
from socket import SO_RCVBUF, SOL_SOCKET
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from service.web.outlet import BOUND_BYTES
from service.web.transport_ws import PROTOCOL
from tests.api.conftest import Service, eventually, unknown_key
from tests.api.documents import do
from tests.api.sockets import FOLLOW, QUERY, abort, nothing_left, outlets, socket, transport_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("name", ["X-API-Key", "x-api-key", "authorization", "Authorization", "upgrade"])
async def test_a_key_is_presented_in_the_first_message_or_in_the_upgrade(service: Service, name: str) -> None:
    """Either way queries are answered once, and then completed."""
    reader = await service.token("events:read")
    value = f"Bearer {reader.key}" if name.lower() == "authorization" else reader.key
    headers = {"X-API-Key": reader.key} if name == "upgrade" else None
    async with socket(service, headers=headers) as talk:
        await talk.init(None if name == "upgrade" else {name: value, "other": 1})
        await talk.subscribe(QUERY)
        assert await talk.hear() == {
            "id": "1",
            "type": "next",
            "payload": {"data": {"viewer": {"scopes": ["events:read"]}}},
        }
        assert await talk.hear() == {"id": "1", "type": "complete"}
    await nothing_left(service)


@pytest.mark.parametrize(
    ("headers", "payload", "code"),
    [
        ({}, None, 4401),
        ({}, {"X-API-Key": "canary"}, 4401),
        ({}, {"X-API-Key": "unknown"}, 4401),
        ({}, {"authorization": "Basic canary"}, 4401),
        ({}, {"X-API-Key": "good", "authorization": "Bearer good"}, 4400),
        ({}, {"X-API-Key": "good", "x-api-key": "good"}, 4400),
        ({}, {"X-API-Key": 7}, 4400),
        ({"X-API-Key": "good"}, {"X-API-Key": "good"}, 4400),
    ],
    ids=str,
)
async def test_without_one_good_key_a_socket_is_closed(
    service: Service, headers: dict[str, str], payload: dict[str, object] | None, code: int
) -> None:
    """The client reads why in the code: 4401 for a key that is not good, 4400 for two of them."""
    keys: dict[object, Any] = {"good": (await service.token("a:b")).key, "unknown": unknown_key()}
    keys["Bearer good"] = f"Bearer {keys['good']}"
    async with socket(service, headers={name: keys[value] for name, value in headers.items()}) as talk:
        sent = payload and {name: keys.get(value, value) for name, value in payload.items()}
        await talk.send(type="connection_init", payload=sent)
        ended, reason = await talk.end()
        assert ended == code
        assert (reason == "Unauthorized") == (code == 4401)
    await nothing_left(service)


async def test_a_bad_key_in_the_upgrade_is_answered_before_it(service: Service) -> None:
    """As over HTTP: 401, and 400 for two of them."""
    with pytest.raises(WSServerHandshakeError) as refused:
        async with socket(service, headers={"X-API-Key": unknown_key()}):
            pass
    assert refused.value.status == 401
    with pytest.raises(WSServerHandshakeError) as refused:
        async with socket(service, headers={"X-API-Key": "a", "Authorization": "Bearer b"}):
            pass
    assert refused.value.status == 400
    broken = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "canary"}
    answer = await service.request("GET", "/graphql", headers=broken)
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])
    assert "canary" not in answer.text


async def test_only_the_one_protocol_is_spoken(service: Service) -> None:
    """The older one, and none, are closed with 4406."""
    for protocols in ((), ("graphql-ws",)):
        async with socket(service, protocols=protocols) as talk:
            assert await talk.end() == (4406, "Subprotocol not acceptable")
    async with socket(service, protocols=("graphql-ws", PROTOCOL)) as talk:
        assert talk.ws.protocol == PROTOCOL


async def test_what_is_no_message_closes_the_socket(service: Service) -> None:
    """Each fault has its code."""
    reader = await service.token("events:read")
    async with socket(service) as talk:
        await talk.subscribe(QUERY)
        assert await talk.end() == (4401, "Unauthorized")
    async with socket(service) as talk:
        await talk.ws.send_bytes(b'{"type":"ping"}')
        assert (await talk.end())[0] == 4400
    async with socket(service) as talk:
        await talk.init({"X-API-Key": reader.key})
        await talk.subscribe(FOLLOW)
        await talk.subscribe(FOLLOW)
        assert await talk.end() == (4409, "Subscriber for 1 already exists")
    async with socket(service) as talk:
        await talk.ws.send_str('{"type":"ping","payload":{"a":"' + "x" * 262_144 + '"}}')
        assert (await talk.end())[0] == 1009
    await nothing_left(service)


async def test_what_a_subscription_is_refused_for_is_told_each_time(service: Service) -> None:
    """An `error` message with its words, for a document that is remembered as for one that is new."""
    reader = await service.token("tokens:read")
    async with socket(service) as talk:
        await talk.init({"X-API-Key": reader.key})
        for _ in range(2):
            await talk.subscribe("subscription { events { nonsense } }")
            told = await talk.hear()
            assert (told["id"], told["type"]) == ("1", "error")
            assert "nonsense" in told["payload"][0]["message"]
            await talk.subscribe(FOLLOW)
            told = await talk.hear()
            assert (told["type"], told["payload"][0]["extensions"]["code"]) == ("error", "FORBIDDEN")
        await talk.subscribe("{ events { nodes { id } } }")
        told = await talk.hear()
        assert told["payload"]["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_history_is_followed_and_resumed(service: Service) -> None:
    """What came before and what comes are one; with the last cursor the next socket goes on where this one was."""
    reader = await service.token("events:read")
    async with socket(service) as talk:
        await talk.init({"X-API-Key": reader.key})
        await talk.subscribe(FOLLOW, **{"from": "0"})
        edges = [(await talk.hear())["payload"]["data"]["events"] for _ in range(2)]
        await service.token("a:b", organization=reader.organization)
        edges.append((await talk.hear())["payload"]["data"]["events"])
        assert [edge["node"]["position"] for edge in edges] == ["1", "2", "3"]
        await talk.send(type="complete", id="1")
        await talk.send(type="ping")
        while (heard := await talk.hear())["type"] == "next":
            pass  # the use of the reader's key, which is written when it is written
        assert heard == {"type": "pong"}
    await service.token("a:b", organization=reader.organization)
    async with socket(service) as talk:
        await talk.init({"X-API-Key": reader.key})
        resume = "subscription ($after: String) { events(after: $after) { node { position } } }"
        await talk.subscribe(resume, after=edges[-1]["cursor"])
        assert (await talk.hear())["payload"]["data"]["events"]["node"]["position"] == "4"
    await nothing_left(service)


async def test_more_operations_than_allowed_are_refused_one_by_one(service: Service) -> None:
    """The eleventh gets an error; the others go on, and one that is completed makes room."""
    reader = await service.token("events:read")
    async with socket(service) as talk:
        await talk.init({"X-API-Key": reader.key})
        for number in range(11):
            await talk.subscribe(FOLLOW, str(number))
        told = await talk.hear()
        assert (told["id"], told["payload"][0]["extensions"]["code"]) == ("10", "RATE_LIMITED")
        await talk.send(type="complete", id="3")
        await talk.subscribe(QUERY, "3")
        assert (await talk.hear())["type"] == "next"
    await nothing_left(service)


async def test_a_revoked_key_closes_its_sockets(service: Service) -> None:
    """With 4401, which clients do not come back from."""
    admin = await service.token("*:*")
    reader = await service.token("events:read", organization=admin.organization)
    async with socket(service) as talk, socket(service, headers={"X-API-Key": reader.key}) as waiting:
        await talk.init({"X-API-Key": reader.key})
        await talk.subscribe(FOLLOW)
        await do(service, admin, "revokeToken", id=reader.id)
        assert await talk.end() == (4401, "Unauthorized")
        assert await waiting.end() == (4401, "Unauthorized")
    await nothing_left(service)


async def test_who_rotates_its_own_key_gets_the_new_secret_first(service: Service) -> None:
    """A mutation is answered although it ends the key that it came with; what else there is ends at once."""
    admin = await service.token("*:*")
    rotate = "mutation ($id: ID!) { rotateToken(input: {id: $id}) { secret userErrors { code } } }"
    async with socket(service) as talk:
        await talk.init({"X-API-Key": admin.key})
        await talk.subscribe(FOLLOW, "2")
        await talk.subscribe(rotate, id=admin.id)
        heard = await talk.hear()
        while heard["id"] != "1":
            heard = await talk.hear()
        assert await service.verify(heard["payload"]["data"]["rotateToken"]["secret"]) == 200
        assert await talk.hear() == {"id": "1", "type": "complete"}
        assert await talk.end() == (4401, "Unauthorized")
    await nothing_left(service)


async def test_who_reads_slowly_is_waited_for_within_bounds(service: Service) -> None:
    """A client that stops reading costs no more than the bound, and in the end gets everything in order."""
    reader = await service.token("events:read")
    for _ in range(28):
        await service.token("a:b", organization=reader.organization)
    entries = " ".join(f"e{number}: entry" for number in range(30))
    follow = f'subscription {{ events(afterPosition: "0") {{ node {{ position {entries} }} }} }}'
    async with socket(service) as talk:
        await talk.init({"X-API-Key": reader.key})
        transport_of(talk).get_extra_info("socket").setsockopt(SOL_SOCKET, SO_RCVBUF, 65_536)
        transport_of(talk).pause_reading()
        for number in range(10):
            await talk.subscribe(follow, str(number))
        (outlet,) = outlets(service.entrances.requests)

        async def is_full() -> bool:
            return not outlet.is_ready()

        assert await eventually(is_full)
        for _ in range(100):  # whatever was ready to be sent has had its turn
            await asyncio.sleep(0)
        assert outlet._transport.get_write_buffer_size() < BOUND_BYTES + 50_000
        waiting = [asyncio.create_task(outlet.wait_ready()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)
        assert not waiting[1].done()  # who gives up takes the wait from nobody else
        transport_of(talk).resume_reading()
        heard: dict[str, list[int]] = defaultdict(list)
        while min(len(heard[str(number)]) for number in range(10)) < 30:
            message = await talk.hear()
            heard[message["id"]].append(int(message["payload"]["data"]["events"]["node"]["position"]))
        await waiting[1]
        assert all(positions == list(range(1, len(positions) + 1)) for positions in heard.values())
    await nothing_left(service)


@pytest.mark.parametrize("state", ["connected", "acknowledged", "subscribed", "asked"])
async def test_a_client_that_vanishes_leaves_nothing(service: Service, state: str) -> None:
    """In whatever state: no session, no stream, no task."""
    reader = await service.token("events:read")
    async with socket(service) as talk:
        if state != "connected":
            await talk.init({"X-API-Key": reader.key})
        if state == "subscribed":
            await talk.subscribe(FOLLOW, **{"from": "0"})
            await talk.hear()
        if state == "asked":
            await talk.subscribe(FOLLOW)
            await talk.subscribe(QUERY, "2")
        abort(talk)
        await nothing_left(service)
