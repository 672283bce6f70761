"""What a change of a token means for who remembers it: a law over whatever is commanded, in the verifier's terms.

A change of a member is told by its event alone.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import OPERATOR
from events.members import (
    ROLE_SCOPES,
    MemberAdded,
    MemberRemoved,
    MemberRole,
    MemberRoleChanged,
    MemberState,
    PasswordChanged,
)
from events.scopes import covers, missing
from events.tokens import (
    CompleteRotation,
    EndRotationOverlap,
    RevokeToken,
    RotateToken,
    TokenCommand,
    TokenState,
    UpdateToken,
)
from service.cached_changes import change_row, is_restricting, member_change_row
from service.credential import Credential, Failure, credential_of, failure_of
from tests.unit.test_token_laws import COMMANDS, CREATION, CREATIONS, START, Step, steps

if TYPE_CHECKING:
    import asyncpg

INSTANT = timedelta(microseconds=1)
LATER = timedelta(days=400)
EXAMPLES = 60

SEQUENCES = st.tuples(
    CREATIONS | st.builds(replace, st.just(CREATION), expires_at=st.none() | st.just(START + timedelta(hours=1))),
    st.lists(st.tuples(COMMANDS, st.integers(0, 10)), min_size=4, max_size=12),
).map(lambda drawn: [(drawn[0], 0), *drawn[1]])
Sequence = list[tuple[TokenCommand, int]]
BROAD = replace(CREATION, scopes=("a:read", "b:*"), expires_at=START + LATER)


def verified(state: TokenState, generation: int, at: datetime) -> tuple[Failure | None, Credential]:
    """Say what the verifier makes of one secret of a token at an instant, from the row that the statement gives."""
    row = {
        **state._asdict(),
        "environment": None,
        "secret_generation": generation,
        "is_expired": state.expires_at is not None and state.expires_at <= at,
        "has_overlap": state.overlap_ends_at is not None and state.overlap_ends_at > at,
    }
    record = cast("asyncpg.Record", row)
    return failure_of(record), credential_of(record)


def instants(step: Step) -> list[datetime]:
    """List the instants from a change on between which nothing more happens to a token by itself."""
    ends = [
        end
        for state in (step.before, step.after)
        if state is not None
        for end in (state.expires_at, state.overlap_ends_at)
        if end is not None
    ]
    around = {step.now, step.now + LATER, *ends, *(end - INSTANT for end in ends)}
    return sorted(at for at in around if at >= step.now)


def changes(sequence: Sequence) -> Iterator[tuple[Step, TokenState, TokenState]]:
    """Carry a sequence out, and give each step that changed a token which was there."""
    for step in steps(sequence):
        if step.before is not None and step.after is not None and step.after != step.before:
            yield step, step.before, step.after


def may_less(before: tuple[Failure | None, Credential], after: tuple[Failure | None, Credential]) -> bool:
    """Say whether a secret that was good is not any more, or lacks a scope that it had."""
    if before[0] is not None:
        return False
    return after[0] is not None or bool(missing(after[1].scopes, before[1].scopes))


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_whatever_allows_less_is_restricting(sequence: Sequence) -> None:
    """No secret, be it the newest or an older one, can at any later instant do less after a change called harmless."""
    for step, before, after in changes(sequence):
        is_less = any(
            may_less(verified(before, generation, at), verified(after, generation, at))
            for generation in range(after.generation + 1)
            for at in instants(step)
        )
        row = change_row(before, after, "evt_1")
        if is_less:
            assert is_restricting(before, after)
            assert row is not None
        assert row is None or row == {
            "subject": after.id,
            "event_id": "evt_1",
            "restricting": is_restricting(before, after),
        }


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_what_nobody_remembers_is_not_told(sequence: Sequence) -> None:
    """A change is logged exactly if the verifier makes something else of a secret, now or at a later instant."""
    for step, before, after in changes(sequence):
        differs = any(
            verified(before, generation, at) != verified(after, generation, at)
            for generation in range(after.generation + 1)
            for at in instants(step)
        )
        assert (change_row(before, after, "evt_1") is not None) == differs


def test_a_new_token_is_told_to_nobody() -> None:
    """Nobody can remember a token that was not there."""
    (step,) = steps([(BROAD, 0)])
    assert step.after is not None
    assert change_row(None, step.after, "evt_1") is None


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (UpdateToken(token_id="tok_1", name="another"), None),
        (UpdateToken(token_id="tok_1", scopes=("b:*", "a:read")), False),
        (UpdateToken(token_id="tok_1", scopes=("a:read", "b:*", "c:read")), False),
        (UpdateToken(token_id="tok_1", scopes=("*:*",)), False),
        (UpdateToken(token_id="tok_1", scopes=("a:*", "b:*")), False),
        (UpdateToken(token_id="tok_1", scopes=("a:read", "b:read")), True),
        (UpdateToken(token_id="tok_1", scopes=("b:*", "c:read")), True),
        (UpdateToken(token_id="tok_1", scopes=()), True),
        (UpdateToken(token_id="tok_1", expires_at=None), False),
        (UpdateToken(token_id="tok_1", expires_at=START + LATER + INSTANT), False),
        (UpdateToken(token_id="tok_1", expires_at=START + LATER - INSTANT), True),
        (RotateToken(token_id="tok_1", hint="h", overlap_s=300), True),
        (RotateToken(token_id="tok_1", hint="h"), True),
        (RevokeToken(token_id="tok_1"), True),
    ],
)
def test_only_less_is_waited_for(command: TokenCommand, expected: object) -> None:
    """What gives more is told and waited for by nobody; a name is not even told."""
    *_, step = steps([(BROAD, 0), (command, 1)])
    assert step.before is not None
    assert step.after is not None
    assert step.before != step.after
    row = change_row(step.before, step.after, "evt_1")
    assert (None if row is None else row["restricting"]) is expected


def test_an_overlap_is_ended_for_all_and_a_first_use_is_waited_for_by_nobody() -> None:
    """Both are told: the one because the old secret stops, the other so that it is not counted again."""
    rotation = RotateToken(token_id="tok_1", hint="h", overlap_s=3600)
    completion, end = CompleteRotation(token_id="tok_1", generation=1), EndRotationOverlap(token_id="tok_1")
    _, _, completed, ended = steps([(BROAD, 0), (rotation, 1), (completion, 1), (end, 1)])
    for step, expected in ((completed, False), (ended, True)):
        assert step.after is not None
        row = change_row(step.before, step.after, "evt_1")
        assert row is not None
        assert row["restricting"] is expected


@pytest.mark.parametrize(("before", "after"), [*product(MemberRole, MemberRole)])
def test_a_role_restricts_by_what_it_takes(before: MemberRole, after: MemberRole) -> None:
    """A change of role is logged, and is restricting exactly where a scope is lost."""
    event = MemberRoleChanged(member_id="mem_1", role=after, previous_role=before)
    row = member_change_row(member(before), event, "evt_1")
    assert row is not None
    assert (row["subject"], row["event_id"]) == ("mem_1", "evt_1")
    assert row["restricting"] is any(not covers(ROLE_SCOPES[after], scope) for scope in ROLE_SCOPES[before])


def test_removal_and_a_new_password_restrict() -> None:
    """Whoever was removed or has another password has no session any more; a new member never had one."""
    for event in (MemberRemoved(member_id="mem_1"), PasswordChanged(member_id="mem_1")):
        row = member_change_row(member(MemberRole.AUDITOR), event, "evt_1")
        assert row is not None
        assert row["restricting"]
    assert member_change_row(None, MemberAdded(member_id="mem_1", role=MemberRole.OWNER), "evt_1") is None


def member(role: MemberRole) -> MemberState:
    """Make a member."""
    return MemberState(id="mem_1", organization="org_1", role=role, created_at=START, created_by=OPERATOR)
