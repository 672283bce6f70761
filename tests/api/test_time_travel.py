"""A token as it was: every field as of a position, nothing from after it, for whoever may read the history."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from service.api import context
from tests.api.conftest import Answer, Issued, Json, Service, eventually
from tests.api.documents import TOKEN, create, do

pytestmark = pytest.mark.asyncio(loop_scope="session")

AT = TOKEN + (
    "query ($id: ID!, $at: String) { token(id: $id, atPosition: $at) { ...Shown "
    "events(first: 100, order: OLDEST_FIRST) { nodes { position type ... on TokenEvent { token { ...Shown } } } } } }"
)
NOW = TOKEN + "query ($id: ID!) { token(id: $id) { ...Shown } }"
HEAD = "{ events(first: 1) { nodes { position } } }"
CHEAP = (
    "query ($id: ID!, $at: String) "
    "{ token(id: $id, atPosition: $at) { name status events(first: 5) { nodes { id } } } }"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A token whose life is over, and its positions by what happened there."""

    service: Service
    admin: Issued
    id: str
    positions: dict[str, int]
    shown: dict[str, Json]
    """What each mutation answered."""

    async def at(self, position: object, *, key: str | None = None, query: str = AT) -> Answer:
        """Ask for the token at a position."""
        return await self.service.gql(key or self.admin.key, query, {"id": self.id, "at": position})

    async def token(self, position: object) -> Json:
        """Read the token at a position, with what is nested in it apart."""
        token: Json = (await self.at(str(position))).data["token"]
        return token


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def story(running: Service) -> AsyncIterator[Story]:
    """Let a token be issued, used, rotated with an overlap, renamed, revoked."""
    admin = await running.token("*:*")
    made = await create(running, admin, name="first")
    token_id = made["token"]["id"]
    shown, positions = {"created": made["token"]}, {"created": int(made["position"])}
    await running.verify(made["secret"])

    async def used() -> str | None:
        token = (await running.gql(admin.key, NOW, {"id": token_id})).data["token"]
        return None if token["useCount"] == "0" else str(token["lastUsedAt"])

    await eventually(used)
    for name, mutation, given in (
        ("rotated", "rotateToken", {"overlapSeconds": 3600}),
        ("renamed", "updateToken", {"name": "second"}),
        ("revoked", "revokeToken", {"reason": "done"}),
    ):
        payload = await do(running, admin, mutation, id=token_id, **given)
        shown[name], positions[name] = payload["token"], int(payload["position"])
    yield Story(service=running, admin=admin, id=token_id, positions=positions, shown=shown)


async def test_each_position_shows_what_it_was_then(story: Story) -> None:
    """What each mutation answered is what its position shows for ever: status, overlap and use are of that time."""
    for name, position in story.positions.items():
        token = await story.token(position)
        del token["events"]
        expected = story.shown[name] | ({"status": "REVOKED"} if name == "revoked" else {})
        assert token == expected, name
    assert story.shown["rotated"]["overlap"]["previousLastUsedAt"] == story.shown["rotated"]["lastUsedAt"] is not None
    assert story.shown["created"]["useCount"] == "0"
    assert (await story.at(str(story.positions["created"] - 1))).data["token"] is None


async def test_nothing_nested_is_from_after_the_position(story: Story) -> None:
    """The events of a past token end at its position, and the token of such an event is the past one."""
    position = story.positions["rotated"]
    token = await story.token(position)
    events = token.pop("events")["nodes"]
    assert [event["type"] for event in events] == ["TokenCreated", "TokenUsed", "TokenRotated"]
    assert max(int(event["position"]) for event in events) == position
    assert all(event["token"] == token for event in events)
    forward = await story.at(str(position), query=CHEAP)
    assert len(forward.data["token"]["events"]["nodes"]) == 3


async def test_the_present_is_the_head(story: Story) -> None:
    """No position is now, and the head shows the same; beyond the head is an error that says where it is."""
    now = (await story.at(None)).data["token"]
    head = int((await story.service.gql(story.admin.key, HEAD)).data["events"]["nodes"][0]["position"])
    assert await story.token(head) == now
    beyond = await story.at(str(2**63 - 1))
    assert beyond.codes == ["BAD_USER_INPUT"]
    told = int(beyond.body["errors"][0]["message"].removeprefix("there is no such position yet: the history ends at "))
    assert head <= told <= int((await story.service.gql(story.admin.key, HEAD)).data["events"]["nodes"][0]["position"])
    for wrong in ("0", "-1", "1.5", "", "x" * 100, "\u0661"):
        assert (await story.at(wrong)).codes == ["BAD_USER_INPUT"], wrong


async def test_who_may_look_back(story: Story) -> None:
    """It takes events:read and, but for the token's own past, tokens:read; another organization sees nothing."""
    organization, position = story.admin.organization, str(story.positions["created"])
    issue = story.service.token
    sees = await issue("tokens:read", "events:read", organization=organization)
    assert (await story.at(position, key=sees.key)).data["token"]["name"] == "first"
    no_history = await issue("tokens:read", organization=organization)
    assert (await story.at(position, key=no_history.key)).codes == ["FORBIDDEN"]
    no_tokens = await issue("events:read", organization=organization)
    assert (await story.at(position, key=no_tokens.key)).data["token"] is None
    own = await story.service.gql(no_tokens.key, AT, {"id": no_tokens.id, "at": position})
    assert own.data["token"] is None  # it was not issued yet
    latest = (await story.service.gql(no_tokens.key, HEAD)).data["events"]["nodes"][0]["position"]
    own = await story.service.gql(no_tokens.key, AT, {"id": no_tokens.id, "at": latest})
    assert own.data["token"]["id"] == no_tokens.id
    foreign = await issue("*:*")
    for _ in range(story.positions["created"]):
        await issue(organization=foreign.organization)
    assert (await story.at(position, key=foreign.key)).data["token"] is None


async def test_the_past_costs_no_more_than_it_may(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use is folded only when it is asked for, and a request that would fold too much is told so instead of zeros."""
    position = str(story.positions["revoked"])
    monkeypatch.setattr(context, "MOST_FOLDED", 4)  # the decisions
    assert (await story.at(position, query=CHEAP)).data["token"]["status"] == "REVOKED"
    refused = await story.at(position)
    assert set(refused.codes) == {"QUERY_TOO_COMPLEX"}
    assert refused.body["data"]["token"] is None
