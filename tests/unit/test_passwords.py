"""Passwords: what is acceptable, what a verifier is bound to, and what hashing them costs."""

import os
import unicodedata

import pytest
from argon2 import extract_parameters
from hypothesis import given
from hypothesis import strategies as st

from service.passwords import (
    COST,
    LONGEST,
    LONGEST_PRESENTED,
    common_passwords,
    normalised,
    one_time_password,
    problem_with,
    verifier_of_nothing,
)
from service.secret_text import SecretText


@pytest.mark.parametrize("text", ["", "x" * 11, "x" * 257, "e\u0301" * 11, "x" * 100_000, "\u0301" * 300_000])
def test_a_password_has_twelve_to_256_characters(text: str) -> None:
    """The bounds count characters as they are after normalisation, and a huge text is judged at once."""
    assert problem_with(SecretText(text), ()) == "has 12 to 256 characters"


@pytest.mark.parametrize(
    "text", ["tgvbzhnujmik", "x" * 256, "пароль пароля", "e\u0301" * 256, "            x", "🐎🔋" * 6]
)
def test_no_composition_is_asked_for(text: str) -> None:
    """Letters alone, one letter, any script, spaces and pictures: what is long enough and not common is accepted."""
    assert problem_with(SecretText(text), ()) is None


def test_common_passwords_are_refused_in_any_case() -> None:
    """Thousands of the commonest passwords are known, and writing one in capitals changes nothing."""
    assert len(common_passwords()) == 10_000
    assert all(12 <= len(text) <= 256 and text == text.casefold() for text in common_passwords())
    for text in ("password1234", "PassWord1234", "1qaz2wsx3edc4rfv", "UNBELIEVABLE"):
        assert "commonest" in (problem_with(SecretText(text), ()) or "")


def test_names_that_others_know_are_refused() -> None:
    """A member's address or the organization's name is no password; what only contains it may be one."""
    known = ("grace@example.com", "Globex Corporation")
    for text in ("grace@example.com", "Grace@Example.com ", "globex corporation"):
        assert "others know" in (problem_with(SecretText(text), known) or "")
    assert problem_with(SecretText("globex corporation has a dog"), known) is None


def test_a_lone_surrogate_is_no_character() -> None:
    """What cannot be written as UTF-8 is refused, and hashed without an error when it is presented all the same."""
    assert "half a character" in (problem_with(SecretText("\ud800" * 12), ()) or "")


@given(st.text(min_size=1, max_size=LONGEST))
def test_all_spellings_of_a_text_are_one_password(text: str) -> None:
    """Decomposed or composed, a text that can be a password is normalised to the same."""
    decomposed = unicodedata.normalize("NFD", text)
    assert len(decomposed) <= LONGEST_PRESENTED
    assert normalised(SecretText(decomposed)) == normalised(SecretText(text))


def test_the_cost_is_that_of_rfc_9106() -> None:
    """New verifiers say Argon2id with 64 MiB, three passes and four lanes, 16 bytes of salt and a hash of 32."""
    parameters = extract_parameters(COST.hasher.hash(bytes(32)))
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (65_536, 3, 4)
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)


def test_what_an_unknown_address_is_verified_against_costs_the_same() -> None:
    """The verifier of nobody has the parameters of a real one, to the last character of its form."""
    made_up, real = verifier_of_nothing(COST, os.urandom), COST.hasher.hash(bytes(32))
    assert extract_parameters(made_up) == extract_parameters(real)
    assert len(made_up) == len(real)
    assert made_up != verifier_of_nothing(COST, os.urandom)


def test_one_time_passwords_are_acceptable_and_differ() -> None:
    """Each is a password by the rules, of unambiguous characters, and random."""
    made = {one_time_password(os.urandom).reveal() for _ in range(100)}
    assert len(made) == 100
    for text in made:
        assert problem_with(SecretText(text), ()) is None
        assert len(text) == 29
        assert not set("01ilo") & set(text)
