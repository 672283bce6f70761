"""Bad input to queries: pages, cursors, ids, filters and documents; each gets the contract's error, without a quote."""

import base64
import re
from dataclasses import replace

import pytest

from service.cursors import Cursors
from tests.api.conftest import Answer, Issued, Json, Service
from tests.api.documents import create

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGED = (
    "$first: Int, $after: String, $last: Int, $before: String",
    "first: $first, after: $after, last: $last, before: $before",
)
TOKENS = (
    f"query ({PAGED[0]}, $filter: TokenFilter) {{ found: tokens({PAGED[1]}, filter: $filter) {{ nodes {{ id }} }} }}"
)
EVENTS = (
    f"query ({PAGED[0]}, $filter: EventFilter) {{ found: events({PAGED[1]}, filter: $filter) {{ nodes {{ id }} }} }}"
)
HISTORY = f"query ($id: ID!, {PAGED[0]}) {{ token(id: $id) {{ found: events({PAGED[1]}) {{ nodes {{ id }} }} }} }}"
CURSORS = "{ tokens(first: 1) { pageInfo { endCursor } } events(first: 1) { pageInfo { endCursor } } }"


async def refused(service: Service, by: Issued, document: str, variables: Json) -> Answer:
    """Ask what cannot be answered, and check that nothing of it comes back."""
    answer = await service.gql(by.key, document, {"id": by.id, **variables})
    assert answer.codes
    assert re.search("canary", answer.text, re.IGNORECASE) is None
    return answer


async def cursors(service: Service, by: Issued) -> tuple[str, str]:
    """Get a cursor of the tokens, newest first, and one of the events."""
    data = (await service.gql(by.key, CURSORS)).data
    return data["tokens"]["pageInfo"]["endCursor"], data["events"]["pageInfo"]["endCursor"]


@pytest.mark.parametrize("document", [TOKENS, EVENTS, HISTORY])
@pytest.mark.parametrize(
    "page",
    [
        {"first": 0},
        {"first": 101},
        {"first": -1},
        {"first": 2**31 - 1},
        {"last": 0},
        {"last": 101},
        {"last": -(2**31)},
        {"first": 1, "last": 1},
        {"first": 1, "before": "canary"},
        {"last": 1, "after": "canary"},
        {"after": "canary", "before": "canary"},
    ],
)
async def test_pages(service: Service, document: str, page: Json) -> None:
    """Sizes out of bounds and arguments that do not go together refuse the list; the rest of the answer stands."""
    admin = await service.token("*:*")
    answer = await refused(service, admin, document, page)
    assert (answer.status, answer.codes) == (200, ["BAD_USER_INPUT"])
    assert (answer.body["data"].get("token") or answer.body["data"])["found"] is None


@pytest.mark.parametrize(
    "page", [{"first": 2**31}, {"first": "canary"}, {"first": 1.5}, {"after": 7}, {"before": ["canary"]}]
)
async def test_arguments_of_another_type(service: Service, page: Json) -> None:
    """What is not of the argument's type is refused with the whole request."""
    admin = await service.token("*:*")
    answer = await refused(service, admin, TOKENS, page)
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])


@pytest.mark.parametrize("document", [TOKENS, EVENTS, HISTORY])
@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "canary",
        "canary\0",
        "é",
        "=" * 8,
        "A" * 1_025,
        base64.urlsafe_b64encode(b"\0" * 16 + b'["e1",1,1]').decode(),
        base64.urlsafe_b64encode(b"\0" * 16 + b'["t1",["CREATED_AT","DESC"],null,"canary"]').decode(),
    ],
)
async def test_forged_cursors(service: Service, document: str, cursor: str) -> None:
    """A cursor that is not sealed by this installation is INVALID_CURSOR."""
    admin = await service.token("*:*")
    for page in ({"first": 1, "after": cursor}, {"last": 1, "before": cursor}):
        assert (await refused(service, admin, document, page)).codes == ["INVALID_CURSOR"]


async def test_altered_cursors(service: Service) -> None:
    """A real cursor that lost or changed a character anywhere is INVALID_CURSOR."""
    admin = await service.token("*:*")
    for document, cursor in zip((TOKENS, EVENTS), await cursors(service, admin), strict=True):
        altered = [cursor[:-1], cursor[1:], cursor[: len(cursor) // 2], cursor + "A", cursor + cursor]
        altered += [
            cursor[:place] + ("B" if cursor[place] == "A" else "A") + cursor[place + 1 :] for place in (0, 20, 30)
        ]
        for page in altered:
            assert (await refused(service, admin, document, {"after": page})).codes == ["INVALID_CURSOR"]


async def test_cursors_of_another_place(service: Service) -> None:
    """A cursor of another connection, order, direction or organization is INVALID_CURSOR."""
    admin, stranger = await service.token("*:*"), await service.token("*:*")
    token_cursor, event_cursor = await cursors(service, admin)
    for document, cursor in ((TOKENS, event_cursor), (EVENTS, token_cursor), (HISTORY, token_cursor)):
        assert (await refused(service, admin, document, {"after": cursor})).codes == ["INVALID_CURSOR"]
    for document, cursor in ((TOKENS, token_cursor), (EVENTS, event_cursor), (HISTORY, event_cursor)):
        assert (await refused(service, stranger, document, {"after": cursor})).codes == ["INVALID_CURSOR"]
    ordered = "query ($after: String, $order: TokenOrder!) { tokens(after: $after, orderBy: $order) { nodes { id } } }"
    for order in (("CREATED_AT", "ASC"), ("NAME", "DESC"), ("EXPIRES_AT", "DESC"), ("LAST_USED_AT", "DESC")):
        variables = {"after": token_cursor, "order": dict(zip(("field", "direction"), order, strict=True))}
        assert (await refused(service, admin, ordered, variables)).codes == ["INVALID_CURSOR"]


async def test_cursors_of_another_generation(service: Service) -> None:
    """A cursor from before a restore of the log is CURSOR_EXPIRED."""
    admin = await service.token("*:*")
    installation = service.entrances.core.installation
    past = Cursors(
        installation=replace(installation, generation=installation.generation - 1), organization=admin.organization
    )
    for document in (EVENTS, HISTORY):
        assert (await refused(service, admin, document, {"after": past.of_event(1)})).codes == ["CURSOR_EXPIRED"]


@pytest.mark.parametrize(
    "identifier",
    [
        "",
        "canary",
        "canary\0",
        "tok_canary\0",
        "mem_01jd0000000000000000000000",
        "app_01jd0000000000000000000000",
        "tok_" + "é" * 26,
    ]
    + [f"{prefix}_01jd0000000000000000000000" for prefix in ("tok", "evt", "org", "xyz")]
    + ["canary" * 10_000, 7],
)
async def test_ids(service: Service, identifier: object) -> None:
    """An id of nothing, of another kind or of no kind at all finds nothing, without an error."""
    admin = await service.token("*:*")
    document = "query ($id: ID!) { node(id: $id) { id } token(id: $id) { id } }"
    answer = await service.gql(admin.key, document, {"id": identifier})
    assert answer.data == {"node": None, "token": None}


@pytest.mark.parametrize("identifier", [None, True, 1.5, ["canary"], {"canary": 1}])
async def test_ids_of_another_type(service: Service, identifier: object) -> None:
    """What cannot be an id is refused with the whole request."""
    admin = await service.token("*:*")
    answer = await refused(service, admin, "query ($id: ID!) { token(id: $id) { id } }", {"id": identifier})
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])


@pytest.mark.parametrize(
    ("document", "given"),
    [
        (TOKENS, {"search": "canary" * 17}),
        (TOKENS, {"search": "canary\0"}),
        (TOKENS, {"hasScopes": ["canary"]}),
        (TOKENS, {"hasScopes": ["canary:read", "canary\0"]}),
        *(
            (TOKENS, {name: None})
            for name in ("kinds", "statuses", "search", "applicationId", "hasScopes", "neverUsed")
        ),
        *((TOKENS, {name: None}) for name in ("createdFrom", "expiresBefore", "lastUsedFrom")),
        *((EVENTS, {name: None}) for name in ("types", "tokenIds", "actorIds", "occurredFrom", "occurredBefore")),
    ],
)
async def test_filters(service: Service, document: str, given: Json) -> None:
    """Searches and scopes that nothing could match, and explicit nulls, are refused by name."""
    admin = await service.token("*:*")
    answer = await refused(service, admin, document, {"filter": given})
    assert (answer.status, answer.codes) == (200, ["BAD_USER_INPUT"])
    assert f"filter.{next(iter(given))}" in answer.body["errors"][0]["message"]


@pytest.mark.parametrize(
    ("document", "given"),
    [
        (TOKENS, {"kinds": ["CANARY"]}),
        (TOKENS, {"kinds": [None]}),
        (TOKENS, {"createdFrom": "2020-01-01T00:00:00"}),
        (TOKENS, {"expiresBefore": "10000-01-01T00:00:00Z"}),
        (TOKENS, {"neverUsed": "canary"}),
        (TOKENS, {"search": 7}),
        (EVENTS, {"types": [7]}),
        (EVENTS, {"tokenIds": [None]}),
        (EVENTS, {"occurredFrom": "canary"}),
    ],
)
async def test_filters_of_another_type(service: Service, document: str, given: Json) -> None:
    """What is not of the field's type is refused with the whole request."""
    admin = await service.token("*:*")
    answer = await refused(service, admin, document, {"filter": given})
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])


@pytest.mark.parametrize("position", ["", "0", "-1", "1.0", "canary", "²", "9223372036854775808", "1" * 5_000])
async def test_positions(service: Service, position: str) -> None:
    """A position is a whole number from 1 in decimal."""
    admin = await service.token("*:*")
    document = "query ($p: String) { tokens(minPosition: $p) { totalCount } }"
    assert (await refused(service, admin, document, {"p": position})).codes == ["BAD_USER_INPUT"]


async def test_documents_that_ask_too_much(service: Service) -> None:
    """The limits of the settings hold for the real schema: depth, aliases, cost, text, fragments and body."""
    admin = await service.token("*:*")
    nested = "events(first: 1) { nodes { ... on TokenEvent { token { " * 5 + "id" + " } } } }" * 5
    bomb = " ".join(f"fragment F{i} on Token {{ ...F{i + 1} ...F{i + 1} }}" for i in range(40))
    for document in (
        f"{{ {nested} }}",
        "{ " + " ".join(f"a{i}: viewer {{ scopes }}" for i in range(31)) + " }",
        "{ tokens(first: 100) { nodes { events(first: 100) { nodes { id } } } } }",
        "{ " + "viewer { scopes } " * 300 + "}",
        f"{{ tokens {{ nodes {{ ...F0 }} }} }} {bomb} fragment F40 on Token {{ id }}",
    ):
        answer = await service.gql(admin.key, document)
        assert (answer.status, set(answer.codes)) == (400, {"QUERY_TOO_COMPLEX"}), document[:60]
    assert (await service.gql(admin.key, "{ viewer { scopes } }" + " " * 600_000)).status == 413
    assert (await service.gql(admin.key, "{ viewer { scopes } }" + " " * 30_000)).status == 200


async def test_the_rest_of_an_answer_stands(service: Service) -> None:
    """One list that is refused leaves the others, each error with its place."""
    admin = await service.token("*:*")
    made = await create(service, admin)
    document = "query ($id: ID!) { bad: tokens(first: 0) { totalCount } good: token(id: $id) { id } viewer { scopes } }"
    answer = await service.gql(admin.key, document, {"id": made["token"]["id"]})
    assert (answer.status, answer.codes) == (200, ["BAD_USER_INPUT"])
    assert answer.body["errors"][0]["path"] == ["bad"]
    assert answer.body["data"] == {"bad": None, "good": {"id": made["token"]["id"]}, "viewer": {"scopes": ["*:*"]}}
