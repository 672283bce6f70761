"""The tokens connection: every filter and order, both directions, pages that neither repeat nor skip."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from service.authorization import token_principal
from service.queries import NotReachedError
from tests.api.conftest import Issued, Json, Service, eventually
from tests.api.documents import create, do

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = """
query ($first: Int, $after: String, $last: Int, $before: String, $filter: TokenFilter, $orderBy: TokenOrder!) {
  tokens(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) {
    edges { cursor node { id name } } nodes { name } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}"""
NAMES = ("admin", "Build", "alpha", "beta_100%", "revoked", "expired")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """An organization with a token of each sort, used and unused."""

    service: Service
    admin: Issued
    created_at: dict[str, str]

    async def page(self, **variables: object) -> Json:
        """Read a page."""
        given = {"orderBy": {"field": "CREATED_AT", "direction": "ASC"}, **variables}
        connection: Json = (await self.service.gql(self.admin.key, PAGE, given)).data["tokens"]
        assert connection["nodes"] == [{"name": edge["node"]["name"]} for edge in connection["edges"]]
        return connection

    async def names(self, **variables: object) -> list[str]:
        """Read the names of a page."""
        return [node["name"] for node in (await self.page(**variables))["nodes"]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(running: Service) -> AsyncIterator[Fleet]:
    """Make the tokens, use one, and wait until that is known."""
    admin = await running.token("*:*", name="admin")
    made = {
        "Build": await create(running, admin, name="Build", expiresAt="2999-01-01T00:00:00Z"),
        "alpha": await create(running, admin, name="alpha", scopes=["a:b", "a:c"]),
        "beta_100%": await create(running, admin, name="beta_100%", scopes=[], expiresAt="2998-01-01T00:00:00Z"),
        "revoked": await create(running, admin, name="revoked"),
        "expired": await create(running, admin, name="expired", expiresAt="2997-01-01T00:00:00Z"),
    }
    await do(running, admin, "revokeToken", id=made["revoked"]["token"]["id"])
    expired = made["expired"]["token"]["id"]
    await running.sql("update tokens set expires_at = created_at + interval '1 ms' where id = $1", expired)
    assert await running.verify(made["alpha"]["secret"]) == 200

    order = "{field: LAST_USED_AT, direction: DESC}"
    newest = f"{{ tokens(orderBy: {order}, filter: {{neverUsed: false}}) {{ nodes {{ name }} }} }}"

    async def both_used() -> bool:
        found = (await running.gql(admin.key, newest)).data["tokens"]["nodes"]
        return [token["name"] for token in found] == ["admin", "alpha"]

    assert await eventually(both_used)
    shown = (await running.gql(admin.key, "{ tokens { nodes { name createdAt } } }")).data["tokens"]["nodes"]
    yield Fleet(service=running, admin=admin, created_at={token["name"]: token["createdAt"] for token in shown})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, NAMES),
        ({"kinds": ["API_TOKEN"]}, NAMES),
        ({"kinds": ["API_SECRET", "CLIENT_SECRET"]}, ()),
        ({"kinds": []}, ()),
        ({"statuses": ["ACTIVE"]}, ("admin", "Build", "alpha", "beta_100%")),
        ({"statuses": ["REVOKED", "EXPIRED"]}, ("revoked", "expired")),
        ({"statuses": ["REVOKING"]}, ()),
        ({"search": "BUILD"}, ("Build",)),
        ({"search": "a_1"}, ("beta_100%",)),
        ({"search": "%"}, ("beta_100%",)),
        ({"search": ""}, NAMES),
        ({"search": "entri_"}, NAMES),
        ({"hasScopes": ["projects:read"]}, ("Build", "revoked", "expired")),
        ({"hasScopes": ["a:c", "a:b"]}, ("alpha",)),
        ({"hasScopes": ["a:b", "a:d"]}, ()),
        ({"hasScopes": []}, NAMES),
        ({"applicationId": "app_01jd0000000000000000000000"}, ()),
        ({"applicationId": "nonsense\0"}, ()),
        ({"expiresFrom": "2998-01-01T00:00:00Z"}, ("Build", "beta_100%")),
        ({"expiresBefore": "2998-01-01T00:00:00+00:00"}, ("expired",)),
        ({"expiresFrom": "2998-01-01T02:00:00+02:00", "expiresBefore": "2999-01-01T00:00:00Z"}, ("beta_100%",)),
        ({"neverUsed": False}, ("admin", "alpha")),
        ({"neverUsed": True, "statuses": ["ACTIVE"]}, ("Build", "beta_100%")),
        ({"lastUsedFrom": "2020-01-01T00:00:00Z", "search": "alpha"}, ("alpha",)),
        ({"lastUsedBefore": "2020-01-01T00:00:00Z"}, ()),
    ],
)
async def test_each_filter_lets_through_what_it_says(fleet: Fleet, given: Json, expected: tuple[str, ...]) -> None:
    """Filters match what they say, all of them together, and the count agrees with the page."""
    assert await fleet.names(filter=given) == list(expected)
    document = "query ($filter: TokenFilter) { tokens(filter: $filter, first: 1) { totalCount } }"
    counted = await fleet.service.gql(fleet.admin.key, document, {"filter": given})
    assert counted.data["tokens"]["totalCount"] == len(expected)


async def test_instants_of_creation_bound_from_within_and_before_without(fleet: Fleet) -> None:
    """`createdFrom` includes its instant, `createdBefore` does not, to the microsecond."""
    given = {"createdFrom": fleet.created_at["Build"], "createdBefore": fleet.created_at["revoked"]}
    assert await fleet.names(filter=given) == ["Build", "alpha", "beta_100%"]


ORDERS: dict[str, list[str]] = {
    "CREATED_AT": list(NAMES),
    "NAME": ["admin", "alpha", "beta_100%", "Build", "expired", "revoked"],
    "EXPIRES_AT": ["expired", "beta_100%", "Build"],
    "LAST_USED_AT": [],
}


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("field", ORDERS)
async def test_pages_join_up_in_every_order_and_both_ways(fleet: Fleet, field: str, direction: str) -> None:
    """Two at a time forward, and backward from the end, give the whole list; what they say about more is so."""
    order: dict[str, Any] = {"orderBy": {"field": field, "direction": direction}}
    whole = await fleet.names(**order)
    in_order = [name for name in whole if name in ORDERS[field]]
    assert in_order == (ORDERS[field] if direction == "ASC" else ORDERS[field][::-1])
    assert sorted(whole) == sorted(NAMES)
    for size, cursor, start, info in (
        ("first", "after", "endCursor", "hasNextPage"),
        ("last", "before", "startCursor", "hasPreviousPage"),
    ):
        pages, mark = [], None
        while True:
            page = await fleet.page(**order, **{size: 2, cursor: mark})
            pages.append([node["name"] for node in page["nodes"]])
            mark = page["pageInfo"][start]
            if not page["pageInfo"][info]:
                break
        assert [name for page in (pages if size == "first" else pages[::-1]) for name in page] == whole
        assert [len(page) for page in pages] == [2, 2, 2]


async def test_a_page_says_where_it_lies(fleet: Fleet) -> None:
    """The first, a middle and the last page know their neighbours and their own cursors; an empty one has none."""
    first = await fleet.page(first=2)
    assert first["pageInfo"]["hasPreviousPage"] is False
    assert first["pageInfo"]["hasNextPage"] is True
    assert [edge["cursor"] for edge in first["edges"]] == [first["pageInfo"][c] for c in ("startCursor", "endCursor")]
    middle = await fleet.page(first=2, after=first["pageInfo"]["endCursor"])
    assert (middle["pageInfo"]["hasPreviousPage"], middle["pageInfo"]["hasNextPage"]) == (True, True)
    back = await fleet.page(last=2, before=middle["pageInfo"]["startCursor"])
    assert back["nodes"] == first["nodes"]
    assert (back["pageInfo"]["hasPreviousPage"], back["pageInfo"]["hasNextPage"]) == (False, True)
    last = await fleet.page(last=2)
    assert (last["pageInfo"]["hasPreviousPage"], last["pageInfo"]["hasNextPage"]) == (True, False)
    beyond = await fleet.page(first=2, after=last["pageInfo"]["endCursor"])
    assert beyond["edges"] == []
    assert (beyond["pageInfo"]["startCursor"], beyond["pageInfo"]["endCursor"]) == (None, None)


async def test_by_last_use_the_unused_are_the_earliest(fleet: Fleet) -> None:
    """Ascending begins with those never used; descending with the admin, who has just asked."""
    used = ["alpha", "admin"]
    ascending = await fleet.names(orderBy={"field": "LAST_USED_AT", "direction": "ASC"})
    assert ascending[-2:] == used
    descending = await fleet.names(orderBy={"field": "LAST_USED_AT", "direction": "DESC"})
    assert descending[:2] == used[::-1]


async def test_the_default_is_fifty_of_the_newest(service: Service) -> None:
    """Without arguments the newest come first, fifty of them; a hundred can be asked for."""
    admin = await service.token("*:*")
    for number in range(50):
        await service.token("a:b", organization=admin.organization, name=f"{number}")
    answer = await service.gql(admin.key, "{ tokens { totalCount nodes { createdAt } pageInfo { hasNextPage } } }")
    tokens = answer.data["tokens"]
    assert (len(tokens["nodes"]), tokens["totalCount"], tokens["pageInfo"]["hasNextPage"]) == (50, 51, True)
    assert all(newer["createdAt"] > older["createdAt"] for newer, older in pairwise(tokens["nodes"]))
    hundred = await service.gql(admin.key, "{ tokens(first: 100) { nodes { id } } }")
    assert len(hundred.data["tokens"]["nodes"]) == 51


async def test_a_query_waits_for_a_position(service: Service) -> None:
    """With `minPosition` a query waits for what is yet to be appended, and gives up on what never comes."""
    admin = await service.token("*:*")
    made = await create(service, admin)
    document = "query ($p: String!) { tokens(minPosition: $p) { nodes { name } } }"
    waiting = asyncio.ensure_future(service.gql(admin.key, document, {"p": f"{int(made['position']) + 2}"}))
    for _ in range(2):
        await create(service, admin)
    assert (await waiting).data["tokens"]["nodes"]
    impatient = replace(service.entrances.services.queries, longest_wait_s=0.01)
    principal = token_principal(admin.id, admin.organization, ("tokens:read",))
    with pytest.raises(NotReachedError):
        await impatient.wait_for(principal, 2**63 - 1)
