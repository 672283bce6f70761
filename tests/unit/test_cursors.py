"""Cursors: what is sealed comes back, and nothing else is taken."""

import base64
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.log import Installation
from service.cursors import LONGEST_CURSOR, Cursors, ExpiredCursorError, InvalidCursorError

ORGANIZATION: Final = "org_01jd0000000000000000000000"
ORDER: Final = ("NAME", "ASC")


def cursors(*, generation: int = 2, key: bytes = b"k" * 32, organization: str = ORGANIZATION) -> Cursors:
    """Make the cursors of an organization."""
    installation = Installation(id="ins_1", generation=generation, cursor_key=key)
    return Cursors(installation=installation, organization=organization)


@given(st.integers(min_value=1, max_value=2**63 - 1))
def test_a_position_comes_back(position: int) -> None:
    """Reading what was written gives every position back."""
    assert cursors().event_position(cursors().of_event(position)) == position


@given(st.datetimes(timezones=st.just(UTC)) | st.none(), st.sampled_from(["CREATED_AT", "LAST_USED_AT", "EXPIRES_AT"]))
def test_an_instant_comes_back(at: datetime | None, field: str) -> None:
    """Reading what was written gives an instant, or its absence, back to the microsecond."""
    order = (field, "DESC")
    assert cursors().token_place(order, cursors().of_token(order, at, "tok_1")) == (at, "tok_1")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_a_name_comes_back(name: str) -> None:
    """Reading what was written gives every name back, and the longest fits."""
    cursor = cursors().of_token(ORDER, name, "tok_01jd0000000000000000000000")
    assert cursors().token_place(ORDER, cursor) == (name, "tok_01jd0000000000000000000000")
    assert len(cursor) <= LONGEST_CURSOR


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_application_comes_back(created_at: datetime) -> None:
    """Its place is its instant, to the microsecond, and its id; it is good in no other connection."""
    cursor = cursors().of_application(created_at, "app_1")
    assert cursors().application_place(cursor) == (created_at, "app_1")
    with pytest.raises(InvalidCursorError):
        cursors().token_place(("CREATED_AT", "DESC"), cursor)
    with pytest.raises(InvalidCursorError):
        cursors().application_place(cursors().of_token(("CREATED_AT", "DESC"), created_at, "tok_1"))


@given(st.text() | st.binary(max_size=99).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_whatever_is_not_ours_is_refused(text: str) -> None:
    """Any text at all that was not sealed here is an invalid cursor, and never another error."""
    own = cursors()
    for read in (own.event_position, own.application_place, lambda cursor: own.token_place(ORDER, cursor)):
        with pytest.raises(InvalidCursorError):
            read(text)


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_a_changed_character_breaks_the_seal(place: int, other: str) -> None:
    """A cursor with one character changed never reads as another position."""
    cursor = cursors().of_event(1_234_567)
    place %= len(cursor)
    changed = cursor[:place] + other + cursor[place + 1 :]
    try:
        assert cursors().event_position(changed) == 1_234_567  # the last character has bits to spare
    except InvalidCursorError:
        assert changed != cursor


def test_a_cursor_is_of_one_organization_and_installation() -> None:
    """Another organization's, and another installation's, are invalid."""
    cursor = cursors().of_event(1)
    for other in (cursors(organization="org_2"), cursors(key=b"l" * 32)):
        with pytest.raises(InvalidCursorError):
            other.event_position(cursor)


def test_a_cursor_is_of_one_connection_and_order() -> None:
    """An event's cursor marks no token, a token's no event, and none another field or direction."""
    token, event = cursors().of_token(ORDER, "a", "tok_1"), cursors().of_event(1)
    with pytest.raises(InvalidCursorError):
        cursors().event_position(token)
    for order, cursor in ((ORDER, event), (("NAME", "DESC"), token), (("CREATED_AT", "ASC"), token)):
        with pytest.raises(InvalidCursorError):
            cursors().token_place(order, cursor)


def test_a_cursor_is_of_one_generation() -> None:
    """A cursor from before a restore has expired, which is not the same as being invalid."""
    with pytest.raises(ExpiredCursorError):
        cursors(generation=3).event_position(cursors().of_event(1))
