"""`/verify` and the plain routes beside it: statuses, headers and bodies that gateways rely on byte for byte."""

import pytest

from tests.api.conftest import Service
from tests.api.documents import create

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNAUTHORIZED = '{"statusCode":401,"message":"Unauthorized","error":"Unauthorized"}'
FORBIDDEN = '{"statusCode":403,"message":"Forbidden resource","error":"Forbidden"}'
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]


@pytest.mark.parametrize("path", ["/verify", "/verify/", "/verify/a/b%2Fc/../d", "/verify/verify"])
@pytest.mark.parametrize("method", METHODS)
async def test_any_method_and_path_is_answered(service: Service, method: str, path: str) -> None:
    """A good key gets 200, an empty body and the headers; none gets 401 and its body, which HEAD leaves out."""
    token = await service.token("projects:read", "builds:*")
    good = await service.request(
        method, path, headers={"X-API-Key": token.key}, data=b"ignored" if method == "POST" else None
    )
    assert (good.status, good.text) == (200, "")
    names = ("X-Entri-Organization", "X-Entri-Token", "X-Entri-Kind", "X-Entri-Scopes", "Cache-Control")
    values = [good.headers[name] for name in names]
    assert values == [token.organization, token.id, "API_TOKEN", "projects:read builds:*", "no-store"]
    none = await service.request(method, path)
    assert (none.status, none.text) == (401, "" if method == "HEAD" else UNAUTHORIZED)
    assert none.headers["Content-Length"] == str(len(UNAUTHORIZED))
    assert none.headers["Content-Type"].startswith("application/json")
    assert (none.headers["Cache-Control"], none.headers["WWW-Authenticate"]) == ("no-store", "Bearer")
    assert not any(name.startswith("X-Entri") for name in none.headers)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("?scope=", 200),
        ("?scope=projects:read", 200),
        ("?scope=projects:read+builds:start", 200),
        ("?scope=projects:read,builds:start", 200),
        ("?scope=projects:read&scope=builds:start", 200),
        ("?scope=projects:write", 403),
        ("?scope=projects:read+projects:write", 403),
        ("?scope=projects:read&scope=projects:write", 403),
        ("?scope=projects:*", 403),
        ("?scope=*:*", 403),
        ("?environment=PRODUCTION", 403),
        ("?environment=SANDBOX&scope=projects:read", 403),
        ("?organization=OWN", 200),
        ("?organization=OWN&scope=projects:read", 200),
        ("?organization=OWN&scope=projects:write", 403),
        ("?organization=OTHER", 401),
        ("?organization=OTHER&scope=projects:write", 401),
        ("?organization=org_01jd0000000000000000000000", 401),
        ("?organization=", 400),
        ("?organization=canary", 400),
        ("?organization=OWN%00", 400),
        ("?organization=tok_01jd0000000000000000000000", 400),
        ("?organization=OWN&organization=OTHER", 400),
        ("?organization=OWN&organization=OWN", 400),
        ("?environment=canary", 400),
        ("?environment=PRODUCTION&environment=STAGING", 400),
        ("?scope=canary", 400),
        ("?scope=projects:read&scope=canary", 400),
        ("?scope=projects:read%00", 400),
        ("?scope=tokens:canary", 400),
        ("?scopes=canary:read", 400),
        ("?Scope=canary:read", 400),
        ("?scope=%ED%A0%80", 400),
        ("?scope=" + "projects:read+" * 100, 200),
        ("?scope=" + "projects:read+" * 101, 400),
    ],
)
async def test_the_query_says_what_the_key_must_be_good_for(service: Service, query: str, status: int) -> None:
    """Every scope named must be held; others' keys are unknown; what is not understood is 400, unquoted."""
    token = await service.token("projects:read", "builds:*")
    asked = query.replace("OWN", token.organization).replace("OTHER", await service.organization())
    answer = await service.request("GET", f"/verify{asked}", headers={"X-API-Key": token.key})
    assert answer.status == status
    assert answer.headers["Cache-Control"] == "no-store"
    assert "canary" not in answer.text
    assert answer.text == {200: "", 401: UNAUTHORIZED, 403: FORBIDDEN}.get(status, answer.text)
    if status == 400:
        assert (answer.body["statusCode"], answer.body["error"]) == (400, "Bad Request")


async def test_below_verify_the_query_is_also_the_asked_requests(service: Service) -> None:
    """A gateway that appends path and query is answered; what it asks itself still holds."""
    token = await service.token("projects:read")
    assert await service.verify(token.key, "/api/items?page=2&sort=name") == 200
    assert await service.verify(token.key, "/api/items?page=2&scope=projects:write") == 403
    assert await service.verify(token.key, f"/api?page=2&organization={await service.organization()}") == 401
    assert await service.verify(token.key, "/api?page=2&scope=canary") == 400


async def test_only_good_keys_are_told_to_the_service_behind(service: Service) -> None:
    """A key that lacks a scope is refused without a word on whose it is."""
    token = await service.token("projects:read")
    answer = await service.request("GET", "/verify?scope=a:b", headers={"X-API-Key": token.key})
    assert not any(name.startswith("X-Entri") for name in answer.headers)
    assert answer.headers["Content-Type"].startswith("application/json")


async def test_a_token_without_scopes_has_an_empty_header(service: Service) -> None:
    """The header is always there, so that a client's own header of that name is never passed on by a gateway."""
    admin = await service.token("*:*")
    made = await create(service, admin, scopes=[])
    answer = await service.request("GET", "/verify", headers={"X-API-Key": made["secret"]})
    assert (answer.status, answer.headers["X-Entri-Scopes"]) == (200, "")


@pytest.mark.parametrize("path", ["/", "/verifyx", "/graphql/", "/canary?canary=1", "/.env", "/metrics/x", "/%00"])
async def test_an_unknown_route_is_404_in_json(service: Service, path: str) -> None:
    """What is not served says so in the form of every plain answer, without quoting the path."""
    answer = await service.request("GET", path)
    assert answer.body == {"statusCode": 404, "message": "Not Found", "error": "Not Found"}
    assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_another_method_is_405_in_json(service: Service, path: str) -> None:
    """A route that exists names its methods."""
    answer = await service.request("POST", path)
    assert (answer.status, answer.body["statusCode"]) == (405, 405)
    assert answer.headers["Allow"] == "GET,HEAD"


async def test_operators_routes_need_no_key(service: Service) -> None:
    """The process is alive and ready, and measures what it answers, by routes and not by paths."""
    assert (await service.request("GET", "/livez")).text == "ok\n"
    ready = await service.request("GET", "/readyz?verbose")
    assert (ready.status, ready.text.splitlines()[-1]) == (200, "ok")
    assert "database: ok" in ready.text
    metrics = (await service.request("GET", "/metrics")).text
    assert 'entri_verifications_total{outcome="VALID"}' in metrics
    assert 'route="/verify/{rest}"' in metrics or 'route="/livez"' in metrics
    assert "tok_" not in metrics
    assert "org_" not in metrics
