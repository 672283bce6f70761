"""Who gets through a gateway that runs as its page says, and what the service behind sees of them.

`make gateways` runs this with nginx and Caddy, and with Envoy where it is installed.
"""

from pathlib import Path

import pytest

from tests.api.conftest import unknown_key
from tests.gateways.running import ENVOY, OLD_ENVOY, Places, free_port
from tests.gateways.ways import Headers, Way, through

pytestmark = pytest.mark.asyncio(loop_scope="session")

OURS = ("organization", "token", "kind", "scopes")
UNAUTHORIZED = '{"statusCode":401,"message":"Unauthorized","error":"Unauthorized"}'
FORBIDDEN = '{"statusCode":403,"message":"Forbidden resource","error":"Forbidden"}'


async def test_a_good_key_passes(way: Way) -> None:
    """The service behind gets the request as it was, whose key it had, and not the key."""
    token = way.living.token("reports:read", "reports:write")
    presented = [("X-API-Key", token.key)], [("Authorization", f"Bearer {token.key}")]
    for headers in presented:
        answer = await way.send([*headers, ("Accept", "x/y")], "DELETE", path="/orders/a%2Fb?page=2&organization=org_x")
        assert (answer.status, answer.text) == (200, "from behind")
        arrived = way.upstream.arrivals[-1]
        assert (arrived.method, arrived.path) == ("DELETE", "/orders/a%2Fb?page=2&organization=org_x")
        assert [arrived.headers[f"X-Entri-{name}"] for name in OURS] == [
            way.living.organization,
            token.id,
            "API_TOKEN",
            "reports:read reports:write",
        ]
        assert arrived.headers["Accept"] == "x/y"
        assert token.key not in str(arrived.headers)


@pytest.mark.parametrize(
    "name", ["X-Entri-{}", "x-entri-{}", "X_Entri_{}", "X-Entri_{}", "X_Entri-{}"], ids=lambda name: name.format("")
)
async def test_what_a_client_says_about_itself_never_arrives(way: Way, name: str) -> None:
    """However a client writes our headers, the service behind sees those of the answer or nothing at all."""
    token = way.living.token("reports:read")
    forged = [(name.format(each), "forged") for each in ("Organization", "Token", "Kind", "Scopes")]
    before = len(way.upstream.arrivals)
    answer = await way.send([*forged, ("X-API-Key", token.key)])
    arrived = way.upstream.arrivals[before:]
    assert (answer.status, len(arrived)) in {(200, 1), (400, 0)}
    assert "forged" not in str([one.headers for one in arrived])
    assert [one.headers["X-Entri-Token"] for one in arrived] in ([token.id], [])


async def test_an_empty_header_of_ours_does_not_leave_the_clients(way: Way, tmp_path: Path) -> None:
    """A key without scopes has none at the service behind, whatever the client says."""
    token = way.living.token()
    places = Places(
        gateway=free_port(),
        entri=way.living.port,
        upstream=way.upstream.port,
        organization=way.living.organization,
        scope="",
    )
    async with through(
        way.gateway, places, tmp_path / "configuration", living=way.living, upstream=way.upstream
    ) as without_scope:
        answer = await without_scope.send([("X-API-Key", token.key), ("X-Entri-Scopes", "reports:write")])
    assert answer.status == 200
    assert not any(way.upstream.arrivals[-1].headers.getall("X-Entri-Scopes", []))


async def test_a_client_cannot_have_our_headers_dropped(way: Way) -> None:
    """A header that Connection names is not passed on by many proxies: ours arrive, or the request does not."""
    token = way.living.token("reports:read")
    before = len(way.upstream.arrivals)
    await way.send([("X-API-Key", token.key), ("Connection", "keep-alive, X-Entri-Scopes, x-entri-organization")])
    for arrived in way.upstream.arrivals[before:]:
        assert arrived.headers["X-Entri-Scopes"] == "reports:read"
        assert arrived.headers["X-Entri-Organization"] == way.living.organization


async def test_a_key_that_is_not_good_is_told_so(way: Way) -> None:
    """None, an unknown, a malformed, a revoked and another organization's get the same 401 and no further."""
    revoked = way.living.token("reports:read")
    way.living.revoke(revoked)
    keys = [unknown_key(), "nonsense", revoked.key, way.living.foreign_key]
    headers: list[Headers] = [[], *([("X-API-Key", key)] for key in keys), [("Authorization", f"Bearer {keys[0]}")]]
    for each in headers:
        answer = await way.refuses(each)
        assert (answer.status, answer.text) == (401, UNAUTHORIZED)
        assert answer.headers.getall("WWW-Authenticate") == ["Bearer"]
        assert answer.headers["Content-Type"].startswith("application/json")
        assert answer.headers.getall("Cache-Control") == ["no-store"]
        assert "Retry-After" not in answer.headers


async def test_a_key_without_the_scope_is_forbidden(way: Way) -> None:
    """A good key that may not do this gets 403."""
    answer = await way.refuses([("X-API-Key", way.living.token("reports:write").key)])
    assert (answer.status, answer.text) == (403, FORBIDDEN)
    assert answer.headers.getall("Cache-Control") == ["no-store"]


async def test_two_keys_are_refused(way: Way) -> None:
    """Two credentials in one request never get through, in any combination."""
    key = way.living.token("reports:read").key
    bearer = f"Bearer {key}"
    for headers in (
        [("X-API-Key", key), ("X-API-Key", key)],
        [("X-API-Key", key), ("X-API-Key", unknown_key())],
        [("X-API-Key", unknown_key()), ("X-API-Key", key)],
        [("X-API-Key", key), ("Authorization", bearer)],
        [("Authorization", bearer), ("Authorization", bearer)],
    ):
        answer = await way.refuses(headers)
        assert answer.status in {400, 401}
        assert "Retry-After" not in answer.headers


async def test_a_client_cannot_choose_another_organization(way: Way) -> None:
    """The query of a request does not change what is asked about its key."""
    foreign = way.living.foreign_key
    other = "organization=org_01jd0000000000000000000000"
    for path in (f"/?{other}", f"/verify?{other}", "/orders?scope=", f"/x#&{other}", f"/%3F{other}"):
        answer = await way.refuses([("X-API-Key", foreign)], path=path)
        assert answer.status in {400, 401}


async def test_the_question_itself_is_not_for_clients(way: Way) -> None:
    """No path of the gateway leads to Entri Tokens."""
    for path in ("/_entri", "/verify", "/graphql", "/livez", "/readyz", "/metrics"):
        assert (await way.refuses([], path=path)).status in {401, 404}


async def test_envoy_before_1_38(way: Way, tmp_path: Path) -> None:
    """The line for older releases of Envoy asks the same, but of a query that names an organization itself."""
    if way.gateway is not ENVOY:
        pytest.skip("about Envoy alone")
    key = way.living.token("reports:read").key
    places = Places(
        gateway=free_port(),
        entri=way.living.port,
        upstream=way.upstream.port,
        organization=way.living.organization,
    )
    folder = tmp_path / "configuration"
    async with through(OLD_ENVOY, places, folder, living=way.living, upstream=way.upstream) as old:
        await old.passes(key)
        answer = await old.send([("X-API-Key", key)], "DELETE", path="/orders?page=2&sort=name")
        assert (answer.status, way.upstream.arrivals[-1].path) == (200, "/orders?page=2&sort=name")
        named = f"/?a=1&organization={way.living.organization}"
        assert (await old.refuses([("X-API-Key", key)], path=named)).status == 400
        for path in ("/orders?page=2", "/", "/?organization=x"):
            assert (await old.refuses([("X-API-Key", way.living.foreign_key)], path=path)).status == 401
