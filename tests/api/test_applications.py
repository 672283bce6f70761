"""Applications over the API: made with their secret, changed, and gone with it."""

from itertools import product

import pytest

from events.applications import Environment, SecretPolicy
from service.authorization import FRESH_FOR
from tests.api.conftest import Issued, Json, Service
from tests.api.documents import APPLICATION, CREATE_APPLICATION, DELETE_APPLICATION, ROTATE, do
from tests.api.members import codes, member, revealed, seals

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOW = APPLICATION + "query ($id: ID!) { application(id: $id) { ...App } node(id: $id) { id __typename } }"
REAUTHENTICATE = ["REAUTHENTICATION_REQUIRED"]


async def made(service: Service, by: Issued, **given: object) -> Json:
    """Make an application and return the payload."""
    wanted = {"name": "billing", "environment": "PRODUCTION", "scopes": ["a:b"], **given}
    payload = await do(service, by, "createApplication", **wanted)
    assert payload["userErrors"] == []
    return payload


async def test_an_application_is_made_with_its_secret(service: Service) -> None:
    """The answer holds both, shown once; the key works, and the application is found by its public id."""
    admin = await service.token("*:*")
    payload = await made(service, admin)
    shown, key = payload["application"], payload["secret"]
    assert (shown["name"], shown["environment"], shown["secretPolicy"]) == ("billing", "PRODUCTION", "SHOW_ONCE")
    secret = shown["clientSecret"]
    assert (secret["kind"], secret["name"], secret["status"]) == ("CLIENT_SECRET", "billing", "ACTIVE")
    assert secret["scopes"] == ["a:b"]
    assert secret["hint"] == f"{key[:10]}…{key[-4:]}"
    assert await service.verify(key, f"?organization={admin.organization}&scope=a:b") == 200
    found = (await service.gql(admin.key, SHOW, {"id": shown["id"]})).data
    assert found == {"application": shown, "node": {"id": shown["id"], "__typename": "Application"}}
    ask = "query ($id: ID!) { token(id: $id) { signsWebhooks application { id name clientSecret { id } } } }"
    token = (await service.gql(admin.key, ask, {"id": secret["id"]})).data["token"]
    back = {"id": shown["id"], "name": "billing", "clientSecret": {"id": secret["id"]}}
    assert token == {"signsWebhooks": False, "application": back}
    kinds = [name for name, _ in await service.decided(admin.organization)]
    assert kinds[-2:] == ["ApplicationCreated", "TokenCreated"]
    assert await seals(service, secret["id"]) == []


async def test_a_retry_makes_no_second_application(service: Service) -> None:
    """With an idempotency key the answer is the same word for word; another input under it is refused."""
    admin = await service.token("*:*")
    first = await made(service, admin, idempotencyKey="once")
    before = await service.decided(admin.organization)
    assert await made(service, admin, idempotencyKey="once") == first
    other = {"name": "billing", "environment": "STAGING", "scopes": ["a:b"], "idempotencyKey": "once"}
    refused = await do(service, admin, "createApplication", **other)
    assert refused["userErrors"] == [{"code": "IDEMPOTENCY_KEY_REUSED", "field": ["input", "idempotencyKey"]}]
    assert await service.decided(admin.organization) == before


async def test_a_retry_is_told_nothing_that_is_kept_no_more(service: Service) -> None:
    """After the policy has turned to SHOW_ONCE, and after the deletion, a retry answers without the secret."""
    admin = await service.token("*:*")
    given = {"idempotencyKey": "once", "secretPolicy": "RECOVERABLE"}
    application = (await made(service, admin, **given))["application"]["id"]
    await do(service, admin, "updateApplication", id=application, secretPolicy="SHOW_ONCE")
    again = await made(service, admin, **given)
    assert (again["application"]["id"], again["secret"]) == (application, None)
    owner = await member(service, admin.organization)
    await owner.data(DELETE_APPLICATION, {"input": {"id": application, "confirmation": "billing"}})
    gone = await made(service, admin, **given)
    assert (gone["application"], gone["secret"], gone["position"]) == (None, None, again["position"])


@pytest.mark.parametrize(
    ("given", "field"),
    [({"name": ""}, "name"), ({"name": "x" * 101}, "name"), ({"scopes": ["tokens:x"]}, "scopes")],
)
async def test_a_bad_input_makes_nothing(service: Service, given: Json, field: str) -> None:
    """What is wrong is named, and nothing is appended."""
    admin = await service.token("*:*")
    before = await service.decided(admin.organization)
    wanted = {"name": "x", "environment": "SANDBOX", **given}
    refused = await do(service, admin, "createApplication", **wanted)
    assert (refused["application"], refused["secret"]) == (None, None)
    assert refused["userErrors"] == [{"code": "INVALID", "field": ["input", field]}]
    assert await service.decided(admin.organization) == before


async def test_a_secret_is_of_its_own_application_and_environment(service: Service) -> None:
    """One application in each environment: each key is told by its own id and refused in every other environment."""
    admin = await service.token("*:*")
    ask = (
        "query ($s: String!, $e: Environment) { verifyToken(secret: $s, requiredEnvironment: $e) "
        "{ valid reason applicationId environment kind } }"
    )
    applications = {
        environment: await service.application("a:b", organization=admin.organization, environment=environment)
        for environment in Environment
    }
    for (environment, application), wanted in product(applications.items(), Environment):
        is_own = environment is wanted
        assert await service.verify(application.key, f"?environment={wanted}") == (200 if is_own else 403)
        assert await service.verify(application.key, f"?environment={wanted}&scope=a:c") == 403
        verified = (await service.gql(admin.key, ask, {"s": application.key, "e": wanted})).data["verifyToken"]
        assert verified == {
            "valid": is_own,
            "reason": None if is_own else "WRONG_ENVIRONMENT",
            "applicationId": application.id,
            "environment": environment,
            "kind": "CLIENT_SECRET",
        }
    for key in (admin.key, (await service.token(organization=admin.organization)).key):
        verified = (await service.gql(admin.key, ask, {"s": key, "e": None})).data["verifyToken"]
        assert (verified["applicationId"], verified["environment"]) == (None, None)


async def test_gateways_learn_the_application_of_a_client_secret_alone(service: Service) -> None:
    """The two headers come from memory and from the first look-up alike, and never for another kind of token."""
    application = await service.application("a:b", environment=Environment.STAGING)
    names = ("X-Entri-Application", "X-Entri-Environment")
    for _ in range(3):
        answer = await service.request("GET", "/verify", headers={"X-API-Key": application.key})
        assert [answer.headers[name] for name in names] == [application.id, "STAGING"]
        assert answer.headers["X-Entri-Kind"] == "CLIENT_SECRET"
    token = await service.token("a:b")
    for _ in range(3):
        answer = await service.request("GET", "/verify", headers={"X-API-Key": token.key})
        assert not any(name in answer.headers for name in names)


async def test_a_rename_and_a_policy(service: Service) -> None:
    """Name and policy change together or alone; no change appends nothing; an unknown one is not found."""
    admin = await service.token("*:*")
    application = (await made(service, admin))["application"]
    given = {"id": application["id"], "name": "invoices", "secretPolicy": "RECOVERABLE"}
    changed = await do(service, admin, "updateApplication", **given)
    assert (changed["application"]["name"], changed["application"]["secretPolicy"]) == ("invoices", "RECOVERABLE")
    before = await service.decided(admin.organization)
    assert (await do(service, admin, "updateApplication", **given))["position"] is None
    for wrong, code, field in (
        ({"id": application["id"], "name": " "}, "INVALID", "name"),
        ({"id": application["id"], "name": None}, "INVALID", "name"),
        ({"id": application["id"], "secretPolicy": None}, "INVALID", "secretPolicy"),
        ({"id": admin.id, "name": "x"}, "NOT_FOUND", "id"),
        ({"id": "app_\0", "name": "x"}, "NOT_FOUND", "id"),
    ):
        refused = await do(service, admin, "updateApplication", **wrong)
        assert refused["userErrors"] == [{"code": code, "field": ["input", field]}]
        assert refused["application"] is None
    assert await service.decided(admin.organization) == before


async def test_the_client_secret_is_rotated_and_reset(service: Service) -> None:
    """A rotation overlaps; a reset, a rotation without overlap, ends the old secret at once. Both need two scopes."""
    admin = await service.token("*:*")
    application = await service.application("a:b", organization=admin.organization)
    rotated = await do(service, admin, "rotateToken", id=application.token_id, overlapSeconds=60)
    assert (await service.verify(application.key), await service.verify(rotated["secret"])) == (200, 200)
    ended = await do(service, admin, "endRotationOverlap", id=application.token_id)
    assert (ended["userErrors"], ended["token"]["overlap"]) == ([], None)
    reset = await do(service, admin, "rotateToken", id=application.token_id)
    assert reset["enforcement"] is not None
    assert [await service.verify(key) for key in (application.key, rotated["secret"], reset["secret"])] == [
        401,
        401,
        200,
    ]
    clerk = await service.token("tokens:write", "a:b", organization=admin.organization)
    answer = await service.gql(clerk.key, ROTATE, {"input": {"id": application.token_id}})
    assert (answer.codes, answer.body["errors"][0]["extensions"]["scope"]) == (["FORBIDDEN"], "applications:write")
    assert await service.verify(reset["secret"]) == 200


async def test_the_client_secret_is_updated_but_not_revoked(service: Service) -> None:
    """Its name and scopes change like any token's; it never expires, and it ends with its application only."""
    admin = await service.token("*:*")
    application = await service.application("a:b", organization=admin.organization)
    changed = await do(service, admin, "updateToken", id=application.token_id, name="key", scopes=["c:d"])
    assert (changed["token"]["name"], changed["token"]["scopes"]) == ("key", ["c:d"])
    assert await service.verify(application.key, "?scope=a:b") == 403
    before = await service.decided(admin.organization)
    for mutation, given, field in (
        ("updateToken", {"expiresAt": "2999-01-01T00:00:00Z"}, "expiresAt"),
        ("revokeToken", {"confirmation": "key"}, "id"),
    ):
        refused = await do(service, admin, mutation, id=application.token_id, **given)
        assert refused["userErrors"] == [{"code": "INVALID", "field": ["input", field]}]
    assert await service.decided(admin.organization) == before


async def test_a_deletion_takes_a_fresh_password_and_the_name(service: Service) -> None:
    """No token deletes, nor a member whose password is too old; the phrase is exact; the key stops at once."""
    admin = await service.token("*:*")
    application = await service.application("a:b", organization=admin.organization, name="billing")
    given = {"input": {"id": application.id, "confirmation": "billing"}}
    assert await service.verify(application.key) == 200
    stale = await member(service, admin.organization, entered_s=FRESH_FOR.total_seconds() + 30)
    fresh = await member(service, admin.organization, entered_s=FRESH_FOR.total_seconds() - 30)
    before = await service.decided(admin.organization)
    assert (await service.gql(admin.key, DELETE_APPLICATION, given)).codes == REAUTHENTICATE
    assert codes(await stale.execute(DELETE_APPLICATION, given)) == REAUTHENTICATE
    for wrong in ("Billing", "billing ", ""):
        wanted = {"input": {"id": application.id, "confirmation": wrong}}
        refused = (await fresh.data(DELETE_APPLICATION, wanted))["deleteApplication"]
        assert refused["userErrors"] == [{"code": "CONFIRMATION_MISMATCH", "field": ["input", "confirmation"]}]
        assert refused["deletedApplicationId"] is None
    elsewhere = await service.application(name="billing")
    for unknown in (elsewhere.id, admin.id, "app_\0"):
        wanted = {"input": {"id": unknown, "confirmation": "billing"}}
        refused = (await fresh.data(DELETE_APPLICATION, wanted))["deleteApplication"]
        assert refused["userErrors"] == [{"code": "NOT_FOUND", "field": ["input", "id"]}]
    assert (await service.verify(elsewhere.key), await service.decided(admin.organization)) == (200, before)
    assert await service.verify(application.key) == 200
    deleted = (await fresh.data(DELETE_APPLICATION, given))["deleteApplication"]
    assert (deleted["deletedApplicationId"], deleted["userErrors"]) == (application.id, [])
    assert deleted["enforcement"]["processes"] == 1
    assert await service.verify(application.key) == 401
    again = (await fresh.data(DELETE_APPLICATION, given))["deleteApplication"]
    assert (again["deletedApplicationId"], again["position"]) == (application.id, None)
    assert await service.decided(admin.organization) == [
        *before,
        ("TokenRevoked", application.token_id),
        ("ApplicationDeleted", application.id),
    ]


async def test_what_was_deleted_is_gone(service: Service) -> None:
    """It is in no answer any more but in the history and at its revoked token; nothing more can be done with it."""
    admin = await service.token("*:*")
    application = await service.application(
        organization=admin.organization, name="gone", secret_policy=SecretPolicy.RECOVERABLE
    )
    owner = await member(service, admin.organization)
    await owner.data(DELETE_APPLICATION, {"input": {"id": application.id, "confirmation": "gone"}})
    document = (
        "query ($id: ID!, $t: ID!) { application(id: $id) { id } node(id: $id) { id } "
        "applications { totalCount nodes { id } } token(id: $t) { status application { id } } }"
    )
    assert (await service.gql(admin.key, document, {"id": application.id, "t": application.token_id})).data == {
        "application": None,
        "node": None,
        "applications": {"totalCount": 0, "nodes": []},
        "token": {"status": "REVOKED", "application": None},
    }
    assert await seals(service, application.token_id) == []
    refused = await do(service, admin, "updateApplication", id=application.id, name="back")
    assert refused["userErrors"] == [{"code": "NOT_FOUND", "field": ["input", "id"]}]
    rotated = await do(service, admin, "rotateToken", id=application.token_id)
    assert rotated["userErrors"] == [{"code": "TOKEN_NOT_ACTIVE", "field": ["input", "id"]}]
    assert (await revealed(owner, application.token_id))["userErrors"][0]["code"] == "TOKEN_NOT_ACTIVE"


async def test_the_creation_document_is_as_printed(service: Service) -> None:
    """Scopes that the caller does not hold are refused, as for tokens; the policy is SHOW_ONCE unless asked for."""
    clerk = await service.token("applications:write")
    given = {"input": {"name": "x", "environment": "SANDBOX", "scopes": ["a:b"]}}
    refused = (await service.gql(clerk.key, CREATE_APPLICATION, given)).data["createApplication"]
    assert refused["userErrors"] == [{"code": "SCOPE_NOT_HELD", "field": ["input", "scopes"]}]
