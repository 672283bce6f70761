"""What a scope is worth within an answer, and what a token may hand over; test_matrix.py has all the rest."""

import pytest

from tests.api.conftest import Service
from tests.api.documents import do

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_lies_within_needs_its_own_scope(service: Service) -> None:
    """Tokens within events and events within tokens are for those who may read them; a list refuses alone."""
    org = await service.organization()
    admin = await service.token("*:*", organization=org, name="the admin")
    tokens, events, verifier = [
        await service.token(scope, organization=org) for scope in ("tokens:read", "events:read", "tokens:verify")
    ]
    within = "query ($id: ID!) { token(id: $id) { name events { nodes { id } } } }"
    answer = await service.gql(tokens.key, within, {"id": admin.id})
    assert (answer.body["data"], answer.codes) == ({"token": {"name": "the admin", "events": None}}, ["FORBIDDEN"])
    assert answer.body["errors"][0]["path"] == ["token", "events"]
    document = "{ events { nodes { ... on TokenEvent { tokenId token { id } } } } }"
    nodes = (await service.gql(events.key, document)).data["events"]["nodes"]
    assert {node["tokenId"] for node in nodes if node and node.get("token")} <= {events.id}
    assert {node["tokenId"] for node in nodes if node} >= {admin.id}
    ask = "query ($secret: String!) { verifyToken(secret: $secret) { valid tokenId token { id } } }"
    verified = (await service.gql(verifier.key, ask, {"secret": admin.key})).data["verifyToken"]
    assert verified == {"valid": True, "tokenId": admin.id, "token": None}


async def test_names_of_actors_are_for_those_who_may_read_them(service: Service) -> None:
    """Whoever may read neither tokens nor events sees the id of who issued its token, and no name."""
    admin = await service.token("*:*", name="the admin")
    document = "{ viewer { principal { ... on Token { createdBy { id displayName } } } } }"
    create = 'mutation ($s: [String!]!) { createToken(input: {name: "x", scopes: $s}) { secret } }'
    for scopes, name in (([], admin.id), (["tokens:read"], "the admin"), (["events:read"], "the admin")):
        secret = (await service.gql(admin.key, create, {"s": scopes})).data["createToken"]["secret"]
        principal = (await service.gql(secret, document)).data["viewer"]["principal"]
        assert principal["createdBy"] == {"id": admin.id, "displayName": name}


NOT_HELD = "SCOPE_NOT_HELD"


async def test_a_token_cannot_grant_what_it_does_not_hold(service: Service) -> None:
    """Creating, rotating and widening need every scope that results; nothing is appended; narrowing is free."""
    org = await service.organization()
    clerk = await service.token("tokens:write", "projects:*", organization=org)
    mighty = await service.token("*:*", organization=org)
    peer = await service.token("projects:read", "builds:read", organization=org)
    before = await service.decided(org)
    create = (
        'mutation ($s: [String!]!) { createToken(input: {name: "x", scopes: $s}) { secret userErrors { code field } } }'
    )
    for scopes in (["*:*"], ["builds:read"], ["projects:read", "builds:*"], ["tokens:*"], ["tokens:read"]):
        payload = (await service.gql(clerk.key, create, {"s": scopes})).data["createToken"]
        assert payload == {"secret": None, "userErrors": [{"code": NOT_HELD, "field": ["input", "scopes"]}]}
    for held in (mighty, peer):
        rotated = await do(service, clerk, "rotateToken", id=held.id)
        assert (rotated["secret"], rotated["token"]) == (None, None)
        assert rotated["userErrors"] == [{"code": NOT_HELD, "field": ["input", "id"]}]
    widened = await do(service, clerk, "updateToken", id=peer.id, scopes=["projects:read", "builds:*"])
    assert widened["userErrors"] == [{"code": NOT_HELD, "field": ["input", "scopes"]}]
    assert await service.decided(org) == before
    for scopes in (["projects:read"], ["projects:*", "tokens:write"], []):
        assert (await service.gql(clerk.key, create, {"s": scopes})).data["createToken"]["secret"]
    for scopes in (["builds:read"], ["projects:write", "builds:read"], []):
        narrowed = await do(service, clerk, "updateToken", id=peer.id, scopes=scopes)
        assert (narrowed["userErrors"], narrowed["token"]["scopes"]) == ([], scopes)
    assert (await do(service, clerk, "updateToken", id=mighty.id, name="renamed"))["userErrors"] == []
    assert (await do(service, clerk, "rotateToken", id=peer.id))["secret"]
