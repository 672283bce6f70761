"""Identifiers: typed, in the order of their making, and recognised."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.identifiers import ALPHABET, PREFIXES, derived_id, encode, new_id, prefix_of

INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 -- the bounds of aware ones
TEN_BYTES = st.binary(min_size=10, max_size=10)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def value_of(identifier: str) -> int:
    """Read the 128 bits back: an independent reading of what the module writes."""
    number = 0
    for digit in identifier.rpartition("_")[2]:
        number = number * 32 + ALPHABET.index(digit)
    return number


@settings(max_examples=50)
@given(st.sampled_from(sorted(PREFIXES)), INSTANTS, TEN_BYTES)
def test_a_new_id_is_a_uuid_of_version_7(prefix: str, now: datetime, random: bytes) -> None:
    """Its first 48 bits are the milliseconds, then version and variant, and the rest are 74 random bits."""
    identifier = new_id(prefix, now, lambda _size: random)
    value = value_of(identifier)
    assert prefix_of(identifier) == prefix
    assert value >> 80 == (now - EPOCH) // timedelta(milliseconds=1)
    assert (value >> 76 & 0xF, value >> 62 & 0b11) == (7, 0b10)
    low_74 = int.from_bytes(random, "big") & (1 << 74) - 1
    assert (value >> 64 & 0xFFF) << 62 | value & (1 << 62) - 1 == low_74


@settings(max_examples=50)
@given(INSTANTS, INSTANTS, TEN_BYTES, TEN_BYTES)
def test_text_order_is_the_order_of_making(one: datetime, other: datetime, first: bytes, second: bytes) -> None:
    """Of two made in different milliseconds the earlier sorts first, whatever their random parts."""
    earlier, later = sorted((one, other))
    a, b = new_id("tok", earlier, lambda _size: first), new_id("tok", later, lambda _size: second)
    apart = (later - EPOCH) // timedelta(milliseconds=1) > (earlier - EPOCH) // timedelta(milliseconds=1)
    assert a < b if apart else a[:14] == b[:14]


def test_ids_of_one_instant_differ() -> None:
    """74 random bits do not meet."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({new_id("evt", now, os.urandom) for _ in range(1000)}) == 1000


@given(st.integers(0, 2**128 - 1))
@settings(max_examples=50)
def test_any_128_bits_can_be_read_back(value: int) -> None:
    """26 digits, the first of them below 8."""
    text = encode(value)
    assert (len(text), value_of(text)) == (26, value)
    assert prefix_of(f"app_{text}") == "app"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), "evt_73p324567whga9nyzms2cpze94"),
        (("rotation-completed", "tok_1", "1"), "evt_033a78vmcfhyz8h8047k318dfh"),
        (("rotation-completed", "tok_1", "2"), "evt_4k9b9xt01khymsj9pz645wpwfh"),
        (("usage-gap", "p", "org_1", "2026-01-01 00:00:00+00:00"), "evt_133n5s7v9eh25td2m2rzrjvpz9"),
        (("é", ""), "evt_69pe0s1apcgxrsfke7qv23r9px"),
        (("", "é"), "evt_0xkcqphrrygavb6337txs9s9n5"),
    ],
)
def test_derived_ids_never_change(parts: tuple[str, ...], expected: str) -> None:
    """What was derived before an upgrade must be derived again after it, or an event would be appended twice."""
    assert derived_id("evt", *parts) == expected


@settings(max_examples=50)
@given(st.lists(st.text("ab", max_size=3), max_size=3), st.lists(st.text("ab", max_size=3), max_size=3))
def test_derived_ids_tell_their_parts_apart(one: list[str], other: list[str]) -> None:
    """Equal parts lead to one id; others, be it by where one part ends, to another; each is a UUID of version 8."""
    assert (derived_id("evt", *one) == derived_id("evt", *other)) == (one == other)
    value = value_of(derived_id("evt", *one))
    assert (value >> 76 & 0xF, value >> 62 & 0b11) == (8, 0b10)


GOOD = "tok_01jd0000000000000000000000"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tok",
        "tok_",
        GOOD[:-1],
        GOOD + "0",
        GOOD + "\n",
        " " + GOOD,
        GOOD.upper(),
        GOOD.replace("tok", "xyz"),
        GOOD.replace("tok", "evtt"),
        GOOD.replace("_", "-"),
        GOOD.replace("_0", "_8"),
        *[GOOD[:-1] + letter for letter in "ilou"],
        GOOD[:-1] + "\x00",
        GOOD[:-1] + "\N{FULLWIDTH DIGIT ONE}",
        GOOD[:-1] + "\ud800",
        "entri_00000000000000000000000000000000000000000004PHyY0",
        "tok_" * 100_000,
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_junk_is_of_no_kind(text: str) -> None:
    """Other lengths, prefixes, alphabets and values beyond 128 bits are not ours."""
    assert prefix_of(GOOD) == "tok"
    assert prefix_of(text) is None
