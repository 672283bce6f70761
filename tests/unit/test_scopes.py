"""Scopes: which texts are scopes, and what the scopes held cover."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.scopes import EVERYTHING, LONGEST_SCOPE, RESERVED, covers, missing, problem_with

SCOPES = st.sampled_from([*[f"{r}:{a}" for r in ("a", "ab", "b.c-d_1") for a in ("read", "write", "*")], EVERYTHING])
SETS = st.lists(SCOPES, max_size=5)


@pytest.mark.parametrize(
    "scope",
    [
        "projects:read",
        "projects:*",
        "a:b",
        "a1._-:b1._-",
        "*:*",
        f"{'a' * 62}:b",
        "tokens:verify",
        "tokens:*",
        "events:read",
    ],
)
def test_scopes_are_accepted(scope: str) -> None:
    """A resource and an action, or all actions of it, or everything, within 64 characters."""
    assert problem_with(scope) is None


@pytest.mark.parametrize(
    "scope",
    [
        "",
        ":",
        "canary",
        "canary:",
        ":read",
        "*",
        "*:read",
        "CANARY:read",
        "canary:Read",
        "canary:read:write",
        "canary:re*",
        "1canary:read",
        "canary:1read",
        "-a:read",
        "canary:**",
        "canary :read",
        " canary:read",
        "canary:read ",
        "canary:read\n",
        "canary:read\x00",
        "canary:r\u00e9ad",
        "canary\N{FULLWIDTH COLON}read",
        "\N{FULLWIDTH LATIN SMALL LETTER C}anary:read",
        "canary:r\ud800",
        f"canary{'a' * 57}:b",
        "canary" * 100_000,
    ],
    ids=lambda scope: ascii(scope)[:40],
)
def test_other_texts_are_refused_unquoted(scope: str) -> None:
    """Whatever else is refused by a short sentence that does not hold it."""
    problem = problem_with(scope)
    assert problem is not None
    assert len(problem) < 120
    assert "anary" not in problem.lower()


def test_the_longest_scope_has_64_characters() -> None:
    """One character more is one too many, and is said to be."""
    assert problem_with(f"{'a' * (LONGEST_SCOPE - 2)}:b") is None
    assert "64" in str(problem_with(f"{'a' * (LONGEST_SCOPE - 1)}:b"))


@pytest.mark.parametrize("resource", sorted(RESERVED))
def test_our_own_resources_have_our_actions_only(resource: str) -> None:
    """An action that a reserved resource does not have is refused with those that it has."""
    for action in (*RESERVED[resource], "*"):
        assert problem_with(f"{resource}:{action}") is None
    for action in {"read", "write", "verify", "delete", "reads"} - RESERVED[resource]:
        problem = problem_with(f"{resource}:{action}")
        assert problem is not None
        assert all(known in problem for known in RESERVED[resource])


@settings(max_examples=40)
@given(SETS, SCOPES)
def test_what_covers_is_the_scope_itself_or_a_wildcard(held: list[str], wanted: str) -> None:
    """A scope is covered by itself, by all of its resource, by everything: by nothing else, and never by the parts."""
    resource = wanted.partition(":")[0]
    assert covers(held, wanted) == bool({wanted, f"{resource}:*", "*:*"} & set(held))


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ("projects:read", "projects:*"),
        ("projects:read", "*:*"),
        ("projects:*", "*:*"),
        ("projects:*", "project:read"),
        ("project:*", "projects:read"),
        ("projects:read", "projects:readers"),
        ("projects:readers", "projects:read"),
    ],
)
def test_less_does_not_cover_more(held: str, wanted: str) -> None:
    """Neither a part of a resource's actions nor a resource of a similar name covers what is wanted."""
    assert not covers([held], wanted)
    assert missing([held], [wanted]) == (wanted,)


@settings(max_examples=40)
@given(SETS, SETS, SETS)
def test_what_is_missing_is_what_is_not_covered(held: list[str], wanted: list[str], more: list[str]) -> None:
    """Order and repetitions stay, nothing is missing from itself, and holding more never lacks more."""
    lacking = missing(held, wanted)
    assert lacking == tuple(scope for scope in wanted if not covers(held, scope))
    assert missing(held, held) == ()
    assert missing([EVERYTHING], wanted) == ()
    assert missing(held + more, wanted) == tuple(scope for scope in lacking if not covers(more, scope))


def test_what_is_missing_is_found_in_what_can_be_read_once() -> None:
    """Scopes held may come from a generator."""
    assert missing((scope for scope in ("a:read", "b:*")), ("b:write", "a:read", "a:write")) == ("a:write",)
