"""Restrictions hold everywhere when they are answered: the payload says how, and no key is accepted afterwards."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.api.conftest import Issued, Json, Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENFORCED = "token { status } enforcement { processes acknowledged waitedOut tookMs } userErrors { code }"
REVOKE = f"mutation ($id: ID!) {{ revokeToken(input: {{id: $id}}) {{ {ENFORCED} }} }}"
END = f"mutation ($id: ID!) {{ endRotationOverlap(input: {{id: $id}}) {{ {ENFORCED} }} }}"
ROTATE = f"mutation ($input: RotateTokenInput!) {{ rotateToken(input: $input) {{ secret {ENFORCED} }} }}"
UPDATE = f"mutation ($input: UpdateTokenInput!) {{ updateToken(input: $input) {{ {ENFORCED} }} }}"
STATUS = "query ($id: ID!) { token(id: $id) { status } }"
COUNTS = """
    query { revoking: tokens(filter: {statuses: [REVOKING]}) { totalCount nodes { name } }
            revoked: tokens(filter: {statuses: [REVOKED]}) { totalCount nodes { name } } }
"""


async def change(service: Service, admin: Issued, document: str, variables: Mapping[str, object]) -> Json:
    """Carry a mutation out and return its payload."""
    (payload,) = (await service.gql(admin.key, document, variables)).data.values()
    assert payload["userErrors"] == []
    assert isinstance(payload, dict)
    return payload


@asynccontextmanager
async def silent_process(service: Service, lease_ms: int) -> AsyncIterator[None]:
    """Register a process that never answers, as one that was stopped."""
    statement = "insert into auth_node (incarnation, node_name, lease_ms, applied) values ('silent', 'silent', $1, 0)"
    await service.sql(statement, lease_ms)
    try:
        yield
    finally:
        await service.sql("delete from auth_node where incarnation = 'silent'")


async def remembered(service: Service, *scopes: str, organization: str) -> Issued:
    """Issue a key and present it, so that it is remembered."""
    token = await service.token(*scopes, organization=organization)
    assert await service.verify(token.key) == 200
    return token


async def test_a_remembered_key_is_not_looked_up(service: Service) -> None:
    """The first verification reads the database, and no other does."""
    token = await remembered(service, organization=await service.organization())
    before = service.entrances.verifying.reader.reads
    assert [await service.verify(token.key) for _ in range(20)] == [200] * 20
    assert service.entrances.verifying.reader.reads == before


async def test_a_revocation_says_how_it_was_enforced(service: Service) -> None:
    """All processes acknowledged it, the key is refused at once, and a second revocation says the same."""
    admin = await service.token("*:*")
    token = await remembered(service, organization=admin.organization)
    payload = await change(service, admin, REVOKE, {"id": token.id})
    assert await service.verify(token.key) == 401
    assert payload["token"] == {"status": "REVOKED"}
    enforcement = payload["enforcement"]
    assert enforcement == {"processes": 1, "acknowledged": 1, "waitedOut": 0, "tookMs": enforcement["tookMs"]}
    assert 0 < enforcement["tookMs"] < 2000
    again = await change(service, admin, REVOKE, {"id": token.id})
    assert again["enforcement"] == enforcement


async def test_every_restriction_is_enforced_and_nothing_else(service: Service) -> None:
    """Less scope, an earlier end, a new secret and the end of an overlap are waited for, a name and more scope not."""
    admin = await service.token("*:*")
    token = await remembered(service, "a:read", "a:write", organization=admin.organization)

    async def update(**given: object) -> Any:  # noqa: ANN401 -- JSON
        return (await change(service, admin, UPDATE, {"input": {"id": token.id, **given}}))["enforcement"]

    assert await update(name="another") is None
    assert await update(scopes=["a:read", "a:write", "b:read"]) is None
    assert (await update(scopes=["a:read"]))["acknowledged"] == 1
    assert await service.verify(token.key, "?scope=a:write") == 403
    assert (await update(expiresAt="2040-01-01T00:00:00Z"))["acknowledged"] == 1
    assert await update(expiresAt="2041-01-01T00:00:00Z") is None
    rotated = await change(service, admin, ROTATE, {"input": {"id": token.id, "overlapSeconds": 60}})
    assert rotated["enforcement"]["acknowledged"] == 1
    assert await service.verify(token.key) == 200
    ended = await change(service, admin, END, {"id": token.id})
    assert ended["enforcement"]["acknowledged"] == 1
    assert [await service.verify(token.key), await service.verify(rotated["secret"])] == [401, 200]


async def test_more_scope_is_there_at_once(service: Service) -> None:
    """What memory lacks is looked up before it is denied."""
    admin = await service.token("*:*")
    token = await remembered(service, "a:read", organization=admin.organization)
    assert await service.verify(token.key, "?scope=a:write") == 403
    await change(service, admin, UPDATE, {"input": {"id": token.id, "scopes": ["a:read", "a:write"]}})
    assert await service.verify(token.key, "?scope=a:write") == 200


async def test_the_end_of_an_overlap_is_remembered_with_the_old_secret(service: Service) -> None:
    """A key that was remembered before its rotation stops at the overlap's end, without another word."""
    admin = await service.token("*:*")
    token = await remembered(service, organization=admin.organization)
    await change(service, admin, ROTATE, {"input": {"id": token.id, "overlapSeconds": 1}})
    assert await service.verify(token.key) == 200

    async def is_refused() -> bool:
        return await service.verify(token.key) == 401

    await eventually(is_refused)


async def test_a_silent_process_is_waited_out_once(service: Service) -> None:
    """While it could still accept, the token is REVOKING; then it is evicted, and the next revocation is quick."""
    admin = await service.token("*:*")
    one, other = [await remembered(service, organization=admin.organization) for _ in range(2)]
    async with silent_process(service, lease_ms=1500):
        revoking = asyncio.create_task(change(service, admin, REVOKE, {"id": one.id}))

        async def is_revoking() -> bool:
            return (await service.gql(admin.key, STATUS, {"id": one.id})).data == {"token": {"status": "REVOKING"}}

        await eventually(is_revoking)
        assert await service.verify(one.key) == 401
        counts = (await service.gql(admin.key, COUNTS)).data
        assert [counts[status]["totalCount"] for status in ("revoking", "revoked")] == [1, 0]
        again = asyncio.create_task(change(service, admin, REVOKE, {"id": one.id}))
        enforcement = (await revoking)["enforcement"]
        assert (enforcement["processes"], enforcement["acknowledged"], enforcement["waitedOut"]) == (2, 1, 1)
        assert enforcement["tookMs"] >= 1500
        assert (await again)["enforcement"] is not None
        assert (await service.gql(admin.key, STATUS, {"id": one.id})).data == {"token": {"status": "REVOKED"}}
        assert await service.sql("select from auth_node where incarnation = 'silent'") == []
        assert (await change(service, admin, REVOKE, {"id": other.id}))["enforcement"]["processes"] == 1


async def test_what_a_dead_process_left_is_fenced_by_another(service: Service) -> None:
    """A restriction that nobody waits for any more does not stay REVOKING."""
    admin = await service.token("*:*")
    token = await service.token(organization=admin.organization)
    await change(service, admin, REVOKE, {"id": token.id})
    await service.sql(
        "update revocation_log set fenced_at = null, fence = null, committed_at = committed_at - interval '1 minute' "
        "where subject = $1",
        token.id,
    )

    async def is_fenced() -> bool:
        return (await service.gql(admin.key, STATUS, {"id": token.id})).data == {"token": {"status": "REVOKED"}}

    assert not await is_fenced()
    await eventually(is_fenced)


async def test_a_query_is_not_answered_to_a_key_that_was_revoked_meanwhile(service: Service) -> None:
    """The key is looked at again before the answer is written."""
    admin = await service.token("*:*")
    reader = await remembered(service, "*:*", organization=admin.organization)
    events = "{ events(first: 1) { nodes { position } } }"
    last = (await service.gql(admin.key, events)).data["events"]["nodes"][0]["position"]
    waiting = asyncio.create_task(
        service.gql(
            reader.key, "query ($p: String!) { tokens(minPosition: $p) { totalCount } }", {"p": str(int(last) + 50)}
        )
    )
    await change(service, admin, REVOKE, {"id": reader.id})
    answer = await waiting
    assert answer.status == 401
    assert answer.codes == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("junk", ["", "x", "1:2", "a:b:c", "9223372036854775807:1:tok"])
async def test_a_foreign_message_changes_nothing(service: Service, junk: str) -> None:
    """Junk on our channels neither breaks anything nor counts as an acknowledgement."""
    token = await remembered(service, organization=await service.organization())
    await service.sql("select pg_notify('auth_inv', $1), pg_notify('auth_ack', $1)", junk)
    assert await service.verify(token.key) == 200
    admin = await service.token("*:*", organization=token.organization)
    assert (await change(service, admin, REVOKE, {"id": token.id}))["enforcement"]["acknowledged"] == 1
    assert await service.verify(token.key) == 401
