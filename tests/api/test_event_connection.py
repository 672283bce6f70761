"""The events connection: both orders, every filter, both directions, and cursors that are good in all of them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import pytest_asyncio

from events.entry import leaf_hash
from tests.api.conftest import Issued, Json, Service, eventually
from tests.api.documents import create, do

pytestmark = pytest.mark.asyncio(loop_scope="session")

ARGUMENTS = "first: $first, after: $after, last: $last, before: $before, filter: $filter, order: $order"
FIELDS = """{
  edges { cursor node { id type position } } nodes { position }
  pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
}"""
VARIABLES = "$first: Int, $after: String, $last: Int, $before: String, $filter: EventFilter, $order: EventOrder!"
PAGE = f"query ({VARIABLES}) {{ events({ARGUMENTS}) {FIELDS} }}"
OF_TOKEN = f"query ($id: ID!, {VARIABLES}) {{ token(id: $id) {{ events({ARGUMENTS}) {FIELDS} }} }}"
DECISIONS = ["OrganizationCreated", "TokenCreated", "TokenUpdated", "TokenRotated", "TokenOverlapEnded", "TokenRevoked"]
"""All but what comes of the tests' own requests, which are uses."""
ARCHIVED = """
    with part as (
        insert into archived_usage (
            from_position, to_position, events, last_recorded_at, file, file_bytes, file_sha256, detached_table)
        values (-1, 0, 1, '-infinity', 'a file', 0, sha256(''), 'a table')
        returning from_position)
    insert into archived_organizations (organization, from_position, first_position, last_position, events)
    select $1, from_position, 7, 41, 1 from part
"""
"""A record of an archive that lies before all there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """An organization whose history is known."""

    service: Service
    admin: Issued
    first: str
    second: str

    async def page(self, **variables: object) -> Json:
        """Read a page of the organization's history, or of a token's if its id is given; the oldest first."""
        given = {"order": "OLDEST_FIRST", "filter": {"types": DECISIONS}, **variables}
        data = (await self.service.gql(self.admin.key, OF_TOKEN if "id" in given else PAGE, given)).data
        connection: Json = data["token"]["events"] if "id" in given else data["events"]
        return connection

    async def types(self, **variables: object) -> list[str]:
        """Read the types of a page."""
        return [edge["node"]["type"] for edge in (await self.page(**variables))["edges"]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def story(running: Service) -> AsyncIterator[Story]:
    """Let two tokens live, and wait until the use of one is known."""
    admin = await running.token("*:*")
    made = await create(running, admin, name="first")
    first = made["token"]["id"]
    await running.verify(made["secret"])
    await do(running, admin, "updateToken", id=first, name="renamed")
    await do(running, admin, "rotateToken", id=first, overlapSeconds=60)
    await do(running, admin, "endRotationOverlap", id=first)
    second = (await create(running, admin, name="second"))["token"]["id"]
    await do(running, admin, "revokeToken", id=second)
    story = Story(service=running, admin=admin, first=first, second=second)

    async def used() -> list[str]:
        return await story.types(filter={"types": ["TokenUsed"], "tokenIds": [first]})

    assert await eventually(used) == ["TokenUsed"]
    yield story


HISTORY = [
    "OrganizationCreated",
    "TokenCreated",
    "TokenCreated",
    "TokenUpdated",
    "TokenRotated",
    "TokenOverlapEnded",
    "TokenCreated",
    "TokenRevoked",
]


async def test_both_orders_tell_the_whole_history(story: Story) -> None:
    """Oldest first and newest first are each other's reverse; positions are the organization's own, without gaps."""
    assert await story.types() == HISTORY
    assert await story.types(order="NEWEST_FIRST") == HISTORY[::-1]
    everything = await story.page(first=100, filter=None)
    positions = [int(node["position"]) for node in everything["nodes"]]
    assert positions == list(range(1, len(positions) + 1))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"types": ["TokenCreated", "TokenRevoked"]}, ["TokenCreated"] * 3 + ["TokenRevoked"]),
        ({"types": ["NoSuchEvent", "a\0b"]}, []),
        ({"types": []}, []),
        ({"tokenIds": ["first"]}, ["TokenCreated", "TokenUpdated", "TokenRotated", "TokenOverlapEnded"]),
        ({"tokenIds": ["second", "second", "nonsense\0"]}, ["TokenCreated", "TokenRevoked"]),
        ({"tokenIds": ["first", "second"], "types": ["TokenCreated"]}, ["TokenCreated"] * 2),
        ({"tokenIds": []}, []),
        ({"actorIds": ["operator"]}, ["OrganizationCreated", "TokenCreated"]),
        ({"actorIds": ["admin", "nonsense\0"], "types": ["TokenRotated"]}, ["TokenRotated"]),
        ({"actorIds": ["first"], "types": ["TokenCreated"]}, []),
        ({"occurredFrom": "2999-01-01T00:00:00Z"}, []),
        ({"occurredBefore": "2020-01-01T00:00:00Z"}, []),
        ({"occurredFrom": "2020-01-01T00:00:00Z", "occurredBefore": "2999-01-01T00:00:00Z"}, HISTORY),
    ],
)
async def test_each_filter_lets_through_what_it_says(story: Story, given: Json, expected: list[str]) -> None:
    """Filters match what they say, all of them together, in both orders."""
    ids = {"first": story.first, "second": story.second, "admin": story.admin.id}
    named: dict[str, Any] = {"types": DECISIONS} | {
        name: [ids.get(value, value) for value in values] if isinstance(values, list) else values
        for name, values in given.items()
    }
    assert await story.types(filter=named) == expected
    assert await story.types(filter=named, order="NEWEST_FIRST") == expected[::-1]


async def test_instants_bound_from_within_and_before_without(story: Story) -> None:
    """`occurredFrom` includes its instant, `occurredBefore` does not, to the microsecond."""
    document = (
        '{ events(order: OLDEST_FIRST, filter: {types: ["TokenUpdated", "TokenRevoked"]}) { nodes { occurredAt } } }'
    )
    updated, revoked = (await story.service.gql(story.admin.key, document)).data["events"]["nodes"]
    between = {"types": DECISIONS, "occurredFrom": updated["occurredAt"], "occurredBefore": revoked["occurredAt"]}
    assert await story.types(filter=between) == HISTORY[3:7]


@pytest.mark.parametrize("order", ["OLDEST_FIRST", "NEWEST_FIRST"])
async def test_pages_join_up_both_ways(story: Story, order: str) -> None:
    """Three at a time forward, and backward from the end, give the whole history once; what is said of more is so."""
    whole = await story.types(order=order)
    for size, cursor, start, info in (
        ("first", "after", "endCursor", "hasNextPage"),
        ("last", "before", "startCursor", "hasPreviousPage"),
    ):
        pages: list[list[str]] = []
        more, mark = True, None
        while more:
            page = await story.page(order=order, **{size: 3, cursor: mark})
            pages.append([edge["node"]["type"] for edge in page["edges"]])
            more, mark = page["pageInfo"][info], page["pageInfo"][start]
        assert [name for page in (pages if size == "first" else pages[::-1]) for name in page] == whole
        assert sorted(map(len, pages)) == [2, 3, 3]


async def test_a_cursor_is_good_in_every_events_connection(story: Story) -> None:
    """A cursor marks a position: it works in the other order, under another filter and in a token's own history."""
    edges = (await story.page())["edges"]
    rotated = next(edge["cursor"] for edge in edges if edge["node"]["type"] == "TokenRotated")
    assert await story.types(after=rotated) == HISTORY[5:]
    assert await story.types(after=rotated, order="NEWEST_FIRST") == HISTORY[3::-1]
    assert await story.types(before=rotated, last=2) == HISTORY[2:4]
    assert await story.types(before=rotated, order="NEWEST_FIRST", last=100) == HISTORY[:4:-1]
    assert await story.types(after=rotated, id=story.first) == ["TokenOverlapEnded"]
    assert await story.types(before=rotated, id=story.first, last=100) == ["TokenCreated", "TokenUpdated"]
    assert await story.types(after=rotated, id=story.second) == ["TokenCreated", "TokenRevoked"]


async def test_a_tokens_history_is_its_own(story: Story) -> None:
    """`Token.events` holds what happened to the token; a filter for another's finds nothing there."""
    assert await story.types(id=story.second) == ["TokenCreated", "TokenRevoked"]
    assert await story.types(id=story.second, filter={"tokenIds": [story.second]}) == ["TokenCreated", "TokenRevoked"]
    assert await story.types(id=story.second, filter={"tokenIds": [story.first]}) == []
    assert "TokenUsed" in await story.types(id=story.first, filter=None)


async def test_an_event_shows_what_was_hashed(story: Story) -> None:
    """The entry is the exact text under the leaf hash, and every column shown is in it."""
    fields = (
        "id position type occurredAt recordedAt stream version subjectId requestId ipAddress entry leafHash payload"
    )
    document = f"{{ events(order: OLDEST_FIRST) {{ nodes {{ {fields} actor {{ id kind }} }} }} }}"
    nodes = (await story.service.gql(story.admin.key, document)).data["events"]["nodes"]
    recorded_at = [node["recordedAt"] for node in nodes]
    assert recorded_at == sorted(recorded_at)
    for node in nodes:
        entry = orjson.loads(node["entry"])
        assert leaf_hash(node["entry"].encode()).hex() == node["leafHash"]
        assert (entry["event_id"], entry["type"], entry["payload"]) == (node["id"], node["type"], node["payload"])
        assert (entry["stream"], entry["version"], entry["actor"]) == (node["stream"], node["version"], node["actor"])
        assert (entry["occurred_at"], entry["subject"]) == (node["occurredAt"], node["subjectId"])
        assert (entry["request_id"], entry["address"]) == (node["requestId"], node["ipAddress"])
        assert entry["organization"] == story.admin.organization


async def test_a_connection_says_up_to_where_usage_was_archived(running: Service) -> None:
    """The archive of the caller's organization counts, for its history as for a token's; null where there is none."""
    caller, other = await running.token("*:*"), await running.token("*:*")
    document = "query ($id: ID!) { events { archivedUsageThrough } token(id: $id) { events { archivedUsageThrough } } }"
    await running.sql(ARCHIVED, caller.organization)
    for issued, expected in ((caller, {"archivedUsageThrough": "41"}), (other, {"archivedUsageThrough": None})):
        data = (await running.gql(issued.key, document, {"id": issued.id})).data
        assert (data["events"], data["token"]["events"]) == (expected, expected)


async def test_a_page_of_a_history_without_a_match_is_empty(story: Story) -> None:
    """Nothing found is a page without cursors and without more."""
    page = await story.page(filter={"types": ["UsageGap"]})
    assert page["edges"] == []
    nothing = {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None}
    assert page["pageInfo"] == nothing
