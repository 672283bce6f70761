"""The JSON schema of entries, with the payload of every event type as it is now: for those who read an export.

It follows JSON Schema, draft 2020-12 (https://json-schema.org/draft/2020-12). Must never be what decides whether an
event is good: an older schema version of a type, or a type that is not known here, is let through.
"""

import typing
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from types import UnionType
from typing import Any, Final

from events.envelope import ActorKind
from events.registry import TYPES, EventType

Schema = dict[str, Any]
TEXT: Final[Schema] = {"type": "string"}
INSTANT: Final[Schema] = {"type": "string", "format": "date-time", "pattern": r"^.{19}\.[0-9]{6}Z$"}
OPTIONAL_TEXT: Final[Schema] = {"type": ["string", "null"]}


def entry_schema() -> Schema:
    """Describe an entry of any type."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An entry of the log of Entri Tokens",
        **record(envelope()),
        "allOf": [
            {
                "if": {
                    "properties": {"type": {"const": name}, "schema_version": {"const": described.schema_version}},
                },
                "then": {"properties": {"payload": {"$ref": f"#/$defs/{name}"}}},
            }
            for name, described in TYPES.items()
        ],
        "$defs": {name: payload_schema(described) for name, described in TYPES.items()},
    }


def envelope() -> Schema:
    """Describe what every entry holds."""
    actor = record({"id": TEXT, "kind": {"enum": [kind.value for kind in ActorKind]}})
    return {
        "actor": actor,
        "address": OPTIONAL_TEXT,
        "event_id": TEXT,
        "occurred_at": INSTANT,
        "organization": TEXT,
        "payload": {"type": "object"},
        "request_id": OPTIONAL_TEXT,
        "salt": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "schema_version": {"type": "integer", "minimum": 1},
        "stream": TEXT,
        "subject": TEXT,
        "type": TEXT,
        "version": {"type": ["integer", "null"], "minimum": 1},
    }


def payload_schema(described: EventType) -> Schema:
    """Describe the payload of one event type."""
    hints = typing.get_type_hints(described.cls)
    properties = {field.name: field_schema(hints[field.name]) for field in fields(described.cls)}
    return {"description": described.cls.__doc__, **record(properties)}


def record(properties: Schema) -> Schema:
    """Describe an object that has these members and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def field_schema(annotation: object) -> Schema:
    """Describe the value of a field. The registry takes no other annotations."""
    if isinstance(annotation, UnionType):
        (inner,) = (part for part in typing.get_args(annotation) if part is not type(None))
        return {"anyOf": [field_schema(inner), {"type": "null"}]}
    if typing.get_origin(annotation) is tuple:
        return {"type": "array", "items": field_schema(typing.get_args(annotation)[0])}
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return {"enum": [member.value for member in annotation]}
    if annotation is datetime:
        return INSTANT
    return {"type": {str: "string", int: "integer", bool: "boolean"}[typing.cast("type[object]", annotation)]}
