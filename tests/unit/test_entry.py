"""The canonical entry: one form, read back whole, hashed as a leaf."""

import hashlib
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.entry import NewEvent, leaf_hash, new_event, recorded_event
from events.envelope import Actor, ActorKind, Circumstances, StreamId, Version
from events.registry import Event, EventDecodeError, encode_payload
from events.tokens import TokenRevoked, TokenUpdated
from events.usage import TokenUsed

AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
LATER = datetime(2026, 1, 3, tzinfo=UTC)
WHEN = Circumstances(
    organization="org_1",
    actor=Actor(kind=ActorKind.TOKEN, id="tok_9"),
    at=AT,
    address="2001:db8::1",
    request_id="req-1",
)
STREAM = StreamId("token-tok_1")
REVOKED = TokenRevoked(token_id="tok_1", reason="lost")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def written(event: Event, *, version: int | None = 2, when: Circumstances = WHEN, salt: bytes = bytes(16)) -> NewEvent:
    """Write an event's entry."""
    placed = (STREAM, None if version is None else Version(version))
    return new_event(event, when, event_id="evt_1", placed=placed, random_bytes=lambda _size: salt)


def canonical(value: Any) -> str:  # noqa: ANN401 -- any JSON value
    """Write a value as RFC 8785 says, for texts and integers: an independent reading of the standard."""
    match value:
        case dict():
            keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
            return "{" + ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in keys) + "}"
        case list():
            return "[" + ",".join(canonical(item) for item in value) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case int() if abs(value) < 2**53:
            return str(value)
        case _:
            raise AssertionError(f"{value!r} has no place in an entry")


@settings(max_examples=60)
@given(TEXTS, st.lists(TEXTS, max_size=3).map(tuple), st.integers(1, 2**31 - 1) | st.none())
def test_an_entry_is_canonical(text: str, texts: tuple[str, ...], version: int | None) -> None:
    """Sorted keys, no white space, UTF-8, whole numbers: RFC 8785, so that writing it again gives the same bytes."""
    event = TokenUpdated(token_id="tok_1", name=text, scopes=texts, expires_at=None)
    entry = written(event, version=version, when=WHEN._replace(request_id=text)).entry
    assert entry == canonical(json.loads(entry)).encode()
    assert entry == orjson.dumps(orjson.loads(entry), option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize(
    "character",
    ["\x00", "\x08", "\t", "\n", "\x0b", "\f", "\r", "\x1f", '"', "\\", "/", "\x7f", "\u2028", "\U0001f680"],
    ids=ascii,
)
def test_characters_are_escaped_as_the_standard_says(character: str) -> None:
    """Each character has one form, in keys' order and in values."""
    entry = written(replace(REVOKED, reason=character)).entry
    assert canonical({"reason": character, "token_id": "tok_1"}).encode() in entry


@pytest.mark.parametrize("count", [2**53, 2**63, -(2**53)])
def test_numbers_that_readers_would_round_are_refused(count: int) -> None:
    """Whole numbers of 2^53 and more are not the same in every language."""
    used = TokenUsed(
        token_id="tok_1", generation=0, hint="h", count=count, first_used_at=AT, last_used_at=AT, ip_addresses=()
    )
    with pytest.raises(TypeError, match="53-bit"):
        written(used, version=None)
    assert b'"count":9007199254740991,' in written(replace(used, count=2**53 - 1), version=None).entry


def test_what_cannot_be_encoded_is_refused() -> None:
    """Half of a surrogate pair is not text, and never reaches the log's writer."""
    with pytest.raises(TypeError, match="surrogates not allowed"):
        written(REVOKED, when=WHEN._replace(request_id="\ud800"))


@settings(max_examples=30)
@given(TEXTS, st.sampled_from(ActorKind), st.none() | TEXTS, st.none() | TEXTS)
def test_an_entry_is_read_back_whole(
    organization: str, kind: ActorKind, address: str | None, request: str | None
) -> None:
    """All that surrounds an event comes back from its bytes, positions and `recorded_at` from beside them."""
    when = Circumstances(
        organization=organization, actor=Actor(kind=kind, id="id"), at=AT, address=address, request_id=request
    )
    new = written(REVOKED, when=when)
    read = recorded_event(7, 3, LATER, entry=new.entry)
    assert (read.position, read.organization_position, read.recorded_at) == (7, 3, LATER)
    assert (read.organization, read.actor, read.address, read.request_id) == (
        organization,
        when.actor,
        address,
        request,
    )
    assert (read.event_id, read.stream, read.version, read.type) == ("evt_1", STREAM, 2, "TokenRevoked")
    assert (read.occurred_at, read.subject, read.entry) == (AT, "tok_1", new.entry)
    assert (read.event, read.payload) == (REVOKED, encode_payload(REVOKED))


def test_the_columns_beside_say_what_the_entry_says() -> None:
    """What the log is searched by is taken from the event, not given beside it."""
    new = written(REVOKED)
    content = json.loads(new.entry)
    assert content.pop("payload") == {"reason": "lost", "token_id": "tok_1"}
    assert content == {
        "actor": {"id": new.actor, "kind": "TOKEN"},
        "address": "2001:db8::1",
        "event_id": new.event_id,
        "occurred_at": "2026-01-02T03:04:05.000006Z",
        "organization": new.organization,
        "request_id": "req-1",
        "salt": "00" * 16,
        "schema_version": 1,
        "stream": new.stream,
        "subject": new.subject,
        "type": new.type,
        "version": new.version,
    }
    assert (new.is_usage, new.occurred_at) == (False, AT)


def test_usage_is_kept_apart() -> None:
    """An event that was observed goes to the partitions of usage and has no version."""
    used = TokenUsed(
        token_id="tok_1", generation=0, hint="h", count=1, first_used_at=AT, last_used_at=AT, ip_addresses=("::1",)
    )
    new = written(used, version=None)
    assert (new.is_usage, new.version) == (True, None)
    assert recorded_event(1, 1, AT, entry=new.entry).event == used


def test_each_entry_has_a_salt_of_its_own() -> None:
    """The same event twice has two hashes, so a hash tells nothing about what may have happened."""
    one, other = (written(REVOKED, salt=os.urandom(16)).entry for _ in range(2))
    assert leaf_hash(one) != leaf_hash(other)
    contents = [json.loads(entry) for entry in (one, other)]
    assert {len(bytes.fromhex(content.pop("salt"))) for content in contents} == {16}
    assert contents[0] == contents[1]


@given(st.binary(max_size=100))
@settings(max_examples=30)
def test_a_leaf_hash_is_that_of_rfc_9162(entry: bytes) -> None:
    """SHA-256 over a zero byte and the entry: no inner node of the tree has such a hash."""
    assert leaf_hash(entry) == hashlib.sha256(b"\x00" + entry).digest()


def test_the_hash_of_nothing_is_known() -> None:
    """The leaf hash of the empty entry, as RFC 9162 implementations publish it."""
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_an_entry_of_a_newer_program_is_an_error() -> None:
    """A type that this program does not know stops its reader and is not skipped."""
    entry = written(REVOKED).entry.replace(b'"TokenRevoked"', b'"TokenTransferred"')
    with pytest.raises(EventDecodeError, match="TokenTransferred is not known: this service is older than the log"):
        recorded_event(1, 1, AT, entry=entry)
