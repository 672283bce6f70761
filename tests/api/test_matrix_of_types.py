"""Who may see what: every field of every type, asked by everybody, held against what one who may do everything sees."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import pytest_asyncio
from graphql import (
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    get_named_type,
    is_interface_type,
    is_leaf_type,
    is_object_type,
    is_required_argument,
)

from tests.api.conftest import Answer, Json, Service
from tests.api.documents import SCHEMA
from tests.api.principals import EVERYBODY, NOBODY, TABLE, Acting, World, acting, make_world

pytestmark = pytest.mark.asyncio(loop_scope="session")

ELSEWHERE: Final = frozenset(
    {"Query", "Mutation", "Subscription", "TokenEventEdge", "Viewer", "UserError", "Enforcement"}
)
"""Types that are asked for in test_matrix.py, the test of streams, or in the answers of mutations alone."""
EVENT: Final = SCHEMA.type_map["Event"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One type of the table, and how it is reached."""

    name: str
    reached: str
    needs: str | None = None
    lacking: str = "whole"
    seen_with: str | None = None
    by_id: bool = False
    grows: bool = False
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def document(self) -> str:
        """Write the document that asks for all of it."""
        names = re.findall(r"\$(\w+)", self.reached)
        declared = ", ".join(f"${name}: {'String!' if name == 'secret' else 'ID!'}" for name in names)
        chosen = selection(SCHEMA.type_map[self.name])
        closed = " }" * self.reached.count(" { ")
        return f"query {f'({declared})' if declared else ''} {{ cell: {self.reached} {chosen}{closed} __typename }}"

    def variables(self, world: World) -> Json:
        """Give what stands for the variables."""
        return {name: world.fixed[name] for name in re.findall(r"\$(\w+)", self.reached)}


def selection(named: GraphQLNamedType) -> str:
    """Select every field, and of what has fields itself its type and id."""
    chosen = ["__typename", *fields_of(named)]
    if is_interface_type(named):
        common = set(fields_of(named))
        chosen += [
            f"... on {each.name} {{ {' '.join(one for one in fields_of(each) if one not in common)} }}"
            for each in SCHEMA.get_possible_types(named)
            if is_narrowest(named, each)
        ]
    return f"{{ {' '.join(chosen)} }}"


def is_narrowest(named: GraphQLInterfaceType, each: GraphQLObjectType) -> bool:
    """Say whether no other interface than this one is about a type in more detail: that one has a place of its own."""
    return all(set(named.fields) >= set(one.fields) for one in each.interfaces)


def fields_of(named: GraphQLNamedType) -> Iterator[str]:
    """List how each field of a type is selected."""
    assert is_object_type(named) or is_interface_type(named)
    for name, definition in named.fields.items():
        if any(is_required_argument(argument) for argument in definition.args.values()):
            continue
        inside = get_named_type(definition.type)
        first = "(first: 1)" if "first" in definition.args else ""
        is_node = is_object_type(inside) and "id" in inside.fields
        yield name if is_leaf_type(inside) else f"{name}{first} {{ __typename {'id' if is_node else ''} }}"


SIGHTS: Final = [Sight(name=name, **given) for name, given in TABLE["types"].items()]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(running: Service) -> World:
    """Make an organization with one of everything."""
    return await make_world(running)


def hidden(sight: Sight, who: Acting) -> list[str]:
    """List the fields that a principal does not see of what it sees."""
    return [name for name, scopes in sight.fields.items() if all(who.lacks([scope]) for scope in scopes)]


def without(value: Any, names: Sequence[str]) -> Any:  # noqa: ANN401 -- whatever JSON
    """Take from an answer what is not seen."""
    if isinstance(value, list):
        return [without(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: None if name in names else without(inner, names) for name, inner in value.items()}
    return kept | ({"displayName": value["id"]} if "displayName" in names and "displayName" in value else {})


def forms(value: Any) -> Any:  # noqa: ANN401 -- whatever JSON
    """Take the form alone from an answer."""
    if isinstance(value, dict):
        return {name: forms(inner) for name, inner in value.items()}
    return [forms(one) for one in value] if isinstance(value, list) else type(value)


def sees(sight: Sight, who: Acting) -> bool:
    """Say whether a principal sees what there is, as the table has it."""
    return who.name != NOBODY and not who.is_stranger and not who.lacks([sight.needs, sight.seen_with])


def check(sight: Sight, who: Acting, answer: Answer, seen: Json) -> None:
    """Hold an answer against the table, and what is seen against what there is."""
    if who.name == NOBODY:
        assert (answer.status, answer.codes) == (401, ["UNAUTHENTICATED"])
    elif who.lacks([sight.needs]):
        nothing = None if sight.lacking == "whole" else {"cell": None, "__typename": "Query"}
        assert (answer.codes, answer.body["data"]) == (["FORBIDDEN"], nothing)
    elif who.lacks([sight.seen_with]) or (who.is_stranger and sight.by_id):
        assert answer.data["cell"] is None
    elif not who.is_stranger:
        names = hidden(sight, who)
        lists = [name for name in names if "events" in name]
        assert answer.codes == ["FORBIDDEN"] * len(lists)
        shown, expected = answer.body["data"], without(seen, names)
        assert forms(shown) == forms(expected)
        assert sight.grows or shown == expected


@pytest.mark.parametrize("name", EVERYBODY)
async def test_every_field_as_everybody(service: Service, world: World, name: str) -> None:
    """Each is what one who may do everything sees, or hidden as the table says; a stranger sees nothing of it."""
    who, wrong = await acting(world, name), list[str]()
    for sight in SIGHTS:
        document, variables = sight.document(), sight.variables(world)
        seen = (await service.gql(world.root.key, document, variables)).data if sees(sight, who) else {}
        answer = await who.ask(document, variables)
        try:
            check(sight, who, answer, seen)
            assert not who.is_stranger or world.organization not in answer.text
        except AssertionError as error:
            wrong.append(f"{sight.name}: {answer.text} {error}")
    assert wrong == []


async def test_what_there_is_to_see_is_seen(service: Service, world: World) -> None:
    """One who may do everything finds no list empty, so that nothing hides behind that."""
    for sight in SIGHTS:
        seen = (await service.gql(world.root.key, sight.document(), sight.variables(world))).data["cell"]
        assert seen, sight.name
        for name in sight.fields:
            assert f'"{name}":' in str(seen).replace("'", '"'), (sight.name, name)


async def test_every_type_is_in_the_table() -> None:
    """A type that can be reached and has no place in the table has not been thought about."""
    shown = {
        name
        for name, one in SCHEMA.type_map.items()
        if is_object_type(one) and not name.startswith("__") and not name.endswith("Payload")
    }
    events = {one.name for one in SCHEMA.get_possible_types(EVENT)} if is_interface_type(EVENT) else set[str]()
    assert shown - events - ELSEWHERE == {sight.name for sight in SIGHTS} - {"Event", "TokenEvent"}
