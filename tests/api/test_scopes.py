"""Who may do what: every root field under every reserved scope alone, under none and under all."""

from typing import Final

import pytest

from events.scopes import EVERYTHING, RESERVED
from tests.api.conftest import Service
from tests.api.documents import MUTATIONS, QUERIES, do

pytestmark = pytest.mark.asyncio(loop_scope="session")

GRANTS: Final = (
    "",
    EVERYTHING,
    "projects:read",
    *(f"{resource}:*" for resource in RESERVED),
    *(f"{resource}:{action}" for resource, actions in RESERVED.items() for action in sorted(actions)),
)
VISIBLE = None
"""What every principal may ask."""
ABSENT, LIST, WHOLE, PASSWORD = "absent", "list", "whole", "password"
"""How a field is refused: null like what does not exist; null with one FORBIDDEN; the same, and no other data.

PASSWORD is refused as WHOLE is, and to tokens that hold the scope too: only a member has a password to enter.
"""

CELLS: Final[dict[str, tuple[str, str | None, str]]] = {
    "viewer": ("viewer { scopes organization { id name } principal { ... on Token { id } } }", VISIBLE, ABSENT),
    "organization": ("organization { id }", "organization:read", WHOLE),
    "node": ("node(id: $target) { id }", "tokens:read", ABSENT),
    "node of an event": ("node(id: $event) { id }", "events:read", ABSENT),
    "node of the organization": ("node(id: $organization) { id }", "organization:read", ABSENT),
    "node of itself": ("node(id: $self) { id }", VISIBLE, ABSENT),
    "node of an application": ("node(id: $application) { id }", "applications:read", ABSENT),
    "token": ("token(id: $target) { id }", "tokens:read", ABSENT),
    "token of itself": ("token(id: $self) { id }", VISIBLE, ABSENT),
    "tokens": ("tokens { nodes { id } }", "tokens:read", LIST),
    "tokens counted": ("tokens(first: 1) { totalCount }", "tokens:read", LIST),
    "application": ("application(id: $application) { id }", "applications:read", ABSENT),
    "applications": ("applications { nodes { id } }", "applications:read", LIST),
    "applications counted": ("applications(first: 1) { totalCount }", "applications:read", LIST),
    "events": ("events { nodes { id } }", "events:read", LIST),
    "logCheckpoint": ("logCheckpoint { text }", "events:read", LIST),
    "logConsistencyProof": ('logConsistencyProof(from: "0", to: "0") { hashes }', "events:read", LIST),
    "verifyToken": ("verifyToken(secret: $secret) { valid }", "tokens:verify", WHOLE),
    "createToken": ('createToken(input: {name: "x"}) { token { id } }', "tokens:write", WHOLE),
    "updateToken": ('updateToken(input: {id: $target, name: "y"}) { token { id } }', "tokens:write", WHOLE),
    "rotateToken": ("rotateToken(input: {id: $target, overlapSeconds: 60}) { token { id } }", "tokens:write", WHOLE),
    "endRotationOverlap": ("endRotationOverlap(input: {id: $target}) { token { id } }", "tokens:write", WHOLE),
    "designateWebhookSigner": (
        "designateWebhookSigner(input: {id: $target}) { token { id } }",
        "webhooks:write",
        WHOLE,
    ),
    "createApplication": (
        'createApplication(input: {name: "x", environment: SANDBOX}) { application { id } }',
        "applications:write",
        WHOLE,
    ),
    "updateApplication": (
        'updateApplication(input: {id: $application, name: "y"}) { application { id } }',
        "applications:write",
        WHOLE,
    ),
    "deleteApplication": (
        'deleteApplication(input: {id: $application, confirmation: "x"}) { deletedApplicationId }',
        "applications:write",
        PASSWORD,
    ),
    "revealSecret": ("revealSecret(input: {id: $target}) { secret }", "applications:write", PASSWORD),
    "revokeToken": ("revokeToken(input: {id: $target}) { token { id } }", "tokens:write", WHOLE),
}
"""Each field: how it is selected, the scope it needs, how it is refused without. A new root field needs a line here."""


UNCHANGED: Final = ["OrganizationCreated", "TokenCreated", "ApplicationCreated", "TokenCreated", "TokenCreated"]


def has(grant: str, wanted: str | None) -> bool:
    """Say whether a token with one scope may do what needs another, worked out apart from the code under test."""
    return wanted in {VISIBLE, grant} or grant in {EVERYTHING, f"{(wanted or '').split(':')[0]}:*"}


def written(field: str) -> str:
    """Write the document that asks for one line of the table, beside a field that everybody may see."""
    chosen = CELLS[field][0]
    ids = dict.fromkeys(("target", "self", "organization", "application", "event"), "ID!")
    types = {**ids, "secret": "String!"}
    declared = ", ".join(f"${name}: {type_}" for name, type_ in types.items() if f"${name}" in chosen)
    operation = "mutation" if field in MUTATIONS else "query"
    return f"{operation} {f'({declared})' if declared else ''} {{ cell: {chosen} __typename }}"


@pytest.mark.parametrize("grant", GRANTS)
async def test_every_field_under_one_scope(service: Service, grant: str) -> None:
    """Each field is answered when the scope covers what it needs, and refused in its own way when not."""
    target = await service.token()
    application = await service.application(organization=target.organization)
    by = await service.token(*([grant] if grant else []), organization=target.organization)
    statement = "select event_id from event_index join events using (position) where subject = $1"
    [event] = await service.sql(statement, target.organization)
    values = {
        "target": target.id,
        "self": by.id,
        "organization": target.organization,
        "application": application.id,
        "event": event["event_id"],
        "secret": target.key,
    }
    for field, (_, wanted, way) in CELLS.items():
        answer = await service.gql(by.key, written(field), values)
        where = f"{field} with {grant or 'nothing'}: {answer.text}"
        assert answer.status == 200, where
        if has(grant, wanted) and way == PASSWORD:
            assert (answer.body["data"], answer.codes) == (None, ["REAUTHENTICATION_REQUIRED"]), where
            continue
        if has(grant, wanted):
            assert answer.data["cell"] is not None, where
            continue
        is_whole = way in {WHOLE, PASSWORD}
        assert answer.body["data"] == (None if is_whole else {"cell": None, "__typename": "Query"}), where
        assert answer.codes == ([] if way == ABSENT else ["FORBIDDEN"]), where
        if way != ABSENT:
            assert answer.body["errors"][0]["extensions"]["scope"] == wanted, where
    if not any(has(grant, scope) for scope in ("tokens:write", "applications:write")):
        assert [name for name, _ in await service.decided(target.organization)] == UNCHANGED


async def test_every_root_field_is_in_the_table() -> None:
    """A field of the schema without a line in the table has not been thought about."""
    assert {name for name in CELLS if " " not in name} == {*QUERIES, *MUTATIONS}


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
