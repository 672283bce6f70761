"""Compiled selections answer what graphql-core does, for every event there is."""

import json
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
from graphql import GraphQLInterfaceType, GraphQLObjectType
from hypothesis import given, settings
from hypothesis import strategies as st

from events.entry import RecordedEvent, recorded_event
from events.log import HistoryQuery, Installation
from service.api.context import Context, Resolving
from service.api.event_types import EVENT_TYPES, shown_event
from service.api.events import EventEdge
from service.api.execution import Execution, Executor, GraphQLRequest
from service.api.limits import Limits
from service.api.plain_fields import DEFINITION
from service.api.schema import make_schema
from service.api.selections import Selection
from service.api.subscriptions import Following
from service.authorization import Caller, token_principal
from service.queries import Queries

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("*.v*.json"))
AT = datetime.fromisoformat("2026-01-01T00:00:00Z")
SCHEMA = make_schema()
EXECUTOR = Executor(SCHEMA, Limits(tokens=10_000, aliases=1_000, repeats=1_000))
TYPES = {type_.__name__: cast("GraphQLObjectType", SCHEMA._schema.type_map[type_.__name__]) for type_ in EVENT_TYPES}
SERVICES = cast(
    "Any",
    SimpleNamespace(
        queries=Queries(pool=cast("Any", None), catch_up=cast("Any", None)),
        installation=Installation(id="ins_x", generation=1, cursor_key=b"k"),
    ),
)
CONTEXT = Context(
    caller=Caller(principal=token_principal("tok_x", "org_x", ("events:read",))),
    services=SERVICES,
)
RESOLVING = Resolving(CONTEXT.caller.principal, SERVICES)


def recorded(path: Path) -> RecordedEvent:
    """Read an event as the log would hold it."""
    return recorded_event(7, 3, AT, entry=json.loads(path.read_text(encoding="utf-8"))["entry"].encode())


EVENTS = [recorded(path) for path in GOLDEN]


def plain_fields(type_: GraphQLObjectType | GraphQLInterfaceType) -> list[str]:
    """Name the fields of a type that no resolver makes."""
    return [name for name, field in type_.fields.items() if field.extensions[DEFINITION].is_basic_field]


@st.composite
def selections(draw: st.DrawFn) -> str:
    """Draw what to select of an event: of all, and of some types, under other names, or not."""
    interface = cast("GraphQLInterfaceType", SCHEMA._schema.type_map["Event"])
    common = draw(st.lists(st.sampled_from([*plain_fields(interface), "__typename"]), unique=True))
    names = draw(st.permutations([f"a{n}" for n in range(len(common))]))
    parts = [f"{name}: {field}" if draw(st.booleans()) else field for name, field in zip(names, common, strict=True)]
    for name in draw(st.lists(st.sampled_from(sorted(TYPES)), unique=True)):
        own = draw(st.lists(st.sampled_from([*plain_fields(TYPES[name]), "__typename"]), unique=True, min_size=1))
        directive = draw(st.sampled_from(["", "@include(if: true)", "@skip(if: true)", "@skip(if: $no)"]))
        inner = " ".join(f"{name}{field}: {field}" for field in own)
        parts.append(f"... on {name} {directive} {{ {inner} }}")
    return " ".join(parts) or "id"


async def selected(query: str, **variables: object) -> tuple[Following, Selection]:
    """Open a subscription without its stream."""
    opened = await EXECUTOR.open(GraphQLRequest(query=query, variables=variables), context=CONTEXT, request_id="r")
    assert not isinstance(opened, Execution), opened.errors
    return opened


@settings(max_examples=30)
@given(selection=selections(), edge=st.sampled_from(["node { %s }", "cursor node { %s }", "n: node { %s } c: cursor"]))
async def test_what_is_compiled_answers_as_graphql_core_does(selection: str, edge: str) -> None:
    """Every selection of plain fields gives the same text either way, for each type of event."""
    query = f"subscription ($no: Boolean! = false) {{ e: events {{ s: cursor @skip(if: $no) {edge % selection} }} }}"
    following, compiled = await selected(query)
    _, interpreted = await selected(query)
    interpreted._read = None
    assert compiled._read is not None
    for event in EVENTS:
        root = following.edge(CONTEXT.cursors, event)
        assert compiled.encode(root, RESOLVING) == interpreted.encode(root, RESOLVING)


async def test_what_a_resolver_makes_is_left_to_graphql_core() -> None:
    """An actor is looked up, so a selection with it is not compiled, and answered all the same."""
    following, selection = await selected("subscription { events { node { id actor { id kind } } } }")
    assert selection._read is None
    answer = selection.encode(following.edge(CONTEXT.cursors, EVENTS[0]), RESOLVING)
    assert isinstance(answer, bytes)
    assert orjson.loads(answer)["data"]["events"]["node"]["actor"]["kind"] in {"TOKEN", "SYSTEM", "MEMBER"}


async def test_what_is_null_and_must_not_be_is_an_error() -> None:
    """A value that breaks its type's promise ends as graphql-core ends it: null and an error that tells nothing."""
    following, selection = await selected("subscription { events { node { type } } }")
    broken = shown_event(EVENTS[0])
    broken.type = cast("str", None)
    answer = selection.encode(EventEdge(cursor="c", node=broken), RESOLVING)
    assert isinstance(answer, bytes)
    result = orjson.loads(answer)
    assert result["data"] is None
    assert result["errors"][0]["extensions"] == {"code": "INTERNAL", "requestId": RESOLVING.request_id}
    assert isinstance(following.query, HistoryQuery)


async def test_where_to_begin_does_not_part_those_who_ask_the_same() -> None:
    """Only variables that say something about what is sent, or about which events, are compared."""
    query = (
        "subscription ($from: String, $types: [String!], $n: Boolean!) "
        "{ events(after: $from, filter: {types: $types}) { cursor @include(if: $n) node { id } } }"
    )
    begins = [CONTEXT.cursors.of_event(position) for position in (1, 2)]

    async def key(types: list[str], *, n: bool, begin: str) -> object:
        return (await selected(query, types=types, n=n, **{"from": begin}))[1].shared_key

    same = await key(["TokenUsed"], n=True, begin=begins[0])
    assert await key(["TokenUsed"], n=True, begin=begins[1]) == same
    assert await key(["TokenRevoked"], n=True, begin=begins[0]) != same
    assert await key(["TokenUsed"], n=False, begin=begins[0]) != same
