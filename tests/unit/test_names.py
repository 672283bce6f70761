"""Names: accepted as they stand, or refused for a reason that does not quote them."""

import pytest

from events.names import LONGEST_NAME, LONGEST_REASON, name_problems, text_problems
from events.refusals import Refusal, invalid

EMPTY = invalid("name", "is empty: give 1 to 100 characters, not only spaces")
CONTROL = invalid("name", "holds a control character: use printable characters only")


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "n" * LONGEST_NAME,
        " padded ",
        "Zürich naïve",
        "билд 名前 שם",
        "e\u0301 combined",
        "\U0001f680" * LONGEST_NAME,
        "family \U0001f468\u200d\U0001f469\u200d\U0001f467",
        "<script>alert('x')</script>",
        "'; drop table tokens; --",
        "${jndi:ldap}",
    ],
    ids=ascii,
)
def test_printable_names_are_accepted(name: str) -> None:
    """Any script, up to 100 characters, and what would be dangerous unescaped elsewhere."""
    assert name_problems("name", name) == ()


@pytest.mark.parametrize(
    "name", ["", " ", "   ", "\u00a0\u2003", "\t", "\n", "\u200b", "\u200b \u200d\ufeff"], ids=ascii
)
def test_a_name_that_shows_nothing_is_refused(name: str) -> None:
    """Nothing, spaces of any kind and characters without a width are no name."""
    assert name_problems("name", name) == (EMPTY,)


@pytest.mark.parametrize("place", ["{}name", "na{}me", "name{}"])
@pytest.mark.parametrize(
    "character",
    [
        *["\x00", "\x07", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800", "\udfff"],
        *["\u061c", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e"],
        *["\u2066", "\u2067", "\u2068", "\u2069"],
    ],
    ids=ascii,
)
def test_control_characters_are_refused_anywhere(place: str, character: str) -> None:
    """What ends a line, steers a terminal, cannot be encoded or turns the direction of the text is not printable."""
    assert name_problems("name", place.format(character)) == (CONTROL,)


@pytest.mark.parametrize(("length", "count"), [(101, "101"), (100_000, "100000")])
def test_a_long_name_is_refused_by_its_length(length: int, count: str) -> None:
    """The refusal says how long it is and how long it may be."""
    (problem,) = name_problems("name", "n" * length)
    assert problem == invalid("name", f"has {count} characters: at most 100 are allowed")


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ()),
        ("  ", ()),
        ("r" * LONGEST_REASON, ()),
        ("r" * (LONGEST_REASON + 1), (invalid("reason", "has 501 characters: at most 500 are allowed"),)),
        ("two\nlines", (invalid("reason", "holds a control character: use printable characters only"),)),
    ],
    ids=["empty", "blank", "longest", "too long", "two lines"],
)
def test_a_reason_may_be_empty_but_not_long(text: str, problems: tuple[Refusal, ...]) -> None:
    """A free text may say nothing; its length and its characters are bounded like a name's."""
    assert text_problems("reason", text, LONGEST_REASON) == problems
