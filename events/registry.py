"""The closed registry of event types: name and version ↔ class, payload ↔ JSON. Must never guess at an unknown one.

Compatibility, in short: a type is never renamed and a field never renamed, retyped or deleted. A field may be added
with a default. Anything else is a new schema version, and the old one gets an upcaster here (`dict → dict`) that brings
it one version up. `tests/golden/` holds a payload of every type and version, decoded for ever.
"""

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from types import UnionType
from typing import Any, Final

import orjson

from events.applications import ApplicationCreated, ApplicationDeleted, ApplicationEvent, ApplicationUpdated
from events.members import (
    MemberAdded,
    MemberEvent,
    MemberRemoved,
    MemberRoleChanged,
    PasswordChanged,
    SignedIn,
    SignedOut,
    SignInFailed,
)
from events.organizations import OrganizationCreated, OrganizationEvent
from events.tokens import (
    TokenCreated,
    TokenEvent,
    TokenOverlapEnded,
    TokenRevealed,
    TokenRevoked,
    TokenRotated,
    TokenRotationCompleted,
    TokenUpdated,
    WebhookSignerDesignated,
)
from events.usage import TokenUsed, UsageEvent, UsageGap

Event = TokenEvent | UsageEvent | ApplicationEvent | OrganizationEvent | MemberEvent
"""Every event there is."""

Json = dict[str, Any]
Upcaster = Callable[[Json], Json]
Converter = Callable[[Any], Any]


class EventDecodeError(Exception):
    """A stored event is not what the registry says it is."""


def utc_text(at: datetime) -> str:
    """Write an instant as RFC 3339 in UTC with microseconds and `Z`: the only form the log holds."""
    at = at.astimezone(UTC)
    if at.microsecond:
        return orjson.dumps(at, option=orjson.OPT_UTC_Z)[1:-1].decode()  # in a third of the time
    return at.isoformat(timespec="microseconds")[:-6] + "Z"


@dataclass(frozen=True, slots=True)
class EventType:
    """How one event type is written and read."""

    cls: type[Event]
    schema_version: int
    encoders: tuple[tuple[str, Converter | None], ...]
    decoders: tuple[tuple[str, Converter], ...]
    """Of the fields that JSON has in another form."""
    upcasters: Mapping[int, Upcaster]
    """From each older schema version to the one after it."""
    is_usage: bool
    is_observed: bool
    """It was seen, not decided, so it has no version: all usage, and more."""
    subject_field: str


def converters(annotation: object) -> tuple[Converter | None, Converter | None]:
    """Find how a field's type is written to JSON and read from it; None where JSON has it already."""
    inner = [part for part in typing.get_args(annotation) if part is not type(None)]
    if isinstance(annotation, UnionType) and len(inner) == 1:
        encode, decode = converters(inner[0])
        return optional(encode), optional(decode)
    if annotation is datetime:
        return utc_text, datetime.fromisoformat
    if typing.get_origin(annotation) is tuple and inner in ([str, ...], [int, ...]):
        return list, tuple
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return str, {str(member): member for member in annotation}.__getitem__
    if annotation in (str, int, bool):
        return None, None
    raise TypeError(f"an event field cannot be a {annotation}")


def optional(convert: Converter | None) -> Converter | None:
    """Let None through a converter."""
    if convert is None:
        return None
    return lambda value: None if value is None else convert(value)


def register(
    cls: type[Event],
    *,
    version: int = 1,
    subject: str = "token_id",
    usage: bool = False,
    observed: bool = False,
    **upcasters: Upcaster,
) -> EventType:
    """Describe one event type by its class."""
    hints = typing.get_type_hints(cls)
    names = [field.name for field in fields(cls)]
    return EventType(
        cls=cls,
        schema_version=version,
        encoders=tuple((name, converters(hints[name])[0]) for name in names),
        decoders=tuple((name, convert) for name in names if (convert := converters(hints[name])[1]) is not None),
        upcasters={int(name.removeprefix("v")): upcast for name, upcast in upcasters.items()},
        is_usage=usage,
        is_observed=usage or observed,
        subject_field=subject,
    )


TYPES: Final[Mapping[str, EventType]] = {
    described.cls.__name__: described
    for described in (
        register(TokenCreated),
        register(TokenUpdated),
        register(TokenRotated),
        register(TokenRotationCompleted),
        register(TokenOverlapEnded),
        register(TokenRevoked),
        register(TokenRevealed),
        register(WebhookSignerDesignated),
        register(TokenUsed, usage=True),
        register(UsageGap, subject="organization_id", usage=True),
        register(ApplicationCreated, subject="application_id"),
        register(ApplicationUpdated, subject="application_id"),
        register(ApplicationDeleted, subject="application_id"),
        register(OrganizationCreated, subject="organization_id"),
        register(MemberAdded, subject="member_id"),
        register(MemberRoleChanged, subject="member_id"),
        register(MemberRemoved, subject="member_id"),
        register(PasswordChanged, subject="member_id"),
        register(SignedIn, subject="member_id", observed=True),
        register(SignInFailed, subject="member_id", observed=True),
        register(SignedOut, subject="member_id", observed=True),
    )
}


def describe(event: Event) -> EventType:
    """Find the description of an event's type."""
    return TYPES[type(event).__name__]


def subject_of(event: Event) -> str:
    """Name what an event is about: a token, an application, a member, an organization."""
    return str(getattr(event, describe(event).subject_field))


def encode_payload(event: Event) -> Json:
    """Write an event's own fields as JSON values."""
    return {
        name: getattr(event, name) if convert is None else convert(getattr(event, name))
        for name, convert in describe(event).encoders
    }


def decode_payload(name: str, schema_version: int, payload: Json) -> Event:
    """Read an event back, brought up to today's schema. Raises EventDecodeError."""
    known = TYPES.get(name)
    if known is None:
        raise EventDecodeError(f"the event type {name} is not known: this service is older than the log")
    return decode_as(known, schema_version, payload)


def decode_as(known: EventType, schema_version: int, payload: Json) -> Event:
    """Read an event of one type back, brought up to today's schema. Raises EventDecodeError."""
    try:
        if schema_version != known.schema_version:
            payload = upcast(known, schema_version, payload)
        values = payload.copy()
        for key, convert in known.decoders:
            if key in values:
                values[key] = convert(values[key])
        return known.cls(**values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        name = known.cls.__name__
        raise EventDecodeError(f"a {name} of schema version {schema_version} does not decode: {error!r}") from error


def upcast(known: EventType, schema_version: int, payload: Json) -> Json:
    """Bring an older payload up, one schema version at a time. Raises EventDecodeError."""
    for version in range(schema_version, known.schema_version):
        step = known.upcasters.get(version)
        if step is None:
            break
        payload = step(payload)
    else:
        if schema_version < known.schema_version:
            return payload
    raise EventDecodeError(
        f"{known.cls.__name__} cannot be read in schema version {schema_version}: known is {known.schema_version}"
    )
