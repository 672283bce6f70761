"""The scalars of the API: instants and JSON. Must never accept an instant without its offset from UTC."""

import re
from datetime import UTC, datetime
from typing import Any, Final, NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from events.registry import utc_text

RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
EXPECTED: Final = "an instant is RFC 3339 with its offset, such as 2027-01-31T12:00:00Z"

Json = NewType("Json", object)


def parse_instant(value: object) -> datetime:
    """Read an RFC 3339 instant. Raises GraphQLError, which does not quote it."""
    if not isinstance(value, str) or RFC_3339.fullmatch(value) is None:
        raise GraphQLError(EXPECTED)
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise GraphQLError(EXPECTED) from None


SCALARS: Final[dict[object, ScalarDefinition]] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="An instant: RFC 3339 in UTC with microseconds, such as 2027-01-31T12:00:00.000000Z.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=utc_text,
        parse_value=parse_instant,
    ),
    Json: strawberry.scalar(
        name="JSON",
        description="Any JSON value.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
}


def given(value: Any) -> bool:  # noqa: ANN401 -- whatever an input field holds
    """Say whether an optional input was given at all; an explicit null was."""
    return value is not strawberry.UNSET
