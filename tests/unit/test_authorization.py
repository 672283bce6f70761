"""Authorisation: who may do what is decided by the scopes held, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.envelope import ActorKind
from events.refusals import RefusalCode, Refused
from events.scopes import EVERYTHING
from service.authorization import ForbiddenError, Principal, operator, token_principal

SCOPES = st.sampled_from(["a:b", "a:c", "a:*", "b:b", "*:*", "tokens:read", "tokens:*"])


def principal(*scopes: str) -> Principal:
    """Act as a token with these scopes."""
    return token_principal("tok_1", "org_1", scopes)


def refused(by: Principal, carried: list[str]) -> list[str]:
    """List the codes of why a secret is held back."""
    outcome = by.hold_back(carried, "scopes")
    return [] if outcome is None else [refusal.code for refusal in outcome.refusals]


@pytest.mark.parametrize("held", ["tokens:read", "tokens:*", EVERYTHING])
def test_a_scope_that_covers_lets_pass(held: str) -> None:
    """The scope itself, its resource's wildcard and the wildcard of all are enough."""
    principal("a:b", held).require("tokens:read")


@pytest.mark.parametrize("held", [(), ("tokens:write",), ("events:*", "a:read"), ("tokens.x:*",)])
def test_a_scope_that_does_not_is_named(held: tuple[str, ...]) -> None:
    """The error says which scope was needed."""
    with pytest.raises(ForbiddenError) as error:
        principal(*held).require("tokens:read")
    assert error.value.scope == "tokens:read"


@given(st.lists(SCOPES), st.lists(SCOPES))
def test_nobody_hands_out_more_than_they_hold(held: list[str], carried: list[str]) -> None:
    """Whatever a secret is handed over with, its receiver could do before: all that it covers was covered."""
    if principal(*held).hold_back(carried, "scopes") is None:
        for scope in carried:
            principal(*held).require(scope)
    else:
        assert any(scope not in held for scope in carried)


@given(st.lists(SCOPES))
def test_whoever_holds_all_of_them_may(held: list[str]) -> None:
    """The scopes one holds, and any part of them, can be handed on."""
    assert principal(*held).hold_back(held, "scopes") is None
    assert principal(*held).hold_back(held[1:], "scopes") is None


def test_a_wildcard_must_be_held_as_one() -> None:
    """Every action that there is does not make the wildcard, which covers those to come."""
    assert refused(principal("a:b", "a:c"), ["a:*"]) == [RefusalCode.SCOPE_NOT_HELD]
    assert refused(principal("a:*", "b:*"), [EVERYTHING]) == [RefusalCode.SCOPE_NOT_HELD]
    assert refused(principal("a:*"), ["a:b", "a:c"]) == []


def test_the_refusal_names_what_is_lacking_and_where() -> None:
    """Those that are held are not named; the field is the one that led there."""
    outcome = principal("a:b").hold_back(["a:b", "b:b"], "id")
    assert isinstance(outcome, Refused)
    [refusal] = outcome.refusals
    assert refusal.field == ("input", "id")
    assert "b:b" in refusal.message
    assert "a:b" not in refusal.message


def test_the_operator_may_do_everything_in_one_organization() -> None:
    """The operator is no token, so nothing that happens to one restricts it."""
    by = operator("org_1").principal
    assert (by.actor.kind, by.organization) == (ActorKind.SYSTEM, "org_1")
    by.require("tokens:write")
    assert by.hold_back([EVERYTHING, "a:b"], "scopes") is None
