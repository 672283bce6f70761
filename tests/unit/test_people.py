"""Addresses are compared in one form, and any text can be asked for."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.people import address_key, address_problems


@pytest.mark.parametrize(
    "email", ["grace@example.com", "grace+test@example.co.uk", "grace@localhost", "grâce@exämple.com", "g'r.a-c_e@x.y"]
)
def test_addresses_that_are_ones(email: str) -> None:
    """Addresses of the usual forms are accepted, of any script."""
    assert address_problems("email", email) == ()
    assert address_key(email)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Grace@Example.COM", "grace@example.com"),
        ("gr\u00e2ce@example.com", "gra\u0302ce@example.com"),
        ("STRASSE@example.com", "straße@example.com"),
    ],
)
def test_spellings_of_one_address(one: str, other: str) -> None:
    """Capitals and the two forms of an accent make no other address."""
    assert address_key(one) == address_key(other)


@given(st.text())
def test_any_text_has_a_key(text: str) -> None:
    """A key can be stored as text, is the same for every normalisation, and is nobody's for what is no address."""
    key = address_key(text)
    assert "\0" not in key
    key.encode()
    assert bool(key) is (address_problems("email", text) == ())
    assert address_key(unicodedata.normalize("NFC", text)) == key or not key


@given(st.emails())
def test_a_key_is_its_own_key(email: str) -> None:
    """To write a key as a key changes nothing."""
    key = address_key(email)
    assert not key or address_key(key) == key
