"""Signing in over HTTP: the one thing that who presents nothing may do, and what becomes of the cookie."""

import re
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from events.members import MemberRole
from service.web.graphql import SIGN_IN_BYTES
from service.web.origins import Origin
from service.web.transport_ws import PROTOCOL
from tests.api.browsers import HOST, PLAIN, cookies_set
from tests.api.conftest import ACCEPT, Answer, Json, Service
from tests.api.doors import Door, door
from tests.api.people import PASSWORD, Someone, again, someone
from tests.api.sockets import Talk

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIGN_IN: Final = "mutation ($input: SignInInput!) { signIn(input: $input) { viewer { id organization } } }"
REAUTHENTICATE: Final = "mutation ($password: String!) { reauthenticate(password: $password) { viewer { id } } }"
PUBLIC: Final = Origin("https", "tokens.example.com", 443)
VALUE: Final = "[A-Za-z0-9_-]{43}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def owner(running: Service) -> Someone:
    """Make an owner, whose session goes on."""
    return await someone(running, MemberRole.OWNER)


@pytest_asyncio.fixture(loop_scope="session")
async def near(service: Service) -> AsyncIterator[Door]:
    """Serve on a loopback host."""
    async with door(service) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def far(service: Service) -> AsyncIterator[Door]:
    """Serve behind a public origin."""
    async with door(service, public=PUBLIC) as opened:
        yield opened


async def post(service: Service, door: Door, body: object, **headers: str) -> Answer:
    """Post a body to that door; headers with `_` for `-`."""
    sent = ACCEPT | {name.replace("_", "-"): value for name, value in headers.items()}
    async with service.session.post(f"{door.url}/graphql", json=body, headers=sent) as answer:
        return Answer(status=answer.status, headers=answer.headers, text=await answer.text())


def body_of(member: Someone, password: str = PASSWORD, query: str = SIGN_IN) -> Json:
    """Write the request that signs a member in."""
    return {"query": query, "variables": {"input": {"email": member.email, "password": password}}}


def set_by(answer: Answer) -> str:
    """Return the one cookie that an answer sets."""
    (value,) = cookies_set(answer.headers)
    return value


async def test_a_sign_in_sets_the_cookie_of_this_machine(service: Service, near: Door, owner: Someone) -> None:
    """On loopback `http` it has its plain name; scripts, other sites and other paths do not get it; it is good."""
    for headers in ({}, {"Origin": near.url}, {"Sec_Fetch_Site": "same-origin"}):
        answer = await post(service, near, body_of(owner), **headers)
        assert answer.data["signIn"]["viewer"]["id"] == owner.id
        assert re.fullmatch(f"{PLAIN}={VALUE}; Path=/; HttpOnly; SameSite=Lax", set_by(answer))
        assert answer.headers["Cache-Control"] == "no-store"
        cookie = set_by(answer).split(";")[0]
        assert cookie.split("=")[1] not in answer.text
        again = await post(service, near, {"query": "{ viewer { id } }"}, Cookie=cookie, Origin=near.url)
        assert again.data == {"viewer": {"id": owner.id}}


async def test_behind_a_public_origin_the_cookie_cannot_be_planted(service: Service, far: Door, owner: Someone) -> None:
    """Its name keeps it to this host and to TLS; the plain one, and the host behind the proxy, mean nothing there."""
    public = "https://tokens.example.com"
    answer = await post(service, far, body_of(owner), Origin=public)
    assert re.fullmatch(f"{HOST}={VALUE}; Path=/; Secure; HttpOnly; SameSite=Lax", set_by(answer))
    value = set_by(answer).split(";")[0].split("=")[1]
    asked = {"query": "{ viewer { id } }"}
    assert (await post(service, far, asked, Cookie=f"{HOST}={value}", Origin=public)).data["viewer"]["id"] == owner.id
    assert (await post(service, far, asked, Cookie=f"{PLAIN}={value}", Origin=public)).status == 401
    for foreign in ("https://app.tokens.example.com", "http://tokens.example.com", "https://tokens.example.com:8443"):
        refused = await post(service, far, asked, Cookie=f"{HOST}={value}", Origin=foreign)
        assert (refused.status, refused.codes) == (403, ["FORBIDDEN"])


async def test_a_wrong_password_sets_nothing(service: Service, near: Door, owner: Someone) -> None:
    """There is no cookie, and no caller for what is asked beneath."""
    answer = await post(service, near, body_of(owner, "not the right one"))
    assert answer.data == {"signIn": {"viewer": None}}
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
    ids=str,
)
async def test_no_foreign_page_signs_anybody_in(
    service: Service, near: Door, owner: Someone, headers: dict[str, str]
) -> None:
    """Else its visitor would work in somebody else's account."""
    answer = await post(service, near, body_of(owner), **headers)
    assert (answer.status, answer.codes) == (403, ["FORBIDDEN"])
    assert "Set-Cookie" not in answer.headers


NOT_SIGN_INS: Final[tuple[object, ...]] = (
    {"query": "{ viewer { id } }"},
    {"query": "{ __typename }"},
    {"query": "{ __schema { types { name } } }"},
    {"query": "mutation { signOut }"},
    {"query": "mutation { __typename }"},
    {"query": REAUTHENTICATE, "variables": {"password": PASSWORD}},
    {"query": "subscription { nothing }"},
    {"query": SIGN_IN.replace("{ signIn", "{ signOut signIn")},
    {"query": SIGN_IN.replace("signIn(", "a: signIn(input: $input) { viewer { id } } b: signIn(")},
    {"query": SIGN_IN + " { viewer { id } }"},
    {"query": SIGN_IN + " query Q { viewer { id } }", "operationName": "Q"},
    {"query": SIGN_IN + " " * SIGN_IN_BYTES},
    {"query": "{"},
    {"query": 7},
    {},
    [],
    [{"query": SIGN_IN}],
    "text",
    None,
)


@pytest.mark.parametrize("body", NOT_SIGN_INS, ids=lambda body: str(body)[:60])
async def test_nobody_may_do_anything_else(service: Service, near: Door, owner: Someone, body: object) -> None:
    """Whatever it is and whatever is wrong with it: 401, in GraphQL's form, with no word about the document."""
    if isinstance(body, dict) and "SignInInput" in str(body.get("query")):
        body = {**body, "variables": body_of(owner)["variables"]}
    answer = await post(service, near, body)
    assert (answer.status, answer.body) == (
        401,
        {"errors": [{"message": "Unauthorized", "extensions": {"code": "UNAUTHENTICATED"}}]},
    )
    assert "Set-Cookie" not in answer.headers


async def test_a_name_for_the_operation_must_be_its_own(service: Service, near: Door, owner: Someone) -> None:
    """A sign-in that names another operation than the document has is told so."""
    answer = await post(service, near, {**body_of(owner), "operationName": "Other"})
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])


@pytest.mark.parametrize("data", [b"not json", b"\xff", b"", b"x" * (SIGN_IN_BYTES + 1)], ids=len)
async def test_nobody_learns_what_is_wrong_with_a_body(service: Service, near: Door, data: bytes) -> None:
    """Bodies that are no JSON, or too large, of another type or over GET, get the same 401."""
    url = f"{near.url}/graphql"
    for content_type in ("application/json", "text/plain"):
        async with service.session.post(url, data=data, headers={"Content-Type": content_type}) as answer:
            assert answer.status == 401
    async with service.session.get(url, params={"query": SIGN_IN}) as answer:
        assert answer.status == 401


async def test_a_sign_in_that_is_not_valid_is_told_what_is_wrong(service: Service, near: Door, owner: Someone) -> None:
    """A front end's author sees the fault, but no names that were not asked for, and no value."""
    answer = await post(service, near, body_of(owner, query=SIGN_IN.replace("organization", "organizatio")))
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])
    assert "organizatio'" in answer.text
    assert "organization" not in answer.text
    variables = {"input": {"email": owner.email, "password": [PASSWORD]}}
    answer = await post(service, near, {"query": SIGN_IN, "variables": variables})
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])
    assert PASSWORD not in answer.text


async def test_a_planted_cookie_is_worth_nothing_after_a_sign_in(service: Service, near: Door, owner: Someone) -> None:
    """Session fixation: whatever cookie the browser had, the one it gets is new, and the old one is no session."""
    planted = "A" * 43
    for before in (planted, owner.cookie):
        headers = {"Cookie": f"{PLAIN}={before}", "Origin": near.url}
        answer = await post(service, near, body_of(owner), **headers)
        assert answer.data["signIn"]["viewer"]["id"] == owner.id
        assert before not in set_by(answer)
    refused = await post(service, near, {"query": "{ viewer { id } }"}, Cookie=f"{PLAIN}={planted}", Origin=near.url)
    assert refused.status == 401


async def test_a_stale_cookie_does_not_keep_a_member_out(service: Service, near: Door, owner: Someone) -> None:
    """A cookie whose session is over lets its browser sign in; where that fails, the cookie goes all the same."""
    owner = await again(service, owner)
    await service.entrances.services.members.sign_out(owner.caller)
    headers = {"Cookie": f"{PLAIN}={owner.cookie}", "Origin": near.url}
    failed = await post(service, near, body_of(owner, "not the right one"), **headers)
    assert failed.data == {"signIn": {"viewer": None}}
    assert set_by(failed).startswith(f"{PLAIN}=; Max-Age=0; ")
    refused = await post(service, near, {"query": "{ viewer { id } }"}, **headers)
    assert refused.status == 401
    assert set_by(refused).startswith(f"{PLAIN}=; Max-Age=0; ")
    entered = await post(service, near, body_of(owner), **headers)
    assert re.fullmatch(f"{PLAIN}={VALUE}; .*", set_by(entered))


async def test_a_new_session_replaces_the_cookie(service: Service, near: Door, owner: Someone) -> None:
    """The password entered again makes a new session; signing out takes its cookie away, and it is no session."""
    owner = await again(service, owner)
    headers = {"Cookie": f"{PLAIN}={owner.cookie}", "Origin": near.url}
    answer = await post(service, near, {"query": REAUTHENTICATE, "variables": {"password": PASSWORD}}, **headers)
    assert answer.data["reauthenticate"]["viewer"]["id"] == owner.id
    renewed = {"Cookie": set_by(answer).split(";")[0], "Origin": near.url}
    asked = {"query": "{ viewer { id } }"}
    assert (await post(service, near, asked, **headers)).status == 401
    assert (await post(service, near, asked, **renewed)).status == 200
    out = await post(service, near, {"query": "mutation { signOut }"}, **renewed)
    assert set_by(out) == f"{PLAIN}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"
    assert (await post(service, near, asked, **renewed)).status == 401


async def test_what_sets_the_cookie_needs_an_answer_of_its_own(service: Service, near: Door, owner: Someone) -> None:
    """Over WebSocket and as server-sent events, by cookie or by key, it is refused before it does anything."""
    key = await service.token("*:*")
    documents = ("mutation { signOut }", "mutation { ...F } fragment F on Mutation { x: signOut }")
    for credential in ({"Cookie": f"{PLAIN}={owner.cookie}", "Origin": near.url}, {"X-API-Key": key.key}):
        for document in documents:
            events = await post(service, near, {"query": document}, **credential, Accept="text/event-stream")
            assert events.status == 200
            assert '"BAD_USER_INPUT"' in events.text
            assert "plain POST" in events.text
            assert "Set-Cookie" not in events.headers
            url = f"{near.url}/graphql"
            async with service.session.ws_connect(url, headers=credential, protocols=(PROTOCOL,)) as ws:
                talk = await Talk(ws).init()
                await talk.subscribe(document)
                told = await talk.hear()
                assert told["type"] == "error"
                assert "plain POST" in told["payload"][0]["message"]
    assert (
        await post(service, near, {"query": "{ viewer { id } }"}, Cookie=f"{PLAIN}={owner.cookie}", Origin=near.url)
    ).status == 200


async def test_nobody_streams(service: Service, near: Door, owner: Someone) -> None:
    """Not even a sign-in is heard where its answer could set no cookie."""
    for body in (body_of(owner), {"query": "subscription { nothing }"}):
        answer = await post(service, near, body, Accept="text/event-stream")
        assert (answer.status, answer.codes) == (401, ["UNAUTHENTICATED"])
