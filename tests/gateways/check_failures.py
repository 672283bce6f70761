"""What becomes of requests when a key is revoked, the service hangs or is gone, and of the connections to it.

`make gateways` runs this with nginx and Caddy, and with Envoy where it is installed.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.conftest import unknown_key
from tests.gateways.running import NGINX, Places, free_port
from tests.gateways.tap import tapped
from tests.gateways.ways import Way, through

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_revocation_holds_for_the_very_next_request(way: Way) -> None:
    """A key that just passed is refused once its revocation was answered."""
    for _ in range(5):
        token = way.living.token("reports:read")
        await way.passes(token.key)
        way.living.revoke(token)
        assert (await way.refuses([("X-API-Key", token.key)])).status == 401


async def test_without_an_answer_nothing_passes(way: Way) -> None:
    """A service that hangs closes the gateway within a second; once it goes on, so does the gateway."""
    key = way.living.token("reports:read").key
    await way.passes(key)
    with way.living.stopped():
        answers = await asyncio.gather(*(way.refuses([("X-API-Key", key)]) for _ in range(4)))
        for answer in answers:
            assert (answer.status, answer.headers.get("Retry-After")) == (503, "1")
            assert answer.seconds < 1.3
    await way.passes(key)


async def test_without_a_service_nothing_passes(way: Way) -> None:
    """A service that is gone closes the gateway at once; once it is back, the gateway needs no reload."""
    key = way.living.token("reports:read").key
    await way.passes(key)
    with way.living.killed():
        for _ in range(3):
            answer = await way.refuses([("X-API-Key", key)])
            assert (answer.status, answer.headers.get("Retry-After")) == (503, "1")
            assert answer.seconds < 0.5
    await way.passes(key)


async def test_what_entri_cannot_say_passes_nothing(way: Way) -> None:
    """Without PostgreSQL the 503 of the service and its Retry-After reach the client; with it the same key passes."""
    key = way.living.token("reports:read").key
    with way.living.without_database():
        answer = await way.refuses([("X-API-Key", key)])
        assert (answer.status, answer.headers.getall("Retry-After")) == (503, ["1"])
        assert answer.seconds < 1.3
    await way.passes(key)


async def test_bodies_and_connections(way: Way, tmp_path: Path) -> None:
    """A body reaches the service behind whole and Entri Tokens never; connections to it are kept, for refusals too."""
    key, body = way.living.token("reports:read").key, b"a body of its own " * 40_000
    async with tapped(way.living.port) as tap:
        places = Places(
            gateway=free_port(), entri=tap.port, upstream=way.upstream.port, organization=way.living.organization
        )
        folder = tmp_path / "configuration"
        async with through(way.gateway, places, folder, living=way.living, upstream=way.upstream) as seen:
            for sent in (body, chunks(body)):
                answer = await seen.send([("X-API-Key", key)], "POST", body=sent)
                assert (answer.status, way.upstream.arrivals[-1].body) == (200, body)
            assert (await seen.refuses([("X-API-Key", unknown_key())], method="POST", body=body[:60_000])).status == 401
            for _ in range(100):
                await seen.passes(key)
                await seen.refuses([("X-API-Key", unknown_key())])
            assert tap.connections <= 2
            for _ in range(4):
                answers = await asyncio.gather(*(seen.send([("X-API-Key", key)]) for _ in range(25)))
                assert [each.status for each in answers] == [200] * 25
            assert tap.connections <= 2 + 25
    assert b"a body of its own" not in tap.asked
    assert tap.asked.count(b"/verify?") == 303
    assert tap.asked.lower().count(b"x-forwarded-for: ") == 303


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    """Send a body whose length is not told beforehand."""
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


async def test_large_requests_pass(way: Way) -> None:
    """What a gateway takes from a client does not stop Entri Tokens from answering about the key."""
    key, long = way.living.token("reports:read").key, "x" * (7_000 if way.gateway is NGINX else 20_000)
    answer = await way.send([("X-API-Key", key), ("Cookie", f"c={long}")], path=f"/?q={long}")
    assert answer.status == 200


async def test_an_upgrade_does_not_spoil_the_connection(way: Way) -> None:
    """A request that wants another protocol is asked about like any other, and so are those after it."""
    key = way.living.token("reports:read").key
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    for _ in range(5):
        assert (await way.refuses([*upgrade, ("X-API-Key", unknown_key())])).status in {401, 403}
        await way.passes(key)
