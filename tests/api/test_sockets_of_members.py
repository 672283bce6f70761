"""Members over WebSocket and server-sent events: whose page may open one, and that it ends with the session."""

import asyncio
from collections.abc import Mapping

import pytest
import pytest_asyncio
from aiohttp import WSServerHandshakeError

from events.members import MemberRole
from events.refusals import Refused
from service.authorization import operator
from tests.api.browsers import HOST, PLAIN, cookie_of
from tests.api.conftest import PATIENCE_S, Service, unknown_key
from tests.api.people import Someone, someone
from tests.api.sockets import FOLLOW, QUERY, nothing_left, socket

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def owner(running: Service) -> Someone:
    """Sign an owner in."""
    return await someone(running, MemberRole.OWNER)


def own_page(service: Service, member: Someone) -> dict[str, str]:
    """Write what a browser sends with an upgrade that a page of ours asks for."""
    return {"Origin": service.url, **cookie_of(member)}


async def test_a_page_of_ours_needs_no_key(service: Service, owner: Someone) -> None:
    """The cookie that comes with the upgrade is who the socket is."""
    async with socket(service, headers=own_page(service, owner)) as talk:
        await talk.init()
        await talk.subscribe(QUERY)
        assert (await talk.hear())["payload"] == {"data": {"viewer": {"scopes": ["*:*"]}}}
    await nothing_left(service)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://evil.127.0.0.1"},
        {"Origin": "{url}", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "{url}", "Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
async def test_a_foreign_page_cannot_take_a_socket_over(
    service: Service, owner: Someone, headers: Mapping[str, str]
) -> None:
    """An upgrade with a good cookie that another page asks for is refused before it; so is one that says nothing."""
    sent = {name: value.replace("{url}", service.url) for name, value in headers.items()}
    with pytest.raises(WSServerHandshakeError) as refused:
        async with socket(service, headers={**cookie_of(owner), **sent}):
            pass
    assert refused.value.status == 403


async def test_two_cookies_open_no_socket(service: Service, owner: Someone) -> None:
    """One of them was planted."""
    headers = {"Origin": service.url, "Cookie": f"{PLAIN}={owner.cookie}; {HOST}={owner.cookie}"}
    with pytest.raises(WSServerHandshakeError) as refused:
        async with socket(service, headers=headers):
            pass
    assert refused.value.status == 400


async def test_a_key_decides_whatever_cookie_comes(service: Service, owner: Someone) -> None:
    """In the upgrade's header or in the first message, good or not; without a cookie any page may bring a key."""
    reader = await service.token("events:read")
    page = own_page(service, owner)
    foreign = {"Origin": "https://app.example"}
    for headers, payload in (
        ({**page, "X-API-Key": reader.key}, None),
        ({**cookie_of(owner), **foreign, "X-API-Key": reader.key}, None),
        (page, {"X-API-Key": reader.key}),
        (foreign, {"X-API-Key": reader.key}),
    ):
        async with socket(service, headers=headers) as talk:
            await talk.init(payload)
            await talk.subscribe(QUERY)
            assert (await talk.hear())["payload"] == {"data": {"viewer": {"scopes": ["events:read"]}}}
    for junk in ("", "junk", unknown_key()):
        async with socket(service, headers=page) as talk:
            await talk.send(type="connection_init", payload={"X-API-Key": junk})
            assert await talk.end() == (4401, "Unauthorized")
        with pytest.raises(WSServerHandshakeError) as refused:
            async with socket(service, headers={**page, "X-API-Key": junk}):
                pass
        assert refused.value.status == 401
    await nothing_left(service)


@pytest.mark.parametrize("cookie", ["junk", "A" * 43, ""])
async def test_a_cookie_that_is_no_session_closes_the_socket(service: Service, cookie: str) -> None:
    """The page reads why in the code, as for a key."""
    async with socket(service, headers={"Origin": service.url, "Cookie": f"{PLAIN}={cookie}"}) as talk:
        await talk.send(type="connection_init")
        assert await talk.end() == (4401, "Unauthorized")
    await nothing_left(service)


@pytest.mark.parametrize("how", ["signed out", "signed out everywhere", "removed", "password reset"])
async def test_streams_end_with_the_session(service: Service, owner: Someone, how: str) -> None:
    """Before the change is answered nothing more is sent, and the socket is closed with 4401, as for a key."""
    members = service.entrances.services.members
    auditor = await someone(service, MemberRole.AUDITOR, organization=owner.organization)
    async with (
        socket(service, headers=own_page(service, auditor)) as talk,
        socket(service, headers=own_page(service, owner)) as other,
    ):
        for one in (talk, other):
            await one.init()
            await one.subscribe(FOLLOW, **{"from": "0"})
            assert (await one.hear())["type"] == "next"
        match how:
            case "removed":
                assert not isinstance(await members.remove(operator(owner.organization), member_id=auditor.id), Refused)
            case "password reset":
                assert not isinstance(await members.reset_password(auditor.id), Refused)
            case _:
                await members.sign_out(auditor.caller, everywhere=how == "signed out everywhere")
        assert await talk.end() == (4401, "Unauthorized")
        await other.subscribe(QUERY, "2")
        async with asyncio.timeout(PATIENCE_S):
            while (await other.hear()).get("id") != "2":
                pass
    await nothing_left(service)


async def test_a_lower_role_ends_what_it_may_not_follow(service: Service, owner: Someone) -> None:
    """The session goes on, and the stream ends with the reason, as for a key that lost a scope."""
    members = service.entrances.services.members
    auditor = await someone(service, MemberRole.AUDITOR, organization=owner.organization)
    async with socket(service, headers=own_page(service, auditor)) as talk:
        await talk.init()
        await talk.subscribe(FOLLOW, **{"from": "0"})
        assert (await talk.hear())["type"] == "next"
        done = await members.change_role(operator(owner.organization), member_id=auditor.id, role=MemberRole.MEMBER)
        assert not isinstance(done, Refused)
        while (told := await talk.hear())["type"] == "next":
            pass
        assert told["payload"][0]["extensions"]["code"] == "FORBIDDEN"
        await talk.subscribe("{ viewer { scopes } }", "2")
        scopes = (await talk.hear())["payload"]["data"]["viewer"]["scopes"]
        assert "events:read" not in scopes
    await nothing_left(service)


async def test_events_over_post_end_with_the_session(service: Service, owner: Someone) -> None:
    """Server-sent events by cookie: the head's rules are those of any POST, and the end is told in the stream."""
    auditor = await someone(service, MemberRole.AUDITOR, organization=owner.organization)
    headers = {**own_page(service, auditor), "Accept": "text/event-stream"}
    body = {"query": FOLLOW, "variables": {"from": "0"}}
    foreign = await service.request(
        "POST", "/graphql", json=body, headers={**headers, "Origin": "https://evil.example"}
    )
    assert foreign.status == 403
    async with service.session.post(f"{service.url}/graphql", json=body, headers=headers) as answer:
        assert answer.status == 200
        assert await answer.content.readline() == b"event: next\n"
        await service.entrances.services.members.sign_out(auditor.caller)
        async with asyncio.timeout(PATIENCE_S):
            rest = await answer.content.read()
        assert b'"UNAUTHENTICATED"' in rest
    await nothing_left(service)
