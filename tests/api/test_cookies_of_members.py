"""A member's session over HTTP: what a cookie is good for, from which pages, and what a key beside it means.

What is refused is refused by the head of the request: in these tests the body never comes.
"""

import pytest
import pytest_asyncio
import structlog

from events.members import MemberRole
from events.refusals import Refused
from service.authorization import operator
from tests.api.browsers import HOST, PLAIN, VIEWER, cookie_of, cookies_set, from_page, without_body
from tests.api.conftest import ACCEPT, Service, unknown_key
from tests.api.people import Someone, someone

pytestmark = pytest.mark.asyncio(loop_scope="session")

CREATE = 'mutation { createToken(input: { name: "planted", scopes: ["a:b"] }) { secret } }'
JSON = ("Content-Type", "application/json")
CLEARED = "entri_session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def owner(running: Service) -> Someone:
    """Sign an owner in."""
    return await someone(running, MemberRole.OWNER)


async def test_a_page_of_ours_acts_for_the_member(service: Service, owner: Someone) -> None:
    """By `Origin`, by `Sec-Fetch-Site`, and by both, in queries and mutations; nothing is said about the cookie."""
    origin, site = {"Origin": service.url}, {"Sec-Fetch-Site": "same-origin"}
    for told in (origin, site, origin | site):
        headers = cookie_of(owner) | told
        answer = await service.request("POST", "/graphql", json={"query": VIEWER}, headers=headers)
        assert answer.data == {"viewer": {"scopes": ["*:*"]}}
        created = await service.request("POST", "/graphql", json={"query": CREATE}, headers=headers)
        assert created.data["createToken"]["secret"] is not None
        assert cookies_set(answer.headers) == cookies_set(created.headers) == []


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Origin", "null")],
        [("Origin", "https://evil.example")],
        [("Origin", "http://evil.127.0.0.1:{port}")],
        [("Origin", "http://localhost:{port}")],
        [("Origin", "http://127.0.0.1:1")],
        [("Origin", "http://127.0.0.1")],
        [("Origin", "https://127.0.0.1:{port}.evil.example")],
        [("Origin", "ftp://127.0.0.1:{port}")],
        [("Origin", "http://127.0.0.1:{port}"), ("Origin", "http://127.0.0.1:{port}")],
        [("Origin", "http://127.0.0.1:{port}"), ("Origin", "https://evil.example")],
        [("Origin", "http://127.0.0.1:{port}"), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", "http://127.0.0.1:{port}"), ("Sec-Fetch-Site", "same-site")],
        [("Sec-Fetch-Site", "none")],
        [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "same-origin")],
        [("Referer", "http://127.0.0.1:{port}/")],
    ],
    ids=str,
)
async def test_another_page_is_refused_by_its_head(
    service: Service, owner: Someone, headers: list[tuple[str, str]]
) -> None:
    """Wherever a request with a good cookie comes from but our own page, its body is not waited for."""
    port = service.url.rsplit(":", 1)[1]
    sent = [JSON, *((name, value.replace("{port}", port)) for name, value in headers), *cookie_of(owner).items()]
    status, told = await without_body(service, sent)
    assert status == 403
    assert "Set-Cookie" not in dict(told)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain; application/json",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/jsonp",
        "application/json; charset=utf-16",
        None,
    ],
)
async def test_what_a_form_can_send_is_refused_by_its_head(
    service: Service, owner: Someone, content_type: str | None
) -> None:
    """Even from our own page: a body that is no JSON is not waited for."""
    sent = [("Origin", service.url), *cookie_of(owner).items()]
    status, _ = await without_body(service, sent + ([] if content_type is None else [("Content-Type", content_type)]))
    assert status == 415


async def test_a_cross_site_form_changes_nothing(service: Service, owner: Someone) -> None:
    """The classical attack, whole: a form on a foreign page whose text happens to be JSON."""
    before = await service.decided(owner.organization)
    headers = {**cookie_of(owner), "Content-Type": "text/plain", "Origin": "https://evil.example"}
    body = '{"query":"mutation{createToken(input:{name:\\"planted\\"}){secret}}","x":"="}'
    for extra in ({}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}):
        answer = await service.request("POST", "/graphql", data=body, headers={**headers, **extra})
        assert (answer.status, answer.codes) == (403, ["FORBIDDEN"])
    answer = await service.request("POST", "/graphql", data=body, headers={**headers, "Origin": service.url})
    assert (answer.status, answer.codes) == (415, ["BAD_USER_INPUT"])
    assert await service.decided(owner.organization) == before


async def test_no_foreign_page_is_ever_allowed(service: Service, owner: Someone) -> None:
    """A preflight is answered like any other method, and no answer has a header that lets another origin in."""
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    preflight = await service.request("OPTIONS", "/graphql", headers=asked)
    assert preflight.status == 405
    for answer in (preflight, await from_page(service, owner, VIEWER)):
        assert [name for name in answer.headers if name.lower().startswith("access-control-")] == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "junk"},
        {"X-API-Key": ""},
        {"X-API-Key": "unknown"},
        {"Authorization": "Bearer unknown"},
        {"Authorization": "Bearer junk"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": ""},
    ],
    ids=str,
)
async def test_a_junk_key_beside_a_good_cookie_is_refused(
    service: Service, owner: Someone, headers: dict[str, str]
) -> None:
    """A key that is presented decides, by the head alone; the cookie, which was not looked at, stays."""
    key = unknown_key()
    sent = {**cookie_of(owner), "Origin": service.url, "Content-Type": "application/json"}
    sent |= {name: value.replace("unknown", key) for name, value in headers.items()}
    status, told = await without_body(service, sent.items())
    assert status == 401
    assert "Set-Cookie" not in dict(told)


async def test_a_good_key_beside_a_cookie_is_the_key(service: Service, owner: Someone) -> None:
    """Whatever the cookie is and wherever the request comes from."""
    key = await service.token("a:b")
    for cookie in (cookie_of(owner)["Cookie"], f"{PLAIN}=junk", f"{PLAIN}=a; {HOST}=b"):
        headers = {"X-API-Key": key.key, "Cookie": cookie, "Origin": "https://evil.example", **ACCEPT}
        answer = await service.request("POST", "/graphql", json={"query": VIEWER}, headers=headers)
        assert answer.data == {"viewer": {"scopes": ["a:b"]}}
        assert cookies_set(answer.headers) == []


@pytest.mark.parametrize("extra", [f"{HOST}={{cookie}}", f"{PLAIN}={{cookie}}", f"{PLAIN}=junk", f"{HOST}=", PLAIN])
async def test_two_cookies_are_refused_by_their_head(service: Service, owner: Someone, extra: str) -> None:
    """One of the two was planted: neither is used, and both are taken away."""
    cookies = [("Cookie", f"{PLAIN}={owner.cookie}"), ("Cookie", extra.format(cookie=owner.cookie))]
    for sent in (cookies, [("Cookie", "; ".join(value for _, value in cookies))]):
        status, told = await without_body(service, [JSON, ("Origin", service.url), *sent])
        assert status == 400
        assert [value.split("=")[0] for name, value in told if name == "Set-Cookie"] == [HOST, PLAIN]


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "text/html"])
async def test_a_cookie_is_no_good_with_get(service: Service, owner: Someone, accept: str) -> None:
    """An address that a browser is made to open is answered as without the cookie, which stays."""
    headers = {**cookie_of(owner), "Accept": accept, "Sec-Fetch-Site": "same-origin", "Origin": service.url}
    for query in (VIEWER, "subscription { events { cursor } }", CREATE):
        answer = await service.request("GET", "/graphql", params={"query": query}, headers=headers)
        assert (answer.status, answer.codes) == (401, ["UNAUTHENTICATED"])
        assert cookies_set(answer.headers) == []


@pytest.mark.parametrize("path", ["/verify", "/verify/any/path", "/log/checkpoint", "/log/key"])
async def test_only_graphql_takes_a_cookie(service: Service, owner: Someone, path: str) -> None:
    """The gateways' question and the log's own routes know keys alone."""
    headers = {**cookie_of(owner), "Origin": service.url, "Sec-Fetch-Site": "same-origin"}
    answer = await service.request("GET", path, headers=headers)
    assert (answer.status, answer.body["message"]) == (401, "Unauthorized")
    assert cookies_set(answer.headers) == []


@pytest.mark.parametrize("cookie", ["", "junk", "A" * 43, "é", "x" * 4_000, '"quoted"'])
async def test_a_cookie_that_is_no_session_is_taken_away(service: Service, cookie: str) -> None:
    """The answer is that of a key that is not good, and the browser forgets the cookie."""
    headers = {"Origin": service.url, "Cookie": f"{PLAIN}={cookie}", **ACCEPT}
    answer = await service.request("POST", "/graphql", json={"query": VIEWER}, headers=headers)
    assert (answer.status, answer.codes) == (401, ["UNAUTHENTICATED"])
    assert answer.body["errors"][0]["message"] == "Unauthorized"
    assert cookies_set(answer.headers) == [CLEARED]
    if cookie:
        assert cookie not in answer.text


async def test_a_session_that_is_over_is_taken_away(service: Service) -> None:
    """Signed out, removed, or the password changed: the next request gets 401, and the browser forgets the cookie."""
    members = service.entrances.services.members
    owner = await someone(service, MemberRole.OWNER)
    out, removed = [await someone(service, MemberRole.MEMBER, organization=owner.organization) for _ in range(2)]
    await members.sign_out(out.caller)
    assert not isinstance(await members.remove(operator(owner.organization), member_id=removed.id), Refused)
    assert not isinstance(await members.reset_password(owner.id), Refused)
    for member in (out, removed, owner):
        answer = await from_page(service, member, VIEWER)
        assert (answer.status, answer.codes) == (401, ["UNAUTHENTICATED"])
        assert cookies_set(answer.headers) == [CLEARED]


async def test_a_member_sees_its_own_organization(service: Service, owner: Someone) -> None:
    """What a cookie shows is the member's, and another organization's token does not exist for it."""
    foreign = await service.token("*:*")
    query = "query ($id: ID!) { organization { id } token(id: $id) { id } }"
    answer = await from_page(service, owner, query, id=foreign.id)
    assert answer.data == {"organization": {"id": owner.organization}, "token": None}


async def test_a_role_holds_what_it_holds(service: Service, owner: Someone) -> None:
    """A member that may not is told so, as a key is."""
    auditor = await someone(service, MemberRole.AUDITOR, organization=owner.organization)
    answer = await from_page(service, auditor, CREATE)
    assert answer.codes == ["FORBIDDEN"]


async def test_cookies_are_in_no_sink(service: Service, owner: Someone) -> None:
    """Good, junk, doubled, from a foreign page or beside a key: no answer, no log line and no metric shows one."""
    junk = "canary" + "A" * 37
    said = []
    with structlog.testing.capture_logs() as lines:
        for cookie in (owner.cookie, junk, junk + '"', f"{junk}; {HOST}={owner.cookie}"):
            for extra in (
                {},
                {"Origin": "https://evil.example"},
                {"X-API-Key": "junk"},
                {"Accept": "text/event-stream"},
            ):
                for path in ("/graphql", "/verify", "/log/key", "/nowhere"):
                    headers = {"Origin": service.url, "Cookie": f"{PLAIN}={cookie}", **extra}
                    answer = await service.request("POST", path, json={"query": VIEWER}, headers=headers)
                    said.append(f"{answer.headers} {answer.text}")
        said.append((await service.request("GET", "/metrics")).text)
    said.append(str(lines))
    assert [text for text in said if owner.cookie in text or "canary" in text] == []
