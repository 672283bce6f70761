"""Keys that are not good, and credentials that are not one: the same answers everywhere, and nothing is recorded."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
import pytest_asyncio

from tests.api.conftest import ACCEPT, Service, eventually, unknown_key
from tests.api.documents import create, do

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNAUTHORIZED: Final = '{"statusCode":401,"message":"Unauthorized","error":"Unauthorized"}'
VIEWER: Final = {"query": "{ viewer { scopes } }"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keys(running: Service) -> dict[str, str]:
    """Make a key of each sort that is not good."""
    admin = await running.token("*:*")
    good, revoked, rotated = [await create(running, admin) for _ in range(3)]
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    expired = (await create(running, admin, expiresAt=soon))["secret"]
    await do(running, admin, "revokeToken", id=revoked["token"]["id"])
    await do(running, admin, "rotateToken", id=rotated["token"]["id"])

    async def has_expired() -> bool:
        return await running.verify(expired) == 401

    assert await eventually(has_expired)
    secret = good["secret"]
    swapped = secret[:20] + ("a" if secret[20] != "a" else "b") + secret[21:]
    return {
        "empty": "",
        "malformed": "canary",
        "truncated": secret[:-1],
        "longer": secret + "0",
        "other prefix": "canary" + secret[6:],
        "other case": secret.swapcase(),
        "wrong checksum": swapped,
        "not ASCII": secret[:-1] + "é",
        "unknown": unknown_key(),
        "revoked": revoked["secret"],
        "rotated": rotated["secret"],
        "expired": expired,
    }


SORTS = (
    "empty",
    "malformed",
    "truncated",
    "longer",
    "other prefix",
    "other case",
    "wrong checksum",
    "not ASCII",
    "unknown",
    "revoked",
    "rotated",
    "expired",
)


@pytest.mark.parametrize("sort", SORTS)
async def test_a_key_that_is_not_good_gets_401(service: Service, keys: dict[str, str], sort: str) -> None:
    """Whatever is wrong with the key, `/verify` and `/graphql` say the same, each in its own form."""
    for headers in ({"X-API-Key": keys[sort]}, {"Authorization": f"Bearer {keys[sort]}"}):
        verified = await service.request("GET", "/verify", headers=headers)
        assert (verified.status, verified.text) == (401, UNAUTHORIZED)
        assert verified.headers["WWW-Authenticate"] == "Bearer"
        answer = await service.request("POST", "/graphql", json=VIEWER, headers={**headers, **ACCEPT})
        assert (answer.status, answer.codes) == (401, ["UNAUTHENTICATED"])
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.body["errors"][0]["message"] == "Unauthorized"
        assert "data" not in answer.body


async def test_keys_that_are_not_good_are_not_used(service: Service, keys: dict[str, str]) -> None:
    """Refused keys leave no trace in the log: no use is recorded of the tokens they were of."""
    admin = await service.token("*:*")
    good = await create(service, admin)
    for key in keys.values():
        await service.verify(key)
    assert await service.verify(good["secret"]) == 200

    async def used() -> str | None:
        found = await service.sql("select type from events where subject = $1 and is_usage", good["token"]["id"])
        return found[0]["type"] if found else None

    assert await eventually(used) == "TokenUsed"  # what came before it has been written too
    hints = [f"{key[:10]}…{key[-4:]}" for sort, key in keys.items() if sort in {"unknown", "revoked", "rotated"}]
    found = await service.sql(
        "select from events where is_usage and convert_from(entry, 'UTF8')::jsonb -> 'payload' ->> 'hint' = any ($1)",
        hints,
    )
    assert found == []


async def test_either_header_presents_a_key(service: Service) -> None:
    """`X-API-Key` and `Authorization: Bearer`, in any case and with spaces around the key, are one and the same."""
    admin = await service.token("*:*")
    for headers in (
        {"X-API-Key": admin.key},
        {"x-api-key": f"  {admin.key}  "},
        {"Authorization": f"Bearer {admin.key}"},
        {"authorization": f"bearer   {admin.key}"},
    ):
        assert (await service.request("GET", "/verify", headers=headers)).status == 200
        assert (await service.request("POST", "/graphql", json=VIEWER, headers=headers)).status == 200


@pytest.mark.parametrize("path", ["/verify", "/verify/any/path", "/graphql"])
async def test_two_credentials_are_none(service: Service, path: str) -> None:
    """Two credentials in any combination are refused with 400, even if they are the same good key."""
    admin = await service.token("*:*")
    for headers in (
        [("X-API-Key", admin.key), ("X-API-Key", admin.key)],
        [("X-API-Key", admin.key), ("Authorization", f"Bearer {admin.key}")],
        [("X-API-Key", ""), ("Authorization", f"Bearer {admin.key}")],
        [("Authorization", f"Bearer {admin.key}"), ("Authorization", "Basic Y2FuYXJ5")],
    ):
        answer = await service.request("POST", path, json=VIEWER, headers=headers)
        assert answer.status == 400
        assert admin.key not in answer.text
        if path == "/graphql":
            assert answer.codes == ["BAD_USER_INPUT"]
        else:
            assert (answer.body["statusCode"], answer.body["error"]) == (400, "Bad Request")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic Y2FuYXJ5", "Token canary", "Bearercanary"])
async def test_other_schemes_present_nothing(service: Service, authorization: str) -> None:
    """An Authorization header of another scheme, or without a key, is no credential."""
    answer = await service.request("GET", "/verify", headers={"Authorization": authorization})
    assert (answer.status, answer.text) == (401, UNAUTHORIZED)
