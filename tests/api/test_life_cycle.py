"""A token's life over the API: each step is seen by the very next verification and is one event of its history."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.conftest import Issued, Json, Service, eventually
from tests.api.documents import SHOW, create, do

pytestmark = pytest.mark.asyncio(loop_scope="session")

HISTORY = """query ($id: ID!) { token(id: $id) { events(order: OLDEST_FIRST) { nodes {
  id type position version subjectId actor { id kind displayName } ipAddress requestId
  ... on TokenEvent { tokenId token { id } }
  ... on TokenUsed { hint count firstUsedAt lastUsedAt ipAddresses }
  ... on TokenRotated { hint previousHint overlapEndsAt }
  ... on TokenRotationCompleted { hint }
  ... on TokenRevoked { reason }
} } } }"""


async def history(service: Service, by: Issued, token_id: str, *types: str) -> list[Json]:
    """Read the events of a token, those of some types if any are named."""
    nodes = (await service.gql(by.key, HISTORY, {"id": token_id})).data["token"]["events"]["nodes"]
    return [node for node in nodes if not types or node["type"] in types]


async def test_a_token_is_created_and_its_secret_works(service: Service) -> None:
    """The payload holds the secret and the token as it is; the event says who, from where and in which request."""
    admin = await service.token("*:*", name="the admin")
    made = await create(service, admin)
    token, secret = made["token"], made["secret"]
    assert len(secret) == 55
    assert token["hint"] == f"{secret[:10]}…{secret[-4:]}"
    assert (token["kind"], token["status"], token["scopes"]) == ("API_TOKEN", "ACTIVE", ["projects:read"])
    assert token["createdBy"] == {"id": admin.id, "kind": "TOKEN", "displayName": "the admin"}
    assert (token["useCount"], token["lastUsedAt"], token["overlap"], token["expiresAt"]) == ("0", None, None, None)
    assert token["createdAt"].endswith("Z")
    assert await service.verify(secret, f"?organization={admin.organization}&scope=projects:read") == 200
    [event] = await history(service, admin, token["id"], "TokenCreated")
    assert (event["position"], event["version"], event["subjectId"]) == (made["position"], 1, token["id"])
    assert (event["actor"]["id"], event["ipAddress"]) == (admin.id, "127.0.0.1")
    assert event["token"]["id"] == event["tokenId"] == token["id"]
    assert len(event["requestId"]) == 32


async def test_use_becomes_real(service: Service) -> None:
    """Uses by `/verify`, `verifyToken` and GraphQL are counted, dated and written with their addresses."""
    admin = await service.token("*:*")
    made = await create(service, admin)
    key, token_id = made["secret"], made["token"]["id"]
    assert await service.verify(key) == 200
    await service.gql(admin.key, "query ($s: String!) { verifyToken(secret: $s) { valid } }", {"s": key})
    await service.gql(key, "{ viewer { scopes } }")

    async def used_thrice() -> Json | None:
        token: Json = (await service.gql(admin.key, SHOW, {"id": token_id})).data["token"]
        return token if token["useCount"] == "3" else None

    token = await eventually(used_thrice)
    events = await history(service, admin, token_id, "TokenUsed")
    assert sum(int(event["count"]) for event in events) == 3
    assert {event["hint"] for event in events} == {token["hint"]}
    assert {event["version"] for event in events} == {None}
    assert token["lastUsedAt"] == max(event["lastUsedAt"] for event in events) > token["createdAt"]
    assert {address for event in events for address in event["ipAddresses"]} == {"127.0.0.1"}


async def test_an_update_is_seen_at_once(service: Service) -> None:
    """Name, scopes and expiry change together or alone; what is not given stays; no change appends nothing."""
    admin = await service.token("*:*")
    made = await create(service, admin)
    key, token_id = made["secret"], made["token"]["id"]
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    changed = await do(service, admin, "updateToken", id=token_id, scopes=["builds:*"], expiresAt=soon)
    assert (changed["token"]["name"], changed["token"]["scopes"]) == ("ci", ["builds:*"])
    assert datetime.fromisoformat(changed["token"]["expiresAt"]) == datetime.fromisoformat(soon)
    assert int(changed["position"]) > int(made["position"])
    assert await service.verify(key, "?scope=projects:read") == 403
    assert await service.verify(key, "?scope=builds:start") == 200
    renamed = await do(service, admin, "updateToken", id=token_id, name="🏃 ci", expiresAt=None)
    assert (renamed["token"]["name"], renamed["token"]["expiresAt"]) == ("🏃 ci", None)
    again = await do(service, admin, "updateToken", id=token_id, name="🏃 ci", scopes=["builds:*"])
    assert (again["position"], again["userErrors"], again["token"]["id"]) == (None, [], token_id)
    assert len(await history(service, admin, token_id, "TokenUpdated")) == 2


async def test_a_rotation_without_overlap_ends_the_old_secret(service: Service) -> None:
    """The very next verification takes the new secret only; the token keeps its id."""
    admin = await service.token("*:*")
    made = await create(service, admin)
    rotated = await do(service, admin, "rotateToken", id=made["token"]["id"])
    assert rotated["token"]["id"] == made["token"]["id"]
    assert rotated["secret"] != made["secret"]
    assert (rotated["token"]["overlap"], rotated["token"]["status"]) == (None, "ACTIVE")
    assert rotated["token"]["rotatedAt"] > made["token"]["createdAt"]
    assert (await service.verify(made["secret"]), await service.verify(rotated["secret"])) == (401, 200)
    [event] = await history(service, admin, made["token"]["id"], "TokenRotated")
    assert (event["previousHint"], event["overlapEndsAt"]) == (made["token"]["hint"], None)


async def test_an_overlap_is_completed_by_use_and_ended_by_hand(service: Service) -> None:
    """Both secrets work; the first use of the new one is noted once; ending the overlap stops the old one at once."""
    admin = await service.token("*:*")
    made = await create(service, admin)
    token_id, old = made["token"]["id"], made["secret"]
    rotated = await do(service, admin, "rotateToken", id=token_id, overlapSeconds=2_592_000)
    new, overlap = rotated["secret"], rotated["token"]["overlap"]
    assert (overlap["previousHint"], overlap["newSecretUsedAt"]) == (made["token"]["hint"], None)
    assert await service.verify(old) == 200
    for _ in range(3):
        assert await service.verify(new) == 200

    async def completed() -> Json | None:
        shown: Json = (await service.gql(admin.key, SHOW, {"id": token_id})).data["token"]["overlap"]
        return shown if shown["newSecretUsedAt"] and shown["previousLastUsedAt"] else None

    assert (await eventually(completed))["endsAt"] == overlap["endsAt"]
    assert (await service.verify(old), await service.verify(new)) == (200, 200)
    ended = await do(service, admin, "endRotationOverlap", id=token_id)
    assert (ended["token"]["overlap"], ended["userErrors"]) == (None, [])
    assert (await service.verify(old), await service.verify(new)) == (401, 200)
    again = await do(service, admin, "endRotationOverlap", id=token_id)
    assert (again["position"], again["userErrors"]) == (None, [])
    [event] = await history(service, admin, token_id, "TokenRotationCompleted")
    assert (event["hint"], event["actor"]["id"]) == (rotated["token"]["hint"], token_id)
    assert len(await history(service, admin, token_id, "TokenOverlapEnded")) == 1


async def test_the_old_secret_works_until_the_overlap_ends_by_itself(service: Service) -> None:
    """When its time has come the old secret is expired, and the overlap is not shown any more."""
    admin = await service.token("*:*")
    made = await create(service, admin)
    token_id = made["token"]["id"]
    await do(service, admin, "rotateToken", id=token_id, overlapSeconds=2)
    assert await service.verify(made["secret"]) == 200

    async def refused() -> bool:
        return await service.verify(made["secret"]) == 401

    assert await eventually(refused)
    assert (await service.gql(admin.key, SHOW, {"id": token_id})).data["token"]["overlap"] is None
    assert await history(service, admin, token_id, "TokenOverlapEnded") == []


async def test_rotating_during_an_overlap_ends_the_oldest_secret(service: Service) -> None:
    """Of three secrets the last two work."""
    admin = await service.token("*:*")
    made = await create(service, admin)
    second = await do(service, admin, "rotateToken", id=made["token"]["id"], overlapSeconds=60)
    third = await do(service, admin, "rotateToken", id=made["token"]["id"], overlapSeconds=60)
    keys = (made["secret"], second["secret"], third["secret"])
    assert [await service.verify(key) for key in keys] == [401, 200, 200]


async def test_a_revocation_is_for_ever(service: Service) -> None:
    """Every secret stops at once; a second revocation succeeds and appends nothing; nothing else can be done."""
    admin = await service.token("*:*")
    made = await create(service, admin)
    token_id = made["token"]["id"]
    rotated = await do(service, admin, "rotateToken", id=token_id, overlapSeconds=60)
    revoked = await do(service, admin, "revokeToken", id=token_id, reason="left the company")
    assert (revoked["token"]["status"], revoked["token"]["revokedReason"]) == ("REVOKED", "left the company")
    assert (revoked["token"]["overlap"], revoked["userErrors"]) == (None, [])
    assert [await service.verify(key) for key in (made["secret"], rotated["secret"])] == [401, 401]
    before = await service.decided(admin.organization)
    again = await do(service, admin, "revokeToken", id=token_id, reason="another")
    assert (again["position"], again["userErrors"]) == (None, [])
    assert again["token"]["revokedReason"] == "left the company"
    for mutation in ("updateToken", "rotateToken"):
        given = {"name": "x"} if mutation == "updateToken" else {}
        refused = await do(service, admin, mutation, id=token_id, **given)
        assert refused["userErrors"] == [{"code": "TOKEN_NOT_ACTIVE", "field": ["input", "id"]}]
        assert refused["token"] is None
    assert await service.decided(admin.organization) == before
    [event] = await history(service, admin, token_id, "TokenRevoked")
    assert (event["reason"], event["position"]) == ("left the company", revoked["position"])


async def test_a_token_expires_by_itself(service: Service) -> None:
    """From its instant on the key is refused, the status says so, and it cannot be rotated or updated."""
    admin = await service.token("*:*")
    at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    made = await create(service, admin, expiresAt=at)
    token_id = made["token"]["id"]
    assert made["token"]["status"] == "ACTIVE"

    async def refused() -> bool:
        return await service.verify(made["secret"]) == 401

    assert await eventually(refused)
    assert datetime.now(UTC) >= datetime.fromisoformat(at)
    assert (await service.gql(admin.key, SHOW, {"id": token_id})).data["token"]["status"] == "EXPIRED"
    for mutation in ("updateToken", "rotateToken"):
        refusal = await do(service, admin, mutation, id=token_id)
        assert refusal["userErrors"][0]["code"] == "TOKEN_NOT_ACTIVE"
    assert (await do(service, admin, "revokeToken", id=token_id))["token"]["status"] == "REVOKED"


async def test_nodes_of_every_kind_are_found_by_id(service: Service) -> None:
    """`node` finds tokens, events and the organization, each as its own type."""
    admin = await service.token("*:*")
    [event] = await history(service, admin, admin.id, "TokenCreated")
    for identifier, typename in (
        (admin.id, "Token"),
        (event["id"], "TokenCreated"),
        (admin.organization, "Organization"),
    ):
        found = await service.gql(admin.key, "query ($id: ID!) { node(id: $id) { __typename id } }", {"id": identifier})
        assert found.data["node"] == {"__typename": typename, "id": identifier}
