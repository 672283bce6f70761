"""The scalars of the API: instants and JSON. Must never accept an instant without its offset from UTC."""

import re
from datetime import UTC, datetime
from typing import Any, Final, NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from events.registry import utc_text
from service.api.errors import ApiError

RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
EXPECTED: Final = "An instant is RFC 3339 with its offset, such as 2027-01-31T12:00:00Z."

LARGEST_POSITION: Final = 2**63 - 1

Json = NewType("Json", object)


def parse_instant(value: object) -> datetime:
    """Read an RFC 3339 instant. Raises ApiError BAD_USER_INPUT, which does not quote it."""
    if not isinstance(value, str) or RFC_3339.fullmatch(value) is None:
        raise ApiError("BAD_USER_INPUT", EXPECTED)
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ApiError("BAD_USER_INPUT", EXPECTED) from None


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


def position_of(name: str, text: str, *, least: int = 1) -> int:
    """Read a position argument. Raises ApiError BAD_USER_INPUT."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(LARGEST_POSITION))
    if not (is_number and least <= int(text) <= LARGEST_POSITION):
        raise ApiError("BAD_USER_INPUT", f"{name} is a position: a whole number from {least} in decimal")
    return int(text)


def given(value: Any) -> bool:  # noqa: ANN401 -- whatever an input field holds
    """Say whether an optional input was given at all; an explicit null was."""
    return value is not strawberry.UNSET


def given_fields(name: str, given_input: object) -> dict[str, Any]:
    """Collect the fields of an input that were given. Raises ApiError BAD_USER_INPUT for one that is null."""
    values = {field: value for field, value in vars(given_input).items() if given(value)}
    for field, value in values.items():
        if value is None:
            raise ApiError("BAD_USER_INPUT", f"{name}.{camel_case(field)} is null: leave it out instead")
    return values


def camel_case(name: str) -> str:
    """Write a field's name as the API does."""
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))
