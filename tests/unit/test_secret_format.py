"""The written form of a secret: what is generated is recognised, and nothing else is."""

import os
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.secret_format import DEFAULT_PREFIX, generate, hint, is_valid_prefix, is_well_formed
from service.secret_text import SecretText

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIXES = st.sampled_from([DEFAULT_PREFIX, "e_", "a123456789012345_"])
ENTROPY = st.binary(min_size=32, max_size=32)
SAMPLE = generate(DEFAULT_PREFIX, lambda size: bytes(range(7, 7 + size))).reveal()  # fixed: test ids follow from it


def secret_of(entropy: bytes, prefix: str = DEFAULT_PREFIX) -> str:
    """Generate from known entropy."""
    return generate(prefix, lambda _size: entropy).reveal()


def value_of(digits: str) -> int:
    """Read base62, most significant digit first: an independent reading of what the module writes."""
    number = 0
    for digit in digits:
        number = number * 62 + ALPHABET.index(digit)
    return number


@given(PREFIXES, ENTROPY)
def test_the_entropy_and_the_checksum_can_be_read_back(prefix: str, entropy: bytes) -> None:
    """A secret is its prefix, its 256 bits in 43 digits and the CRC-32 of both in 6, and is well formed."""
    secret = secret_of(entropy, prefix)
    body = secret.removeprefix(prefix)
    assert len(body) == 49
    assert value_of(body[:43]) == int.from_bytes(entropy, "big")
    assert value_of(body[43:]) == zlib.crc32(secret[:-6].encode())
    assert is_well_formed(prefix, secret)


@pytest.mark.parametrize(
    ("entropy", "expected"),
    [
        (bytes(32), "entri_00000000000000000000000000000000000000000004PHyY0"),
        (b"\xff" * 32, "entri_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp11farjw"),
        (bytes(range(32)), "entri_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf43k7SG"),
    ],
)
def test_the_format_never_changes(entropy: bytes, expected: str) -> None:
    """These secrets are in the hands of callers."""
    assert secret_of(entropy) == expected


@given(ENTROPY, st.integers(0, 54), st.characters())
def test_one_changed_character_is_caught(entropy: bytes, place: int, character: str) -> None:
    """No secret stays well formed when any one character of it is another."""
    secret = secret_of(entropy)
    changed = secret[:place] + character + secret[place + 1 :]
    assert is_well_formed(DEFAULT_PREFIX, changed) is (changed == secret)


@given(ENTROPY, st.integers(0, 53))
def test_two_swapped_neighbours_are_caught(entropy: bytes, place: int) -> None:
    """No secret stays well formed when two neighbouring characters of it trade places."""
    secret = secret_of(entropy)
    swapped = secret[:place] + secret[place + 1] + secret[place] + secret[place + 2 :]
    assert is_well_formed(DEFAULT_PREFIX, swapped) is (swapped == secret)


@given(st.text(st.characters(), max_size=60) | st.text(st.characters(), min_size=49, max_size=49).map("entri_".__add__))
def test_any_text_gets_an_answer(presented: str) -> None:
    """Text of any script, with NUL or lone surrogates, is refused without an error."""
    assert not is_well_formed(DEFAULT_PREFIX, presented)


@pytest.mark.parametrize(
    "presented",
    [
        "",
        "entri_",
        SAMPLE[:-1],
        SAMPLE + "0",
        SAMPLE + "\n",
        " " + SAMPLE[1:],
        SAMPLE.upper(),
        SAMPLE.replace("entri_", "other_"),
        SAMPLE[:-1] + "\N{FULLWIDTH DIGIT ONE}",
        SAMPLE[:10] + "\x00" + SAMPLE[11:],
        SAMPLE[:10] + "\udcff" + SAMPLE[11:],
        SAMPLE * 1000,
    ],
)
def test_near_misses_are_refused(presented: str) -> None:
    """Lengths, alphabets and prefixes beside the right ones are not well formed."""
    assert not is_well_formed(DEFAULT_PREFIX, presented)


def test_a_secret_of_another_prefix_is_refused() -> None:
    """An installation does not take the secrets of one with another prefix of the same length."""
    other = generate("other_", os.urandom).reveal()
    assert is_well_formed("other_", other)
    assert not is_well_formed(DEFAULT_PREFIX, other)


def test_a_source_of_the_wrong_length_is_refused() -> None:
    """A source of randomness that falls short makes no secret."""
    with pytest.raises(ValueError, match="31 bytes instead of 32"):
        generate(DEFAULT_PREFIX, lambda _size: bytes(31))


@given(PREFIXES, ENTROPY)
def test_a_hint_is_the_prefix_and_eight_characters(prefix: str, entropy: bytes) -> None:
    """A hint shows the first and last four characters after the prefix, and not one more."""
    secret = secret_of(entropy, prefix)
    shown = hint(prefix, SecretText(secret))
    first, last = shown.removeprefix(prefix).split("…")
    assert (len(first), len(last)) == (4, 4)
    assert secret.startswith(prefix + first)
    assert secret.endswith(last)


def test_a_hint_of_something_short_is_refused_unquoted() -> None:
    """What is not one of our secrets gets no hint, since eight characters of it could be all of it."""
    with pytest.raises(ValueError, match="well-formed") as caught:
        hint(DEFAULT_PREFIX, SecretText("entri_hunter2"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["e_", "entri_", "a123456789012345_"])
def test_prefixes_of_the_rule_are_valid(prefix: str) -> None:
    """A letter, up to 15 letters or digits, and an underscore make a prefix."""
    assert is_valid_prefix(prefix)


@pytest.mark.parametrize(
    "prefix", ["", "_", "entri", "Entri_", "1a_", "en-tri_", "a_b_", "entri_\n", "é_", "a" * 17 + "_"]
)
def test_other_prefixes_are_refused(prefix: str) -> None:
    """Everything else is invalid, and `generate` says by which rule."""
    assert not is_valid_prefix(prefix)
    with pytest.raises(ValueError, match=re.escape("must be a lower-case letter")):
        generate(prefix, os.urandom)
