"""The schema against the contract that clients program against: all of it is there, and exactly so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner
from graphql import (
    GraphQLArgument,
    GraphQLInputField,
    GraphQLNamedType,
    GraphQLSchema,
    build_schema,
    is_enum_type,
    is_input_object_type,
    is_interface_type,
    is_introspection_type,
    is_object_type,
    is_specified_scalar_type,
    is_union_type,
    print_ast,
)
from graphql.utilities import find_breaking_changes

from events.registry import TYPES
from service.api.event_types import EVENT_TYPES, SHOWN
from service.cli import main

ROOT: Final = Path(__file__).parents[2]
OURS: Final = Path(__file__).with_name("contract.graphql")
SHARED: Final = ROOT.parent / "shared" / "contract.graphql"

NEEDS_NO_WORDS: Final = "GraphQL has no place for a description here"


def elements(schema: GraphQLSchema) -> dict[str, tuple[str, str | None]]:
    """Map each element of a schema to its signature and its description."""
    found: dict[str, tuple[str, str | None]] = {}
    for name, type_ in schema.type_map.items():
        if not is_introspection_type(type_) and not is_specified_scalar_type(type_):
            found[name] = (type(type_).__name__, type_.description)
            found.update(inside(name, type_))
    return found


def inside(name: str, type_: GraphQLNamedType) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Map what a type holds: fields and their arguments, values, members, interfaces."""
    if is_enum_type(type_):
        yield from ((f"{name}.{value}", ("value", given.description)) for value, given in type_.values.items())
    elif is_union_type(type_):
        yield from ((f"{name}|{member.name}", ("member", NEEDS_NO_WORDS)) for member in type_.types)
    elif is_input_object_type(type_):
        yield from ((f"{name}.{field}", (signature(given), given.description)) for field, given in type_.fields.items())
    elif is_object_type(type_) or is_interface_type(type_):
        yield from ((f"{name}&{interface.name}", ("implements", NEEDS_NO_WORDS)) for interface in type_.interfaces)
        for field, output in type_.fields.items():
            yield f"{name}.{field}", (str(output.type), output.description)
            for argument, given in output.args.items():
                yield f"{name}.{field}({argument})", (signature(given), given.description)


def signature(given: GraphQLArgument | GraphQLInputField) -> str:
    """Write an input's type and its default; null and none mean the same."""
    default = given.default
    if default is None:
        return str(given.type)
    literal = print_ast(default.literal) if default.literal else repr(default.value)
    return str(given.type) if literal == "null" else f"{given.type} = {literal}"


@pytest.fixture(scope="module")
def contract() -> GraphQLSchema:
    """Read the contract."""
    return build_schema(OURS.read_text())


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    """Read the committed schema."""
    return build_schema((ROOT / "schema.graphql").read_text())


def test_the_committed_schema_is_the_programs() -> None:
    """`entri schema > schema.graphql` changes nothing."""
    printed = CliRunner().invoke(main, ["schema"], catch_exceptions=False)
    assert printed.output == (ROOT / "schema.graphql").read_text()


@pytest.mark.skipif(not SHARED.exists(), reason="the shared contract lies beside the repository only where it is made")
def test_the_contract_is_the_shared_one() -> None:
    """The copy is word for word the contract that others hold."""
    assert OURS.read_text() == SHARED.read_text()


def test_all_of_the_contract_is_there(contract: GraphQLSchema, schema: GraphQLSchema) -> None:
    """Every element of the contract is in the schema, and is of the same kind, type, nullability and default."""
    delivered = {element: is_so for element, (is_so, _) in elements(schema).items()}
    promised = {element: is_so for element, (is_so, _) in elements(contract).items()}
    assert promised.items() <= delivered.items(), sorted(promised.items() - delivered.items())


def test_no_change_breaks_a_client(contract: GraphQLSchema, schema: GraphQLSchema) -> None:
    """By graphql-core's own comparison too, nothing breaks."""
    assert find_breaking_changes(contract, schema) == []


def test_every_element_is_described(schema: GraphQLSchema) -> None:
    """Types, fields, arguments, values and input fields each say what they are."""
    undescribed = [element for element, (_, said) in elements(schema).items() if not said]
    assert undescribed == []


def test_every_event_type_is_shown() -> None:
    """Whatever the registry knows has a GraphQL type of its own name."""
    assert SHOWN.keys() == TYPES.keys() == {cls.__name__ for cls in EVENT_TYPES}
