"""Selections of plain fields, compiled once into a function that reads them: an event takes a few microseconds then.

Whoever replays a long history asks the same of each event, mostly attributes that no resolver makes. graphql-core
visits every field of every event anew, which takes ten times as long. What is compiled here answers exactly what it
would, and a test holds the two together; whatever is not plain, or turns out null where it must not be, is left to it.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    is_abstract_type,
)
from graphql.execution.collect_fields import FieldDetails, collect_fields, collect_subfields

Read = Callable[[Any], Any]
DEFINITION: Final = "strawberry-definition"
TEXTS: Final = frozenset({"String", "ID"})


class NotPlainError(Exception):
    """A field's value is made by a resolver, or this value of it is not what its type promises."""


def root_fields(executor: Any) -> dict[str, list[FieldDetails]]:  # noqa: ANN401 -- graphql-core's
    """Collect what a subscription selects at its root, by the names in the answer."""
    grouped: dict[str, list[FieldDetails]] = collect_fields(
        executor.schema,
        executor.fragments,
        executor.variable_values,
        executor.schema.subscription_type,
        executor.operation,
        executor.hide_suggestions,
    ).grouped_field_set
    return grouped


def compiled(executor: Any) -> Read | None:  # noqa: ANN401 -- graphql-core's
    """Compile what an operation selects of its root value, or say with None that not all of it is plain."""
    root_type = executor.schema.subscription_type
    try:
        parts = []
        for name, found in root_fields(executor).items():
            field = executor.schema.get_field(root_type, found[0].node.name.value)
            parts.append((name, reading(executor, field.type, found)))
    except NotPlainError:
        return None
    return lambda root: {name: read(root) for name, read in parts}


def reading(executor: Any, type_: GraphQLOutputType, found: list[FieldDetails]) -> Read:  # noqa: ANN401 -- as above
    """Make the function that reads a value of a type. Raises NotPlainError."""
    if isinstance(type_, GraphQLNonNull):
        return required(reading_nullable(executor, type_.of_type, found))
    read = reading_nullable(executor, type_, found)
    return lambda value: None if value is None else read(value)


def required(read: Read) -> Read:
    """Refuse null; what is null where it must not be has consequences that graphql-core knows."""

    def read_required(value: Any) -> Any:  # noqa: ANN401 -- whatever the field holds
        if value is None:
            raise NotPlainError
        return read(value)

    return read_required


def reading_nullable(executor: Any, type_: GraphQLOutputType, found: list[FieldDetails]) -> Read:  # noqa: ANN401
    """Make the function that reads a value that is not null. Raises NotPlainError."""
    if isinstance(type_, GraphQLList):
        read = reading(executor, type_.of_type, found)
        return lambda values: [read(value) for value in values]
    if isinstance(type_, GraphQLScalarType):
        return as_text if type_.name in TEXTS else type_.coerce_output_value
    if isinstance(type_, GraphQLEnumType):
        return type_.coerce_output_value
    if isinstance(type_, GraphQLObjectType):
        return reading_object(executor, type_, found)
    if is_abstract_type(type_):
        return by_class({class_of(one): reading_object(executor, one, found) for one in possible(executor, type_)})
    raise NotPlainError


def as_text(value: Any) -> str:  # noqa: ANN401 -- whatever the field holds
    """Take a text as it is."""
    if type(value) is not str:
        raise NotPlainError
    return value


def possible(executor: Any, type_: Any) -> list[GraphQLObjectType]:  # noqa: ANN401 -- graphql-core's
    """List the types that a value of an abstract type can have."""
    return list(executor.schema.get_possible_types(type_))


def class_of(type_: GraphQLObjectType) -> type:
    """Find the class of an object type's values."""
    origin: type = type_.extensions[DEFINITION].origin
    return origin


def by_class(readings: Mapping[type, Read]) -> Read:
    """Read each value as its class is."""

    def read(value: Any) -> Any:  # noqa: ANN401 -- whatever the field holds
        return readings[type(value)](value)

    return read


def reading_object(executor: Any, type_: GraphQLObjectType, found: list[FieldDetails]) -> Read:  # noqa: ANN401
    """Make the function that reads an object's selected fields. Raises NotPlainError."""
    collected = collect_subfields(
        executor.schema,
        executor.fragments,
        executor.variable_values,
        executor.operation,
        type_,
        found,
        executor.hide_suggestions,
    )
    parts = []
    for name, inner in collected.grouped_field_set.items():
        field_name = inner[0].node.name.value
        if field_name == "__typename":
            parts.append((name, constant(type_.name)))
        else:
            parts.append((name, reading_field(executor, type_.fields[field_name], inner)))
    return lambda value: {name: read(value) for name, read in parts}


def constant(text: str) -> Read:
    """Make the function that answers the same for every value."""
    return lambda _: text


def reading_field(executor: Any, field: GraphQLField, found: list[FieldDetails]) -> Read:  # noqa: ANN401 -- as above
    """Make the function that reads one field of an object. Raises NotPlainError."""
    definition = field.extensions.get(DEFINITION)
    if definition is None or not definition.is_basic_field or definition.permission_classes:
        raise NotPlainError
    attribute, read = attrgetter(definition.python_name), reading(executor, field.type, found)
    return lambda value: read(attribute(value))
