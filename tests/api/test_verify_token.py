"""`verifyToken`: what a service learns of a key that it received, and why the key is not good."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.conftest import Answer, Issued, Json, Service, eventually, unknown_key
from tests.api.documents import create, do

pytestmark = pytest.mark.asyncio(loop_scope="session")

VERIFY = """
query (
  $secret: String!, $scopes: [String!]! = [], $environment: Environment, $any: Boolean! = false, $dry: Boolean! = false
) {
  verifyToken(secret: $secret, requiredScopes: $scopes, requiredEnvironment: $environment, anyOrganization: $any,
    dryRun: $dry) {
    valid reason tokenId organizationId kind applicationId environment scopes expiresAt token { id name }
  }
}"""
NOTHING: Json = {
    "valid": False,
    "tokenId": None,
    "organizationId": None,
    "kind": None,
    "applicationId": None,
    "environment": None,
    "scopes": [],
    "expiresAt": None,
    "token": None,
}


async def asked(service: Service, by: Issued, **variables: object) -> Answer:
    """Ask about a key and return the whole answer."""
    return await service.gql(by.key, VERIFY, variables)


async def verified(service: Service, by: Issued, **variables: object) -> Json:
    """Ask about a key."""
    verification: Json = (await asked(service, by, **variables)).data["verifyToken"]
    return verification


async def test_a_good_key_says_whose_it_is(service: Service) -> None:
    """Everything about the token comes back, and the key itself nowhere."""
    admin = await service.token("*:*")
    made = await create(service, admin, scopes=["projects:*"], expiresAt="2999-01-01T00:00:00Z")
    answer = await asked(service, admin, secret=made["secret"], scopes=["projects:write"])
    assert answer.data["verifyToken"] == {
        "valid": True,
        "reason": None,
        "tokenId": made["token"]["id"],
        "organizationId": admin.organization,
        "kind": "API_TOKEN",
        "applicationId": None,
        "environment": None,
        "scopes": ["projects:*"],
        "expiresAt": "2999-01-01T00:00:00.000000Z",
        "token": {"id": made["token"]["id"], "name": "ci"},
    }
    assert made["secret"] not in answer.text


async def test_a_key_that_is_not_good_says_why(service: Service) -> None:
    """Malformed, unknown, revoked, expired, rotated away, lacking a scope or an environment: each has its reason."""
    admin = await service.token("*:*")
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    expiring = await create(service, admin, expiresAt=soon)
    revoked, rotated, good = [await create(service, admin) for _ in range(3)]
    await do(service, admin, "revokeToken", id=revoked["token"]["id"])
    await do(service, admin, "rotateToken", id=rotated["token"]["id"])
    reasons = {
        "MALFORMED": {"secret": good["secret"][:-1]},
        "UNKNOWN": {"secret": unknown_key()},
        "REVOKED": {"secret": revoked["secret"]},
        "MISSING_SCOPE": {"secret": good["secret"], "scopes": ["projects:read", "projects:write"]},
        "WRONG_ENVIRONMENT": {"secret": good["secret"], "environment": "PRODUCTION"},
    }
    for reason, variables in reasons.items():
        verification = await verified(service, admin, **variables)
        assert (verification["valid"], verification["reason"]) == (False, reason)
        if reason in {"MALFORMED", "UNKNOWN"}:
            assert verification == NOTHING | {"reason": reason}
        else:
            assert verification["token"]["id"] == verification["tokenId"]
            assert verification["scopes"] == ["projects:read"]
    assert (await verified(service, admin, secret=rotated["secret"]))["reason"] == "REVOKED"

    async def expired() -> bool:
        verification = await verified(service, admin, secret=expiring["secret"])
        return bool(verification["reason"] == "EXPIRED")

    assert await eventually(expired)


async def test_keys_of_others_are_unknown_unless_asked_for(service: Service) -> None:
    """A foreign key is exactly like one that does not exist; anyOrganization tells whose, without the token."""
    admin = await service.token("*:*")
    stranger = await service.token("projects:read")
    assert await verified(service, admin, secret=stranger.key) == NOTHING | {"reason": "UNKNOWN"}
    verification = await verified(service, admin, secret=stranger.key, any=True, scopes=["projects:read"])
    assert (verification["valid"], verification["organizationId"]) == (True, stranger.organization)
    assert (verification["tokenId"], verification["token"]) == (stranger.id, None)


async def test_the_token_is_shown_to_those_who_may_read_tokens(service: Service) -> None:
    """A verifier without tokens:read learns what the secret proves and no more."""
    verifier = await service.token("tokens:verify")
    other = await service.token("a:b", organization=verifier.organization)
    verification = await verified(service, verifier, secret=other.key)
    assert (verification["valid"], verification["tokenId"], verification["token"]) == (True, other.id, None)
    assert (await verified(service, verifier, secret=verifier.key))["token"]["id"] == verifier.id


async def test_a_dry_run_records_nothing(service: Service) -> None:
    """Neither a use nor the completion of a rotation comes of it; without dryRun both do."""
    admin = await service.token("*:*")
    made = await create(service, admin)
    token_id = made["token"]["id"]
    rotated = await do(service, admin, "rotateToken", id=token_id, overlapSeconds=60)
    assert (await verified(service, admin, secret=made["secret"], dry=True))["valid"]
    assert (await verified(service, admin, secret=rotated["secret"], dry=True))["valid"]
    assert (await verified(service, admin, secret=rotated["secret"], scopes=["no:no"]))["reason"] == "MISSING_SCOPE"
    assert (await verified(service, admin, secret=rotated["secret"]))["valid"]
    document = "query ($id: ID!) { token(id: $id) { useCount overlap { newSecretUsedAt previousLastUsedAt } } }"

    async def used() -> Json | None:
        token: Json = (await service.gql(admin.key, document, {"id": token_id})).data["token"]
        return token if token["useCount"] != "0" and token["overlap"]["newSecretUsedAt"] else None

    token = await eventually(used)
    assert (token["useCount"], token["overlap"]["previousLastUsedAt"]) == ("1", None)


@pytest.mark.parametrize(
    "variables",
    [
        {"scopes": ["canary"]},
        {"scopes": ["Canary:read"]},
        {"scopes": ["canary:read\0"]},
        {"scopes": ["tokens:canary"]},
        {"scopes": ["a:b"] * 101},
        {"environment": "CANARY"},
        {"any": None},
        {"secret": None},
        {"secret": 7},
    ],
)
async def test_a_question_that_cannot_be_is_bad_input(service: Service, variables: Json) -> None:
    """Ill-formed scopes, environments and nulls are BAD_USER_INPUT, quoted nowhere."""
    verifier = await service.token("tokens:verify")
    answer = await asked(service, verifier, **{"secret": verifier.key, **variables})
    assert answer.codes == ["BAD_USER_INPUT"]
    assert "anary" not in answer.text.replace("reserved and its actions", "")


@pytest.mark.parametrize("secret", ["", "\0", "x" * 10_000, "entri_", "é" * 55, "entri_" + "é" * 49])
async def test_whatever_is_presented_gets_an_answer(service: Service, secret: str) -> None:
    """Anything at all may be asked about, and what has not the form of a key is MALFORMED."""
    verifier = await service.token("tokens:verify")
    assert await verified(service, verifier, secret=secret) == NOTHING | {"reason": "MALFORMED"}
