"""Bad input to mutations: each gets the contract's refusal with its place, appends nothing, and is quoted nowhere."""

import re
from typing import Any

import pytest

from tests.api.conftest import Answer, Issued, Json, Service
from tests.api.documents import CREATE, ROTATE, change

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOCUMENTS = {
    "createToken": CREATE,
    "rotateToken": ROTATE,
    **{name: change(name) for name in ("updateToken", "endRotationOverlap", "revokeToken")},
}
NONSENSE_IDS = [
    "",
    "canary",
    "canary\0",
    "tok_canary\0",
    "tok_01jd000000000000000000000",
    "TOK_01JD0000000000000000000000",
    "tok_01jd0000000000000000000000",
    "org_01jd0000000000000000000000",
    "tok_" + "é" * 26,
    "canary" * 10_000,
    7,
]
BAD_NAMES = [
    "",
    " ",
    "\u3000\t ",
    "canary" * 17,
    "canary\0",
    "canary\x1b[2J",
    "canary\u202e",
    "canary\u2028",
    "\x7fcanary",
]
BAD_SCOPES: list[list[str]] = [
    ["canary"],
    ["canary:"],
    [":canary"],
    ["canary:read:write"],
    ["Canary:read"],
    ["*:read"],
    ["canary:read "],
    ["canary:r\0"],
    ["canary:" + "x" * 58],
    ["tokens:canary"],
    ["canary:read", "canary:read"],
    [f"canary:a{number}" for number in range(101)],
    [f"canary:{number:057}" for number in range(60)],
    [""],
]


async def refused(service: Service, by: Issued, mutation: str, given: Json) -> Answer:
    """Try a command that must append nothing and quote nothing, and return the answer."""
    before = await service.decided(by.organization)
    answer = await service.gql(by.key, DOCUMENTS[mutation], {"input": given})
    assert await service.decided(by.organization) == before
    assert re.search("canary", answer.text, re.IGNORECASE) is None
    return answer


async def refusals(service: Service, by: Issued, mutation: str, given: Json) -> list[tuple[str, str]]:
    """Try a bad command and return code and field of each refusal."""
    answer = await refused(service, by, mutation, given)
    payload: dict[str, Any] = answer.data[mutation]
    errors = payload.pop("userErrors")
    assert set(payload.values()) == {None}
    assert answer.status == 200
    return [(error["code"], ".".join(error["field"])) for error in errors]


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_names(service: Service, name: str) -> None:
    """A name is 1 to 100 printable characters that are not all spaces, at creation and later."""
    admin = await service.token("*:*")
    assert await refusals(service, admin, "createToken", {"name": name}) == [("INVALID", "input.name")]
    given = {"id": admin.id, "name": name}
    assert await refusals(service, admin, "updateToken", given) == [("INVALID", "input.name")]


@pytest.mark.parametrize("scopes", BAD_SCOPES)
async def test_scopes(service: Service, scopes: list[str]) -> None:
    """Ill-formed, doubled, reserved, too long and too many scopes are refused, at creation and later."""
    admin = await service.token("*:*")
    assert await refusals(service, admin, "createToken", {"name": "x", "scopes": scopes}) == [
        ("INVALID", "input.scopes")
    ]
    given = {"id": admin.id, "scopes": scopes}
    assert await refusals(service, admin, "updateToken", given) == [("INVALID", "input.scopes")]


@pytest.mark.parametrize("at", ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2020-01-01T00:00:00.5+05:30"])
async def test_an_expiry_that_has_passed(service: Service, at: str) -> None:
    """An instant in the past is well-formed and refused."""
    admin = await service.token("*:*")
    expected = [("INVALID", "input.expiresAt")]
    assert await refusals(service, admin, "createToken", {"name": "x", "expiresAt": at}) == expected
    assert await refusals(service, admin, "updateToken", {"id": admin.id, "expiresAt": at}) == expected


@pytest.mark.parametrize(
    "at",
    [
        "2999-01-01T00:00:00",
        "10000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "2999-02-30T00:00:00Z",
        "2999-01-01T24:00:01Z",
        "2999-01-01T00:00:60Z",
        "2999-01-01 00:00:00Z",
        "2999-01-01",
        "\uff12\uff19\uff19\uff19-01-01T00:00:00Z",
        "2999-01-01T00:00:00+25:00",
        "2999-01-01T00:00:00.Z",
        "canary",
        "canary\0",
        "",
        32472144000,
        True,
        ["canary"],
    ],
)
async def test_what_is_no_instant(service: Service, at: object) -> None:
    """Naive, impossible and ill-formed instants are refused with the whole request, and the right form is told."""
    admin = await service.token("*:*")
    answer = await refused(service, admin, "createToken", {"name": "x", "expiresAt": at})
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])
    assert "at 'expiresAt': An instant is RFC 3339 with its offset" in answer.body["errors"][0]["message"]


@pytest.mark.parametrize("identifier", NONSENSE_IDS)
async def test_ids(service: Service, identifier: object) -> None:
    """Ids of nothing, of another kind and of no kind at all are not found, all alike."""
    admin = await service.token("*:*")
    for mutation in ("updateToken", "rotateToken", "endRotationOverlap", "revokeToken"):
        assert await refusals(service, admin, mutation, {"id": identifier}) == [("NOT_FOUND", "input.id")]


@pytest.mark.parametrize(
    ("mutation", "given", "field"),
    [
        ("createToken", {"name": "x", "kind": "API_SECRET", "expiresAt": "2999-01-01T00:00:00Z"}, "expiresAt"),
        ("createToken", {"name": "x", "kind": "CLIENT_SECRET"}, "kind"),
        ("createToken", {"name": "x", "expiresAt": None}, "expiresAt"),
        ("createToken", {"name": "x", "idempotencyKey": None}, "idempotencyKey"),
        ("updateToken", {"name": None}, "name"),
        ("updateToken", {"scopes": None}, "scopes"),
        ("rotateToken", {"overlapSeconds": -1}, "overlapSeconds"),
        ("rotateToken", {"overlapSeconds": 2_592_001}, "overlapSeconds"),
        ("rotateToken", {"overlapSeconds": 2**31 - 1}, "overlapSeconds"),
        ("rotateToken", {"idempotencyKey": None}, "idempotencyKey"),
        ("endRotationOverlap", {}, "id"),
        ("revokeToken", {"reason": None}, "reason"),
        ("revokeToken", {"confirmation": None}, "confirmation"),
        ("revokeToken", {"reason": "canary" * 84}, "reason"),
        ("revokeToken", {"reason": "canary\0"}, "reason"),
    ],
)
async def test_fields(service: Service, mutation: str, given: Json, field: str) -> None:
    """Explicit nulls, numbers out of bounds, other kinds and unprintable reasons are refused at their field."""
    admin = await service.token("*:*")
    identified = given if mutation == "createToken" else {"id": admin.id, **given}
    assert await refusals(service, admin, mutation, identified) == [("INVALID", f"input.{field}")]


@pytest.mark.parametrize(
    ("mutation", "given"),
    [
        ("createToken", {}),
        ("createToken", {"name": None}),
        ("createToken", {"name": 7}),
        ("createToken", {"name": ["canary"]}),
        ("createToken", {"name": "x", "scopes": None}),
        ("createToken", {"name": "x", "scopes": [None]}),
        ("createToken", {"name": "x", "scopes": {"canary": 1}}),
        ("createToken", {"name": "x", "kind": "CANARY"}),
        ("createToken", {"name": "x", "kind": None}),
        ("createToken", {"name": "x", "secret": "canary"}),
        ("rotateToken", {"id": "x", "overlapSeconds": 2**31}),
        ("rotateToken", {"id": "x", "overlapSeconds": "60"}),
        ("rotateToken", {"id": "x", "overlapSeconds": 1.5}),
        ("rotateToken", {"id": "x", "overlapSeconds": None}),
        ("revokeToken", {"id": None}),
        ("revokeToken", {"id": True}),
        ("revokeToken", {"id": ["canary"]}),
        ("revokeToken", {"id": {"canary": "canary"}}),
        ("revokeToken", {"id": 1.5}),
    ],
)
async def test_types(service: Service, mutation: str, given: Json) -> None:
    """What is not of the field's type is refused with the whole request."""
    admin = await service.token("*:*")
    answer = await refused(service, admin, mutation, given)
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])
    assert "data" not in answer.body


async def test_everything_wrong_is_told_at_once(service: Service) -> None:
    """A command with three bad fields gets three refusals."""
    admin = await service.token("*:*")
    given = {"name": " ", "scopes": ["canary"], "expiresAt": "2020-01-01T00:00:00Z"}
    fields = [field for _, field in await refusals(service, admin, "createToken", given)]
    assert fields == ["input.name", "input.scopes", "input.expiresAt"]


async def test_one_bad_command_among_good_ones(service: Service) -> None:
    """Mutations of a document run one by one: the bad one is refused and the others stand."""
    admin = await service.token("*:*")
    create = "createToken(input: {name: $%s}) { token { name } userErrors { code } }"
    commands = " ".join(f"{name}: {create % name}" for name in "abc")
    document = f"mutation ($a: String!, $b: String!, $c: String!) {{ {commands} }}"
    data = (await service.gql(admin.key, document, {"a": "a", "b": "", "c": "c"})).data
    assert [payload["token"] for payload in data.values()] == [{"name": "a"}, None, {"name": "c"}]
    assert data["b"]["userErrors"] == [{"code": "INVALID"}]
    assert [name for name, _ in await service.decided(admin.organization)].count("TokenCreated") == 3


@pytest.mark.parametrize(
    "bad", ["createToken(input: {name: 7}) { secret }", "createToken { secret }", "canary", "viewer"]
)
async def test_a_document_that_is_not_valid_does_nothing(service: Service, bad: str) -> None:
    """An error of validation anywhere refuses the good commands too."""
    admin = await service.token("*:*")
    before = await service.decided(admin.organization)
    document = f'mutation {{ good: createToken(input: {{name: "good"}}) {{ secret }} bad: {bad} }}'
    answer = await service.gql(admin.key, document)
    assert (answer.status, set(answer.codes)) == (400, {"BAD_USER_INPUT"})
    assert await service.decided(admin.organization) == before


async def test_whoever_revokes_itself_can_do_no_more(service: Service) -> None:
    """After a token has revoked itself the rest of its own document is refused, and so is its next request."""
    admin = await service.token("*:*")
    document = """mutation ($id: ID!) {
      revokeToken(input: {id: $id}) { token { status } }
      createToken(input: {name: "late"}) { secret }
    }"""
    answer = await service.gql(admin.key, document, {"id": admin.id})
    assert (answer.body["data"], answer.codes) == (None, ["UNAUTHENTICATED"])
    assert (await service.decided(admin.organization))[-1] == ("TokenRevoked", admin.id)
    assert (await service.gql(admin.key, "{ viewer { scopes } }")).status == 401
