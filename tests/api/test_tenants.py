"""Two organizations: with one's key, whatever is the other's is exactly what does not exist. Follows the schema."""

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLNamedType,
    get_named_type,
    is_input_object_type,
    is_interface_type,
    is_leaf_type,
    is_object_type,
    is_required_argument,
    is_union_type,
)

from events.identifiers import new_id
from events.members import MemberRole
from tests.api.conftest import Issued, Json, Service, eventually, unknown_key
from tests.api.documents import MUTATIONS, QUERIES, create, do
from tests.api.members import joined

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEADS_TO: Final = {"after": "cursor", "before": "cursor", "secret": "key"}
"""What texts that are no ids can lead to something."""
LEADS_NOWHERE: Final = frozenset(
    {"minPosition", "requiredScopes", "search", "hasScopes", "types", "name", "scopes", "reason", "confirmation"}
    | {"atPosition", "idempotencyKey", "from", "to", "size"}
    | {"email", "password", "currentPassword", "newPassword"}
)
"""Texts that are only compared within the caller's own organization, or bound to the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A root field with one argument that can lead to something, `path` its place among the arguments."""

    field: str
    path: tuple[str, ...]
    kind: str
    is_list: bool

    def arguments(self, value: str) -> Json:
        """Nest a value in the arguments."""
        nested: Any = [value] if self.is_list else value
        for name in reversed(self.path):
            nested = {name: nested}
        arguments: Json = nested
        return arguments


def leading(inputs: dict[str, GraphQLArgument] | dict[str, GraphQLInputField], path: tuple[str, ...]) -> Iterator[Call]:
    """Find the arguments that can lead to something. Fails for a text of which nobody has said whether it can."""
    for name, given in inputs.items():
        named = get_named_type(given.type)
        is_list = "[" in str(given.type)
        if is_input_object_type(named):
            yield from leading(named.fields, (*path, name))
        elif named.name == "ID":
            yield Call(field=path[0], path=(*path[1:], name), kind="id", is_list=is_list)
        elif named.name == "String" and name not in LEADS_NOWHERE:
            yield Call(field=path[0], path=(*path[1:], name), kind=LEADS_TO[name], is_list=is_list)


CALLS: Final = [call for name, field in {**QUERIES, **MUTATIONS}.items() for call in leading(field.args, (name,))]


def selection(named: GraphQLNamedType, depth: int = 1) -> str:
    """Select all that can be selected without arguments, to a depth of objects within objects."""
    if is_leaf_type(named):
        return ""
    chosen = ["__typename"]
    if is_union_type(named):
        chosen += [f"... on {each.name} {selection(each, depth)}" for each in named.types]
    elif is_object_type(named) or is_interface_type(named):
        for name, field in named.fields.items():
            inside = get_named_type(field.type)
            if depth or is_leaf_type(inside):
                chosen.append(f"{name} {selection(inside, depth - 1)}")
    return "{ " + " ".join(chosen) + " }"


def document(name: str, field: GraphQLField, path: tuple[str, ...] = ()) -> str:
    """Write the document that calls a root field, with the one argument at its root as a variable."""
    operation = "query" if name in QUERIES else "mutation"
    chosen = selection(get_named_type(field.type))
    if not path:
        return f"{operation} {{ {name} {chosen} }}"
    return f"{operation} (${path[0]}: {field.args[path[0]].type}) {{ {name}({path[0]}: ${path[0]}) {chosen} }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """Two organizations with a token each that may do everything, and what the first one has."""

    own: Issued
    other: Issued
    ids: list[str]
    cursors: dict[str, str]


async def tenants(service: Service) -> Tenants:
    """Make them, with some history."""
    other, own = await service.token("*:*", name="canary"), await service.token("*:*")
    made = await create(service, other, name="canary", scopes=["canary:read"])
    await create(service, other, name="canary", kind="API_SECRET")
    application = await service.application(organization=other.organization, name="canary")
    await do(service, other, "rotateToken", id=made["token"]["id"], overlapSeconds=60)
    pages = "pageInfo { endCursor }"
    member = await joined(service, MemberRole.MEMBER, other.organization)
    lists = " ".join(f"{name} {{ {pages} }}" for name in ("tokens", "applications", "members"))
    document = f"{{ {lists} events {{ {pages} nodes {{ id }} }} }}"
    shown = (await service.gql(other.key, document)).data
    ids = [made["token"]["id"], other.id, other.organization, shown["events"]["nodes"][0]["id"]]
    ids += [application.id, application.token_id, member]
    cursors = {name: shown[name]["pageInfo"]["endCursor"] for name in ("tokens", "applications", "members", "events")}
    return Tenants(own=own, other=other, ids=ids, cursors=cursors)


async def answered(service: Service, call: Call, key: str, value: str) -> tuple[int, str]:
    """Make a call and return the whole answer."""
    field = {**QUERIES, **MUTATIONS}[call.field]
    answer = await service.gql(key, document(call.field, field, call.path), call.arguments(value))
    return answer.status, answer.text


def pairs(call: Call, between: Tenants) -> list[tuple[str, str]]:
    """Pair what is the other's with what is nobody's."""
    if call.kind == "cursor":
        forged = base64.urlsafe_b64encode(os.urandom(60)).decode().rstrip("=")
        return [(between.cursors.get(call.field, between.cursors["events"]), forged)]
    if call.kind == "key":
        return [(between.other.key, unknown_key())]
    return [(value, new_id(value[:3], datetime.now(UTC), os.urandom)) for value in between.ids]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.field}.{'.'.join(call.path)}")
async def test_what_is_anothers_does_not_exist(service: Service, call: Call) -> None:
    """Every argument that can lead to something answers alike for the other's and for nobody's, and changes nothing."""
    between = await tenants(service)
    before = await service.decided(between.own.organization, between.other.organization)
    for theirs, nobodys in pairs(call, between):
        answer = await answered(service, call, between.own.key, theirs)
        assert answer == await answered(service, call, between.own.key, nobodys)
        assert theirs not in answer[1]
        assert "canary" not in answer[1]
    assert await service.decided(between.own.organization, between.other.organization) == before
    if call.field in QUERIES:
        found = [
            await answered(service, call, between.other.key, value) for pair in pairs(call, between) for value in pair
        ]
        assert len(set(found)) > 1, "whose it is sees it"


@pytest.mark.parametrize(
    "name", [name for name, field in QUERIES.items() if not any(map(is_required_argument, field.args.values()))]
)
async def test_what_is_asked_for_without_arguments_is_ones_own(service: Service, name: str) -> None:
    """Nothing of the other's is anywhere in what the fields without required arguments return."""
    between = await tenants(service)
    answer = await service.gql(between.own.key, document(name, QUERIES[name]))
    assert answer.data[name] is not None
    for theirs in ("canary", *between.ids):
        assert theirs not in answer.text


async def test_gateways_may_pin_an_organization(service: Service) -> None:
    """A key under another organization's id gets what it gets under an id that does not exist."""
    between = await tenants(service)
    for key, organization in (
        (between.own.key, between.other.organization),
        (between.other.key, between.own.organization),
    ):
        nobodys = new_id("org", datetime.now(UTC), os.urandom)
        theirs = await service.request("GET", f"/verify?organization={organization}", headers={"X-API-Key": key})
        none = await service.request("GET", f"/verify?organization={nobodys}", headers={"X-API-Key": key})
        assert (theirs.status, theirs.text) == (none.status, none.text)
        assert theirs.status == 401


async def test_asking_about_anothers_key_does_not_use_it(service: Service) -> None:
    """Unless any organization is asked for, a foreign key is unknown and leaves no trace in either history."""
    own, other = await service.token("*:*"), await service.token("a:b")
    ask = "query ($secret: String!) { verifyToken(secret: $secret) { reason } }"
    assert (await service.gql(own.key, ask, {"secret": other.key})).data["verifyToken"] == {"reason": "UNKNOWN"}

    async def used() -> list[Any]:
        return await service.sql("select subject from events where organization = $1 and is_usage", own.organization)

    assert await eventually(used)  # what came before it has been written too
    assert await service.sql("select from events where subject = $1 and is_usage", other.id) == []
