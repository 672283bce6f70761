"""The registry: what is written is read back, and nothing unknown is guessed at."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.registry import (
    TYPES,
    Event,
    EventDecodeError,
    EventType,
    Json,
    Upcaster,
    converters,
    decode_as,
    decode_payload,
    describe,
    encode_payload,
    register,
    subject_of,
    utc_text,
)
from events.token_kinds import TokenKind
from events.tokens import TokenCreated, TokenRevoked

AT = datetime(2026, 1, 1, tzinfo=UTC)
INSTANTS = st.datetimes(
    datetime(1900, 1, 1),  # noqa: DTZ001 -- hypothesis wants the bounds of aware instants naive
    datetime(9990, 1, 1),  # noqa: DTZ001 -- the same
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-11))]),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def values(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 -- of whichever type a field has
    """Draw values of a field's type."""
    if isinstance(annotation, UnionType):
        return st.one_of(*(values(part) for part in get_args(annotation)))
    if annotation is type(None):
        return st.none()
    if get_origin(annotation) is tuple:
        return st.lists(values(get_args(annotation)[0]), max_size=3).map(tuple)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return st.sampled_from(annotation)
    return {str: TEXTS, int: st.integers(0, 2**53 - 1), bool: st.booleans(), datetime: INSTANTS}[annotation]


EVENTS: dict[str, st.SearchStrategy[Event]] = {
    name: st.builds(known.cls, **{field: values(hint) for field, hint in get_type_hints(known.cls).items()})
    for name, known in TYPES.items()
}


@pytest.mark.parametrize("events", EVENTS.values(), ids=EVENTS)
def test_what_is_written_is_read_back(events: st.SearchStrategy[Event]) -> None:
    """Encoding, JSON and decoding together change nothing, whatever the fields hold."""

    @settings(max_examples=20)
    @given(events)
    def check(event: Event) -> None:
        written = orjson.loads(orjson.dumps(encode_payload(event)))
        name, known = type(event).__name__, describe(event)
        read = decode_payload(name, known.schema_version, written)
        assert read == event
        assert [type(getattr(read, f.name)) for f in fields(read)] == [
            type(getattr(event, f.name)) for f in fields(event)
        ]
        assert list(written) == [f.name for f in fields(event)]

    check()


def test_every_event_is_registered() -> None:
    """The union and the table name the same types, under the classes' own names."""
    assert [known.cls for known in TYPES.values()] == list(get_args(Event))
    assert all(name == known.cls.__name__ for name, known in TYPES.items())


def test_every_event_names_its_subject() -> None:
    """Each type has a field that says what it is about."""
    assert all(known.subject_field in get_type_hints(known.cls) for known in TYPES.values())
    assert subject_of(TokenRevoked(token_id="tok_1", reason=None)) == "tok_1"


def test_only_usage_is_usage() -> None:
    """Which types are observed and not decided is a matter of where they are kept, for ever."""
    assert {name for name, known in TYPES.items() if known.is_usage} == {"TokenUsed", "UsageGap"}


PAYLOAD: Json = {"token_id": "tok_1", "reason": "lost"}


@pytest.mark.parametrize(
    ("name", "version", "payload", "why"),
    [
        ("TokenForged", 1, PAYLOAD, "TokenForged is not known"),
        ("", 1, PAYLOAD, "is not known"),
        ("TokenRevoked", 2, PAYLOAD, "cannot be read in schema version 2: known is 1"),
        ("TokenRevoked", 0, PAYLOAD, "cannot be read in schema version 0: known is 1"),
        ("TokenRevoked", -1, PAYLOAD, "cannot be read in schema version -1"),
        ("TokenRevoked", 2**60, PAYLOAD, "cannot be read in schema version 1152921504606846976"),
        ("TokenRevoked", "1", PAYLOAD, "does not decode"),
        ("TokenRevoked", 1, {"token_id": "tok_1"}, "does not decode"),
        ("TokenRevoked", 1, {}, "does not decode"),
        ("TokenRevoked", 1, {**PAYLOAD, "more": 1}, "does not decode"),
        ("TokenRevoked", 1, [], "does not decode"),
        ("TokenRevoked", 1, None, "does not decode"),
    ],
)
def test_what_is_not_known_is_not_guessed_at(name: str, version: int, payload: Json, why: str) -> None:
    """Another type, another version, a field too few or too many are one error, which says what was met."""
    with pytest.raises(EventDecodeError, match=why):
        decode_payload(name, version, payload)


CREATED = TokenCreated(
    token_id="tok_1",
    kind=TokenKind.API_TOKEN,
    name="n",
    hint="h",
    scopes=("a:b",),
    expires_at=AT,
    application_id=None,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [("kind", "SKELETON_KEY"), ("kind", None), ("expires_at", "soon"), ("expires_at", 5), ("scopes", 7)],
)
def test_a_value_of_another_kind_is_an_error(field: str, value: object) -> None:
    """What a converter cannot read is not passed on."""
    with pytest.raises(EventDecodeError, match="a TokenCreated of schema version 1 does not decode"):
        decode_payload("TokenCreated", 1, encode_payload(CREATED) | {field: value})


def test_a_field_with_a_default_may_be_missing() -> None:
    """A field added with a default does not make the older entries unreadable."""
    known = describe(CREATED)
    with_default = replace(known, cls=lambda **given: TokenCreated(**({"application_id": "app_default"} | given)))  # type: ignore[arg-type]
    older = {key: value for key, value in encode_payload(CREATED).items() if key != "application_id"}
    assert decode_as(with_default, 1, older) == replace(CREATED, application_id="app_default")


def third_version(*, v1: Upcaster | None = None, v2: Upcaster | None = None) -> EventType:
    """Describe a `TokenRevoked` that has reached schema version 3."""
    steps = {number: step for number, step in ((1, v1), (2, v2)) if step is not None}
    return replace(describe(TokenRevoked(token_id="", reason=None)), schema_version=3, upcasters=steps)


def name_the_token(payload: Json) -> Json:
    """Bring version 1, which called the token `id`, up to version 2."""
    return {"token_id": payload["id"], "why": payload["why"]}


def give_a_reason(payload: Json) -> Json:
    """Bring version 2, which called the reason `why`, up to version 3."""
    return {"token_id": payload["token_id"], "reason": payload["why"].lower()}


@pytest.mark.parametrize(
    ("version", "payload"),
    [
        (1, {"id": "tok_1", "why": "LOST"}),
        (2, {"token_id": "tok_1", "why": "LOST"}),
        (3, {"token_id": "tok_1", "reason": "lost"}),
    ],
)
def test_older_versions_are_brought_up_step_by_step(version: int, payload: Json) -> None:
    """Each upcaster brings an entry one version up, and what is stored stays as it is."""
    known = third_version(v1=name_the_token, v2=give_a_reason)
    stored = dict(payload)
    assert decode_as(known, version, payload) == TokenRevoked(token_id="tok_1", reason="lost")
    assert payload == stored


def test_upcasters_are_registered_by_the_version_they_start_from() -> None:
    """`v1=` brings version 1 up, `v2=` version 2."""
    known = register(TokenRevoked, version=3, v1=name_the_token, v2=give_a_reason)
    assert (known.schema_version, known.upcasters) == (3, {1: name_the_token, 2: give_a_reason})


def test_a_missing_or_failing_step_is_an_error() -> None:
    """A chain with a hole, and an upcaster that meets what it does not expect, say which version it was."""
    with pytest.raises(EventDecodeError, match="cannot be read in schema version 1: known is 3"):
        decode_as(third_version(v1=name_the_token), 1, {"id": "tok_1", "why": "LOST"})
    with pytest.raises(EventDecodeError, match="of schema version 1 does not decode: KeyError"):
        decode_as(third_version(v1=name_the_token, v2=give_a_reason), 1, {"why": "LOST"})


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006Z"),
        (datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2025-12-31T22:00:00.000000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (datetime(1, 1, 1, microsecond=10, tzinfo=UTC), "0001-01-01T00:00:00.000010Z"),
    ],
)
def test_instants_have_one_form(at: datetime, text: str) -> None:
    """UTC, microseconds, `Z`: whatever zone an instant came in."""
    assert utc_text(at) == text
    assert datetime.fromisoformat(text) == at


@pytest.mark.parametrize(
    "annotation",
    [float, bytes, dict, list[str], tuple[datetime, ...], tuple[str, str], str | int | None, timedelta],
    ids=str,
)
def test_a_field_of_another_type_cannot_be_registered(annotation: object) -> None:
    """A type that has no one form in JSON is refused when the program starts, not when an event comes."""
    with pytest.raises(TypeError, match="an event field cannot be a"):
        converters(annotation)
