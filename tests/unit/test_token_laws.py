"""Tokens: what holds whatever was commanded before."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Actor, ActorKind
from events.refusals import RefusalCode, Refused
from events.token_kinds import POLICIES, TokenKind, stream_of_api_token
from events.tokens import (
    LONGEST_OVERLAP,
    UNCHANGED,
    CompleteRotation,
    CreateToken,
    Decision,
    EndRotationOverlap,
    RevokeToken,
    RotateToken,
    TokenCommand,
    TokenCreated,
    TokenRevoked,
    TokenRotated,
    TokenRotationCompleted,
    TokenState,
    TokenUpdated,
    UpdateToken,
    decide,
    evolve,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
ACTOR = Actor(kind=ActorKind.MEMBER, id="mem_1")
CANARY = "canary"
EXAMPLES = 20
MONTH_S = 2_592_000

AnEvent = TypeVar("AnEvent", TokenRotated, TokenRotationCompleted, TokenUpdated)


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a sequence: what it met and what came of it."""

    command: TokenCommand
    now: datetime
    before: TokenState | None
    decision: Decision
    after: TokenState | None


# What is acceptable comes more often than what is not, so that sequences get somewhere.
NAMES = st.sampled_from(
    [*[f"{CANARY} a", f"{CANARY} b"] * 4, "", "   ", CANARY * 17, f"{CANARY}\x07", f"{CANARY}\u202e", f"{CANARY}\ud800"]
)
GOOD_SCOPES = [(f"{CANARY}:read",), (f"{CANARY}:*", "a:b"), ("*:*",)]
BAD_SCOPES = [(CANARY,), (f"tokens:{CANARY}",), (f"{CANARY * 10}:x",), (f"{CANARY}:x", f"{CANARY}:x")]
SCOPES = st.sampled_from([*GOOD_SCOPES * 3, *BAD_SCOPES])
HINTS = st.integers(1, 9).map(lambda number: f"entri_{number}")
EXPIRIES = st.none() | st.integers(0, 90).map(lambda minutes: START + timedelta(minutes=minutes))
TEXTS = st.sampled_from([None, "", CANARY, f"{CANARY} a", CANARY * 84, f"{CANARY}\n"])

UPDATES = st.builds(
    UpdateToken,
    token_id=st.just("tok_1"),
    name=st.just(UNCHANGED) | NAMES,
    scopes=st.just(UNCHANGED) | SCOPES,
    expires_at=st.just(UNCHANGED) | EXPIRIES,
)
ROTATIONS = st.builds(
    RotateToken,
    token_id=st.just("tok_1"),
    hint=HINTS,
    overlap_s=st.sampled_from([*[0, 1, 300, MONTH_S] * 2, -1, MONTH_S + 1]),
)
COMPLETIONS = st.builds(CompleteRotation, token_id=st.just("tok_1"), generation=st.integers(0, 3))
REVOCATIONS = st.builds(RevokeToken, token_id=st.just("tok_1"), reason=TEXTS, confirmation=TEXTS)
CREATIONS = st.builds(
    CreateToken,
    token_id=st.just("tok_1"),
    kind=st.sampled_from(TokenKind),
    name=NAMES,
    hint=HINTS,
    scopes=SCOPES,
    expires_at=EXPIRIES,
)
COMMANDS: st.SearchStrategy[TokenCommand] = st.one_of(
    UPDATES,
    UPDATES,
    ROTATIONS,
    ROTATIONS,
    COMPLETIONS,
    COMPLETIONS,
    st.just(EndRotationOverlap(token_id="tok_1")),
    REVOCATIONS,
    CREATIONS,
)
CREATION = CreateToken(
    token_id="tok_1", kind=TokenKind.API_TOKEN, name=f"{CANARY} a", hint="entri_0", scopes=(f"{CANARY}:read",)
)
SEQUENCES = st.tuples(
    CREATIONS | st.sampled_from([replace(CREATION, kind=kind) for kind in TokenKind]),
    st.lists(st.tuples(COMMANDS, st.integers(0, 10)), min_size=8, max_size=16),
).map(lambda drawn: [(drawn[0], 0), *drawn[1]])


def fold(state: TokenState | None, decision: Decision, now: datetime) -> TokenState | None:
    """Fold what was decided, nothing when it was refused."""
    for event in () if isinstance(decision, Refused) else decision:
        state = evolve(state, event, organization="org_1", actor=ACTOR, at=now)
    return state


def steps(sequence: list[tuple[TokenCommand, int]]) -> Iterator[Step]:
    """Carry a sequence of commands out, some minutes between them."""
    state, now = None, START
    for command, minutes in sequence:
        now += timedelta(minutes=minutes)
        decision = decide(command, state, now=now)
        after = fold(state, decision, now)
        yield Step(command, now, state, decision, after)
        state = after


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_decisions_fold_and_repeat(sequence: list[tuple[TokenCommand, int]]) -> None:
    """No decision yields what `evolve` rejects, and the same question gets the same answer."""
    for step in list(steps(sequence)):
        assert decide(step.command, step.before, now=step.now) == step.decision
        assert fold(step.before, step.decision, step.now) == step.after


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_a_refusal_says_why_and_quotes_nothing(sequence: list[tuple[TokenCommand, int]]) -> None:
    """Nothing that a caller sent, be it a secret pasted by mistake, comes back in a refusal."""
    for step in steps(sequence):
        if isinstance(step.decision, Refused):
            assert step.decision.refusals
            assert CANARY not in repr(step.decision).lower()
            assert all(refusal.message for refusal in step.decision.refusals)


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_a_revoked_token_stays_as_it_is(sequence: list[tuple[TokenCommand, int]]) -> None:
    """After a revocation nothing is appended; every command but a revocation and an end of the overlap is refused."""
    for step in steps(sequence):
        if step.before is None or step.before.revoked_at is None:
            continue
        assert step.after == step.before
        match step.command:
            case CreateToken():
                assert codes(step.decision) == {RefusalCode.TAKEN}
            case RevokeToken() | EndRotationOverlap():
                assert step.decision == () or codes(step.decision) == {RefusalCode.INVALID}
            case _:
                assert codes(step.decision) == {RefusalCode.TOKEN_NOT_ACTIVE}


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_an_expired_token_can_only_be_revoked(sequence: list[tuple[TokenCommand, int]]) -> None:
    """What has expired is not brought back by an update nor given a new secret."""
    for step in steps(sequence):
        if step.before is not None and not step.before.is_active(step.now):
            assert isinstance(step.decision, Refused) or all(isinstance(e, TokenRevoked) for e in step.decision)


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_a_command_carried_out_is_done(sequence: list[tuple[TokenCommand, int]]) -> None:
    """Given again at once, a command that was carried out appends nothing, but for a rotation, which makes a secret."""
    for step in steps(sequence):
        if isinstance(step.decision, Refused) or isinstance(step.command, CreateToken | RotateToken):
            continue
        assert decide(step.command, step.after, now=step.now) == ()


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_a_rotation_moves_the_secrets_on(sequence: list[tuple[TokenCommand, int]]) -> None:
    """Each rotation is of the next generation, keeps the hint before it, and overlaps for 30 days at most."""
    for step in steps(sequence):
        for event in events(step, TokenRotated):
            assert isinstance(step.command, RotateToken)
            assert step.before is not None
            assert step.after is not None
            assert step.after.generation == step.before.generation + 1
            assert (step.after.hint, step.after.previous_hint) == (step.command.hint, step.before.hint)
            assert step.after.new_secret_used_at is None
            assert event.overlap_ends_at is None or step.now < event.overlap_ends_at <= step.now + LONGEST_OVERLAP


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_a_rotation_is_completed_once(sequence: list[tuple[TokenCommand, int]]) -> None:
    """The first use of a secret is noted once a generation, of the newest only, and ends no overlap."""
    completed = set()
    for step in steps(sequence):
        for event in events(step, TokenRotationCompleted):
            assert step.before is not None
            assert step.after == step.before._replace(new_secret_used_at=step.now)
            assert event.generation not in completed
            completed.add(event.generation)


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_an_update_says_what_is_now(sequence: list[tuple[TokenCommand, int]]) -> None:
    """An update is appended only if it changes something, and nothing but what was given changes."""
    for step in steps(sequence):
        for event in events(step, TokenUpdated):
            assert isinstance(step.command, UpdateToken)
            assert step.before is not None
            for field in ("name", "scopes", "expires_at"):
                given_value, old = getattr(step.command, field), getattr(step.before, field)
                assert getattr(event, field) == (old if given_value is UNCHANGED else given_value)
            assert step.after != step.before


def events(step: Step, kind: type[AnEvent]) -> tuple[AnEvent, ...]:
    """List the events of one type that a step yielded."""
    decided = () if isinstance(step.decision, Refused) else step.decision
    return tuple(event for event in decided if isinstance(event, kind))


def codes(decision: Decision) -> set[RefusalCode]:
    """List the codes of a refusal, none of a decision."""
    return {refusal.code for refusal in decision.refusals} if isinstance(decision, Refused) else set()


def test_everything_wrong_is_named_at_once() -> None:
    """A caller with three wrong inputs learns of three."""
    command = replace(CREATION, name="", scopes=("x",), expires_at=START)
    decision = decide(command, None, now=START)
    assert isinstance(decision, Refused)
    assert [r.field for r in decision.refusals] == [("input", "name"), ("input", "scopes"), ("input", "expiresAt")]


def test_a_history_that_contradicts_itself_is_refused() -> None:
    """A token cannot be created twice, nor change before it was created."""
    created = decide(CREATION, None, now=START)
    state = fold(None, created, START)
    with pytest.raises(ValueError, match="tok_1 is created twice"):
        fold(state, created, START)
    with pytest.raises(ValueError, match="tok_1 was never created"):
        fold(None, (TokenRevoked(token_id="tok_1", reason=None),), START)


def test_each_kind_has_a_policy() -> None:
    """The table leaves no kind out, and an API token's stream is its own."""
    assert POLICIES.keys() == set(TokenKind)
    assert stream_of_api_token("tok_1") == "token-tok_1"
    assert len({policy.category for policy in POLICIES.values()}) == len(POLICIES)


def test_instants_are_bounds() -> None:
    """A token works before its expiry and not at it; an old secret before the end of its overlap and not at it."""
    state = fold(None, decide(replace(CREATION, expires_at=START + timedelta(1)), None, now=START), START)
    assert isinstance(state, TokenState)
    state = state._replace(overlap_ends_at=START + timedelta(1))
    last = START + timedelta(1) - timedelta(microseconds=1)
    assert (state.is_active(last), state.has_overlap(last)) == (True, True)
    assert (state.is_active(START + timedelta(1)), state.has_overlap(START + timedelta(1))) == (False, False)


def test_a_creation_keeps_all_that_was_given() -> None:
    """The state after a creation is what was asked for, by whom and when."""
    decision = decide(CREATION, None, now=START)
    assert not isinstance(decision, Refused)
    (event,) = decision
    assert isinstance(event, TokenCreated)
    assert fold(None, decision, START) == TokenState(
        id="tok_1",
        organization="org_1",
        kind=CREATION.kind,
        name=CREATION.name,
        hint=CREATION.hint,
        scopes=CREATION.scopes,
        application_id=None,
        created_at=START,
        created_by=ACTOR,
        expires_at=None,
    )
