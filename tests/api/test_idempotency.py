"""Idempotency keys: a retry gets the same answer and the same secret, once, for its own principal and input only."""

import asyncio

import pytest

from tests.api.conftest import Issued, Json, Service
from tests.api.documents import CREATE, ROTATE, create, do

pytestmark = pytest.mark.asyncio(loop_scope="session")

REUSED = [{"code": "IDEMPOTENCY_KEY_REUSED", "field": ["input", "idempotencyKey"]}]


async def tried(service: Service, by: Issued, **given: object) -> Json:
    """Create a token and return the payload, refused or not."""
    payload: Json = (await service.gql(by.key, CREATE, {"input": {"name": "ci", **given}})).data["createToken"]
    return payload


def reasons(payload: Json) -> list[Json]:
    """Give the refusals of a payload without their words."""
    return [{"code": error["code"], "field": error["field"]} for error in payload["userErrors"]]


async def test_a_retry_of_a_creation_gets_the_same_secret(service: Service) -> None:
    """Token, secret and position are the same, and one token was made."""
    admin = await service.token("*:*")
    first = await create(service, admin, idempotencyKey="once")
    before = await service.decided(admin.organization)
    again = await create(service, admin, idempotencyKey="once")
    assert again == first
    assert again["secret"] is not None
    assert await service.decided(admin.organization) == before


async def test_a_retry_of_a_rotation_gets_the_same_secret(service: Service) -> None:
    """A retry rotates nothing and hands out the secret of the first attempt."""
    admin = await service.token("*:*")
    token_id = (await create(service, admin))["token"]["id"]
    first = await do(service, admin, "rotateToken", id=token_id, overlapSeconds=60, idempotencyKey="once")
    before = await service.decided(admin.organization)
    again = await do(service, admin, "rotateToken", id=token_id, overlapSeconds=60, idempotencyKey="once")
    assert again == first
    assert await service.decided(admin.organization) == before
    assert await service.verify(again["secret"]) == 200


async def test_twenty_at_once_make_one_token(service: Service) -> None:
    """Identical requests that race yield one token, and all of them its secret."""
    admin = await service.token("*:*")
    payloads = await asyncio.gather(*(create(service, admin, idempotencyKey="race") for _ in range(20)))
    assert all(payload == payloads[0] for payload in payloads)
    assert await service.verify(payloads[0]["secret"]) == 200
    assert len(await service.decided(admin.organization)) == 3


async def test_twenty_at_once_rotate_once(service: Service) -> None:
    """Identical rotations that race yield one new secret."""
    admin = await service.token("*:*")
    token_id = (await create(service, admin))["token"]["id"]
    given = {"id": token_id, "overlapSeconds": 60, "idempotencyKey": "race"}
    payloads = await asyncio.gather(*(do(service, admin, "rotateToken", **given) for _ in range(20)))
    assert all(payload == payloads[0] for payload in payloads)
    assert (await service.decided(admin.organization)).count(("TokenRotated", token_id)) == 1


async def test_a_key_is_bound_to_its_input(service: Service) -> None:
    """Another input or another command under the same key is refused, in a race too, and appends nothing."""
    admin = await service.token("*:*")
    made = await create(service, admin, idempotencyKey="bound", scopes=["a:b"])
    token_id = made["token"]["id"]
    await do(service, admin, "rotateToken", id=token_id, idempotencyKey="rotation")
    before = await service.decided(admin.organization)
    for other in ({"name": "other"}, {"scopes": ["a:c"]}, {"expiresAt": "2999-01-01T00:00:00Z"}):
        assert reasons(await tried(service, admin, idempotencyKey="bound", **{"scopes": ["a:b"], **other})) == REUSED
    rotated = await do(service, admin, "rotateToken", id=token_id, idempotencyKey="bound")
    assert (rotated["userErrors"], rotated["token"]) == (REUSED, None)
    for changed in ({"overlapSeconds": 1}, {"id": admin.id}):
        given = {"id": token_id, "idempotencyKey": "rotation", **changed}
        assert (await do(service, admin, "rotateToken", **given))["userErrors"] == REUSED
    assert reasons(await tried(service, admin, idempotencyKey="rotation")) == REUSED
    assert await service.decided(admin.organization) == before
    racers = await asyncio.gather(*(tried(service, admin, name=f"{n}", idempotencyKey="r") for n in range(5)))
    assert sorted(len(racer["userErrors"]) for racer in racers) == [0, 1, 1, 1, 1]


async def test_a_refused_attempt_does_not_use_the_key_up(service: Service) -> None:
    """After a refusal the corrected input may come under the same key."""
    admin = await service.token("*:*")
    assert (await tried(service, admin, name="", idempotencyKey="fix"))["userErrors"][0]["code"] == "INVALID"
    assert (await tried(service, admin, idempotencyKey="fix"))["secret"] is not None


async def test_keys_of_different_principals_are_independent(service: Service) -> None:
    """Two tokens of one organization and one of another each get a token of their own under one key."""
    admin = await service.token("*:*")
    colleague = await service.token("*:*", organization=admin.organization)
    stranger = await service.token("*:*")
    payloads = [await create(service, by, idempotencyKey="mine") for by in (admin, colleague, stranger)]
    assert len({payload["token"]["id"] for payload in payloads}) == 3
    assert len({payload["secret"] for payload in payloads}) == 3


async def test_what_ends_a_secret_ends_its_replay(service: Service) -> None:
    """After a rotation, a revocation or 24 hours a retry answers with the token and no secret."""
    admin = await service.token("*:*")
    rotated = await create(service, admin, idempotencyKey="rotated")
    await do(service, admin, "rotateToken", id=rotated["token"]["id"], overlapSeconds=60)
    revoked = await create(service, admin, idempotencyKey="revoked")
    await do(service, admin, "revokeToken", id=revoked["token"]["id"])
    aged = await create(service, admin, idempotencyKey="aged")
    await service.sql(
        "update replays set created_at = created_at - interval '24 hours' where token_id = $1", aged["token"]["id"]
    )
    for key, first in (("rotated", rotated), ("revoked", revoked), ("aged", aged)):
        again = await create(service, admin, idempotencyKey=key)
        assert (again["token"]["id"], again["position"]) == (first["token"]["id"], first["position"])
        assert again["secret"] is None
    kept = await service.sql(
        "select token_id from replays where organization = $1 and ciphertext is not null", admin.organization
    )
    assert {row["token_id"] for row in kept} <= {aged["token"]["id"]}


async def test_a_replay_needs_the_scopes_of_the_secret(service: Service) -> None:
    """Whoever lost a scope since is not handed the secret again."""
    admin = await service.token("*:*")
    clerk = await service.token("tokens:write", "a:b", organization=admin.organization)
    await create(service, clerk, idempotencyKey="mine", scopes=["a:b"])
    await do(service, admin, "updateToken", id=clerk.id, scopes=["tokens:write"])
    again = await tried(service, clerk, idempotencyKey="mine", scopes=["a:b"])
    assert (again["userErrors"][0]["code"], again["secret"], again["token"]) == ("SCOPE_NOT_HELD", None, None)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\0b", "a\nb"])
async def test_a_key_is_1_to_255_printable_characters(service: Service, key: str) -> None:
    """Other keys are refused with their place."""
    admin = await service.token("*:*")
    before = await service.decided(admin.organization)
    assert reasons(await tried(service, admin, idempotencyKey=key)) == [
        {"code": "INVALID", "field": ["input", "idempotencyKey"]}
    ]
    given = {"id": admin.id, "idempotencyKey": key}
    answer = await service.gql(admin.key, ROTATE, {"input": given})
    assert answer.data["rotateToken"]["userErrors"][0]["code"] == "INVALID"
    assert await service.decided(admin.organization) == before
