"""API secrets over the API: three at most, one of which signs webhooks, and none is removed without its name."""

import asyncio
from collections import Counter

import pytest

from events.token_kinds import TokenKind
from tests.api.conftest import Issued, Json, Service, eventually
from tests.api.documents import CREATE, create, do
from tests.api.members import seals

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIGNER = "{ organization { webhookSigner { id } } tokens { nodes { id signsWebhooks } } }"
AT = "query ($id: ID!, $at: String) { token(id: $id, atPosition: $at) { signsWebhooks } }"


async def secret(service: Service, by: Issued, **given: object) -> Json:
    """Issue an API secret and return the payload."""
    return await create(service, by, kind="API_SECRET", **given)


async def signer(service: Service, by: Issued) -> str | None:
    """Name the one that signs, on which the organization and its tokens agree."""
    data = (await service.gql(by.key, SIGNER)).data
    found = data["organization"]["webhookSigner"]
    signing = [token["id"] for token in data["tokens"]["nodes"] if token["signsWebhooks"]]
    assert signing == ([] if found is None else [found["id"]])
    return None if found is None else signing[0]


async def test_the_first_signs_by_itself(service: Service) -> None:
    """It is issued and chosen in one; the second is not chosen; both work, and both are kept to sign."""
    admin = await service.token("*:*")
    assert await signer(service, admin) is None
    first, second = [await secret(service, admin, name=name) for name in ("first", "second")]
    assert (first["token"]["kind"], first["token"]["signsWebhooks"]) == ("API_SECRET", True)
    assert second["token"]["signsWebhooks"] is False
    assert await signer(service, admin) == first["token"]["id"]
    assert [await service.verify(made["secret"]) for made in (first, second)] == [200, 200]
    assert [await seals(service, made["token"]["id"]) for made in (first, second)] == [[0], [0]]
    decided = [name for name, _ in await service.decided(admin.organization)][2:]
    assert decided == ["TokenCreated", "WebhookSignerDesignated", "TokenCreated"]
    shown = await service.gql(
        admin.key, "query ($id: ID!) { node(id: $id) { ... on Token { hint useCount } } }", {"id": first["token"]["id"]}
    )
    assert shown.data["node"]["hint"] == first["token"]["hint"]


async def test_a_secret_has_a_life_like_any_token(service: Service) -> None:
    """It is used, rotated with an overlap that both secrets work in, updated, and never expires."""
    admin = await service.token("*:*")
    made = await secret(service, admin)
    token_id = made["token"]["id"]
    rotated = await do(service, admin, "rotateToken", id=token_id, overlapSeconds=60)
    assert [await service.verify(key) for key in (made["secret"], rotated["secret"])] == [200, 200]
    assert await seals(service, token_id) == [0, 1]

    async def completed() -> bool:
        shown = await service.gql(
            admin.key,
            "query ($id: ID!) { token(id: $id) { useCount lastUsedAt overlap { newSecretUsedAt } } }",
            {"id": token_id},
        )
        token = shown.data["token"]
        return bool(token["useCount"] == "2" and token["lastUsedAt"] and token["overlap"]["newSecretUsedAt"])

    assert await eventually(completed)
    ended = await do(service, admin, "endRotationOverlap", id=token_id)
    assert ended["enforcement"] is not None
    assert [await service.verify(key) for key in (made["secret"], rotated["secret"])] == [401, 200]
    assert await seals(service, token_id) == [1]
    again = await do(service, admin, "rotateToken", id=token_id)
    assert await seals(service, token_id) == [2]
    assert [await service.verify(key) for key in (rotated["secret"], again["secret"])] == [401, 200]
    changed = await do(service, admin, "updateToken", id=token_id, name="renamed", scopes=["c:d"])
    assert (changed["token"]["name"], changed["token"]["scopes"]) == ("renamed", ["c:d"])
    refused = await do(service, admin, "updateToken", id=token_id, expiresAt="2999-01-01T00:00:00Z")
    assert refused["userErrors"] == [{"code": "INVALID", "field": ["input", "expiresAt"]}]


async def test_rotating_during_an_overlap_keeps_the_last_two(service: Service) -> None:
    """What the oldest secret was kept for has ended with it."""
    admin = await service.token("*:*")
    token_id = (await secret(service, admin))["token"]["id"]
    for _ in range(2):
        await do(service, admin, "rotateToken", id=token_id, overlapSeconds=60)
    assert await seals(service, token_id) == [1, 2]


async def test_a_fourth_is_refused(service: Service) -> None:
    """Three live at once, whatever else the organization has; one more after one was revoked."""
    admin = await service.token("*:*")
    await service.application(organization=admin.organization)
    made = [await secret(service, admin, name=f"{number}") for number in range(3)]
    before = await service.decided(admin.organization)
    answer = await service.gql(admin.key, CREATE, {"input": {"name": "4", "kind": "API_SECRET"}})
    [refusal] = answer.data["createToken"]["userErrors"]
    assert (refusal["code"], refusal["field"]) == ("LIMIT_REACHED", ["input", "kind"])
    assert await service.decided(admin.organization) == before
    await do(service, admin, "revokeToken", id=made[1]["token"]["id"], confirmation="1")
    await secret(service, admin, name="4")


async def test_fifty_at_once_end_with_three(service: Service) -> None:
    """Creations that race are decided one after the other: three win, one of them signs, all others are refused."""
    admin = await service.token("*:*")
    given = {"input": {"name": "racer", "kind": "API_SECRET"}}
    answers = await asyncio.gather(*(service.gql(admin.key, CREATE, given) for _ in range(50)))
    payloads = [answer.data["createToken"] for answer in answers]
    assert Counter(error["code"] for payload in payloads for error in payload["userErrors"]) == {"LIMIT_REACHED": 47}
    won = [payload for payload in payloads if payload["secret"]]
    assert {await service.verify(payload["secret"]) for payload in won} == {200}
    assert sum(payload["token"]["signsWebhooks"] for payload in won) == 1
    kinds = Counter(name for name, _ in await service.decided(admin.organization))
    assert (kinds["TokenCreated"], kinds["WebhookSignerDesignated"]) == (4, 1)


async def test_twenty_at_once_with_one_key_fill_one_place(service: Service) -> None:
    """Of identical requests for the last place all get its secret, none that the limit is reached."""
    admin = await service.token("*:*")
    for number in range(2):
        await secret(service, admin, name=f"{number}")
    given = {"name": "last", "idempotencyKey": "race"}
    payloads = await asyncio.gather(*(secret(service, admin, **given) for _ in range(20)))
    assert all(payload == payloads[0] for payload in payloads)
    first = await service.token("*:*")
    alone = await asyncio.gather(*(secret(service, first, **given) for _ in range(20)))
    assert all(payload == alone[0] for payload in alone), "the last of two events is where each says it is"


async def test_the_designation_moves(service: Service) -> None:
    """To any live API secret, at once, with an event that names the one before; to the same one it is nothing."""
    admin = await service.token("*:*")
    first, second = [(await secret(service, admin, name=name))["token"]["id"] for name in ("first", "second")]
    head = "select max(organization_position) from events where organization = $1"
    before = await service.sql(head, admin.organization)
    moved = await do(service, admin, "designateWebhookSigner", id=second)
    assert (moved["token"]["id"], moved["token"]["signsWebhooks"], moved["userErrors"]) == (second, True, [])
    assert await signer(service, admin) == second
    assert (await do(service, admin, "designateWebhookSigner", id=second))["position"] is None
    document = (
        '{ events(first: 1, filter: {types: ["WebhookSignerDesignated"]}) { nodes { subjectId '
        "... on WebhookSignerDesignated { tokenId previousTokenId } } } }"
    )
    [event] = (await service.gql(admin.key, document)).data["events"]["nodes"]
    assert event == {"subjectId": second, "tokenId": second, "previousTokenId": first}
    for token_id, then in ((first, True), (second, False)):
        values = {"id": token_id, "at": str(before[0][0])}
        assert (await service.gql(admin.key, AT, values)).data["token"]["signsWebhooks"] is then


async def test_what_cannot_sign_is_not_chosen(service: Service) -> None:
    """Another kind, a revoked one, another organization's and nobody's are refused with their codes; so is no scope."""
    admin = await service.token("*:*")
    application = await service.application(organization=admin.organization)
    await secret(service, admin, name="signs")
    revoked = (await secret(service, admin, name="x"))["token"]["id"]
    await do(service, admin, "revokeToken", id=revoked, confirmation="x")
    other = await service.token(kind=TokenKind.API_SECRET)
    before = await service.decided(admin.organization, other.organization)
    for token_id, code in (
        (admin.id, "INVALID"),
        (application.token_id, "INVALID"),
        (revoked, "TOKEN_NOT_ACTIVE"),
        (other.id, "NOT_FOUND"),
        (application.id, "NOT_FOUND"),
        ("nonsense\0", "NOT_FOUND"),
    ):
        refused = await do(service, admin, "designateWebhookSigner", id=token_id)
        assert refused["userErrors"] == [{"code": code, "field": ["input", "id"]}], token_id
    assert await service.decided(admin.organization, other.organization) == before


async def test_the_one_that_signs_is_not_removed(service: Service) -> None:
    """Its removal is refused, phrase or not; after the designation has moved it goes, with everything kept of it."""
    admin = await service.token("*:*")
    first, second = [(await secret(service, admin, name=name)) for name in ("first", "second")]
    first_id, second_id = first["token"]["id"], second["token"]["id"]
    for confirmation in ("first", "wrong", None):
        given: Json = {} if confirmation is None else {"confirmation": confirmation}
        refused = await do(service, admin, "revokeToken", id=first_id, **given)
        assert refused["userErrors"] == [{"code": "SIGNS_WEBHOOKS", "field": ["input", "id"]}]
    await do(service, admin, "designateWebhookSigner", id=second_id)
    for confirmation in ("First", "first ", None):
        given = {} if confirmation is None else {"confirmation": confirmation}
        refused = await do(service, admin, "revokeToken", id=first_id, **given)
        assert refused["userErrors"] == [{"code": "CONFIRMATION_MISMATCH", "field": ["input", "confirmation"]}]
    assert await service.verify(first["secret"]) == 200
    revoked = await do(service, admin, "revokeToken", id=first_id, confirmation="first")
    assert (revoked["token"]["status"], revoked["token"]["signsWebhooks"]) == ("REVOKED", False)
    assert (await service.verify(first["secret"]), await seals(service, first_id)) == (401, [])
    assert (await do(service, admin, "revokeToken", id=first_id, confirmation="first"))["userErrors"] == []
    assert await signer(service, admin) == second_id


async def test_a_document_sees_who_signs_now(service: Service) -> None:
    """What was read before a mutation of the same document is read anew after it."""
    admin = await service.token("*:*")
    first, second = [(await secret(service, admin, name=name))["token"]["id"] for name in ("first", "second")]
    document = (
        "mutation ($a: ID!, $b: ID!) { a: designateWebhookSigner(input: {id: $b}) { token { signsWebhooks } } "
        "b: designateWebhookSigner(input: {id: $a}) { token { signsWebhooks } } }"
    )
    data = (await service.gql(admin.key, document, {"a": first, "b": second})).data
    assert data == {"a": {"token": {"signsWebhooks": True}}, "b": {"token": {"signsWebhooks": True}}}
