"""Connections that stay open: that they live, and how the process and its clients part; and raw bytes on them."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientPayloadError, WSMsgType

from service.web.streaming import Rhythm
from service.web.transport_ws import PROTOCOL
from tests.api.conftest import PATIENCE_S, Service
from tests.api.sockets import FOLLOW, QUERY, nothing_left, rhythmic

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUIET = 'subscription { events(filter: {types: ["TokenRevoked"]}) { cursor } }'
QUICK = Rhythm(initialisation_s=0.1, beat_s=0.05, closing_s=0.2)


async def test_a_socket_that_asks_for_nothing_is_closed(service: Service) -> None:
    """Without `connection_init` it is 4408."""
    async with rhythmic(service, QUICK) as other, other.talk(None) as talk:
        assert await talk.end() == (4408, "Connection initialisation timeout")


async def test_a_client_that_answers_no_ping_is_dropped_and_one_that_does_is_kept(service: Service) -> None:
    """A quiet socket is asked whether somebody is there; any answer will do."""
    reader = await service.token("events:read")
    async with (
        rhythmic(service, QUICK) as other,
        other.talk(reader.key) as living,
        other.talk(reader.key, autoping=False) as dead,
    ):
        listening = asyncio.create_task(living.hear())  # answers pings meanwhile
        async with asyncio.timeout(PATIENCE_S):
            kinds = [(await dead.ws.receive()).type for _ in range(3)]
        assert kinds == [WSMsgType.PING, WSMsgType.PING, WSMsgType.CLOSED]
        await living.subscribe(QUERY)
        assert (await listening)["type"] == "next"
    await nothing_left(service)


async def test_sockets_are_told_that_the_process_goes_away(service: Service) -> None:
    """After what they asked for is answered: then 1001, which clients come back from, elsewhere."""
    reader = await service.token("events:read", "tokens:read")
    async with (
        rhythmic(service, QUICK) as other,
        other.talk(reader.key) as following,
        other.talk(reader.key) as asking,
    ):
        await following.subscribe(FOLLOW)
        await asking.subscribe('{ tokens(minPosition: "3") { nodes { id } } }')
        await asking.send(type="ping")
        assert await asking.hear() == {"type": "pong"}
        other.requests.close()
        assert await following.end() == (1001, "Going away")
        await service.token("a:b", organization=reader.organization)
        await service.token("a:b", organization=reader.organization)
        assert [(await asking.hear())["type"] for _ in range(2)] == ["next", "complete"]
        assert await asking.end() == (1001, "Going away")
        async with other.talk(None) as late:
            assert await late.end() == (1001, "Going away")
    await nothing_left(service)


async def test_an_event_stream_beats_and_is_cut_off_when_the_process_goes_away(service: Service) -> None:
    """Comments keep it alive; in the end neither `complete` nor the body's end is there, so that nobody believes it."""
    reader = await service.token("events:read")
    headers = {"X-API-Key": reader.key, "Accept": "text/event-stream"}
    async with (
        rhythmic(service, QUICK) as other,
        service.session.post(f"{other.url}/graphql", json={"query": QUIET}, headers=headers) as answer,
    ):
        async with asyncio.timeout(PATIENCE_S):
            assert await answer.content.readexactly(6) == b":\n\n:\n\n"
            other.requests.close()
            with pytest.raises(ClientPayloadError):
                await answer.content.read()
    await nothing_left(service)


@asynccontextmanager
async def raw(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Shake hands by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(service.url.rsplit(":", 1)[1]))
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        "GET /graphql HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"permessage-deflate" not in head
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def masked(first: int, content: bytes) -> bytes:
    """Write a short frame as a client does, with a mask of zeros."""
    return bytes((first, 0x80 | len(content))) + bytes(4) + content


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ((masked(0x81, b"\xff\xfe"),), 1007),
        ((masked(0x80, b"orphan"),), 1002),
        ((masked(0xC1, b"{}"),), 1002),
        ((masked(0x83, b"{}"),), 1002),
        ((masked(0x81, b"[]"),), 4400),
        ((masked(0x01, b'{"type":'), masked(0x89, b"p"), masked(0x80, b"7}")), 4400),
        ((bytes((0x81, 0xFF)) + (2**40).to_bytes(8, "big") + bytes(4),), 1009),
    ],
    ids=["not UTF-8", "continuation of nothing", "reserved bit", "reserved opcode", "array", "fragments", "huge"],
)
async def test_raw_bytes_that_are_no_messages_close_the_socket(
    service: Service, sent: tuple[bytes, ...], code: int
) -> None:
    """By the codes of RFC 6455; a ping among fragments is answered."""
    async with raw(service) as (reader, writer), asyncio.timeout(PATIENCE_S):
        writer.write(b"".join(sent))
        head = await reader.readexactly(2)
        if head[0] == 0x8A:
            assert await reader.readexactly(1) == b"p"
            head = await reader.readexactly(2)
        assert head[0] == 0x88
        assert int.from_bytes(await reader.readexactly(2), "big") == code
    await nothing_left(service)


async def test_a_close_is_answered_in_kind(service: Service) -> None:
    """With the client's own code, and then the connection ends."""
    async with raw(service) as (reader, writer), asyncio.timeout(PATIENCE_S):
        writer.write(masked(0x88, (1000).to_bytes(2, "big")))
        assert await reader.read() == b"\x88\x02\x03\xe8"
