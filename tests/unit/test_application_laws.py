"""Applications: what holds of one and its client secret whatever was commanded before."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.applications import (
    NONE,
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationEvent,
    ApplicationStream,
    ApplicationUpdated,
    Command,
    CreateApplication,
    Decision,
    DeleteApplication,
    Environment,
    RevealSecret,
    SecretPolicy,
    UpdateApplication,
    decide,
    evolve,
    stream_of_application,
)
from events.envelope import Actor, ActorKind
from events.refusals import RefusalCode, Refused
from events.token_kinds import TokenKind
from events.tokens import (
    UNCHANGED,
    CompleteRotation,
    EndRotationOverlap,
    RevokeToken,
    RotateToken,
    TokenCreated,
    TokenEvent,
    TokenRevealed,
    TokenRevoked,
    TokenRotated,
    UpdateToken,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
ACTOR = Actor(kind=ActorKind.MEMBER, id="mem_1")
CANARY = "canary"
EXAMPLES = 25
APP, TOK = "app_1", "tok_1"

NAMES = st.sampled_from([*[f"{CANARY} a", f"{CANARY} b"] * 3, "", CANARY * 17, f"{CANARY}\x07"])
POLICIES = st.sampled_from(SecretPolicy)
CREATIONS = st.builds(
    CreateApplication,
    application_id=st.just(APP),
    name=NAMES,
    environment=st.sampled_from(Environment),
    secret_policy=POLICIES,
    token_id=st.just(TOK),
    hint=st.just("entri_1"),
    scopes=st.sampled_from([("a:b",), ("*:*",), (f"tokens:{CANARY}",)]),
)
ROTATIONS = st.builds(RotateToken, token_id=st.just(TOK), hint=st.just("entri_2"), overlap_s=st.sampled_from([0, 300]))
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        UpdateApplication,
        application_id=st.just(APP),
        name=st.just(UNCHANGED) | NAMES,
        secret_policy=st.just(UNCHANGED) | POLICIES,
    ),
    st.builds(UpdateApplication, application_id=st.just(APP), name=st.just(UNCHANGED), secret_policy=POLICIES),
    ROTATIONS,
    ROTATIONS,
    st.builds(RevealSecret, token_id=st.sampled_from([TOK, TOK, TOK, "tok_2"]), reason=st.none() | NAMES),
    st.builds(UpdateToken, token_id=st.just(TOK), name=NAMES),
    st.builds(EndRotationOverlap, token_id=st.just(TOK)),
    st.builds(CompleteRotation, token_id=st.just(TOK), generation=st.integers(0, 2)),
    st.builds(RevokeToken, token_id=st.just(TOK), is_forced=st.sampled_from([False] * 5 + [True])),
    st.builds(DeleteApplication, application_id=st.just(APP), confirmation=NAMES),
    CREATIONS,
)
SEQUENCES = st.tuples(CREATIONS, st.lists(st.tuples(COMMANDS, st.integers(0, 10)), min_size=4, max_size=20)).map(
    lambda drawn: [(drawn[0], 0), *drawn[1]]
)


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a sequence: what it met and what came of it."""

    command: Command
    now: datetime
    before: ApplicationStream
    decision: Decision
    after: ApplicationStream

    @property
    def decided(self) -> tuple[ApplicationEvent | TokenEvent, ...]:
        """List the events, none where it was refused."""
        return () if isinstance(self.decision, Refused) else self.decision


def folded(state: ApplicationStream, decision: Decision, now: datetime) -> ApplicationStream:
    """Fold what was decided, nothing when it was refused."""
    for event in () if isinstance(decision, Refused) else decision:
        state = evolve(state, event, organization="org_1", actor=ACTOR, at=now)
    return state


def steps(sequence: list[tuple[Command, int]]) -> Iterator[Step]:
    """Carry a sequence of commands out, some minutes between them."""
    state, now = NONE, START
    for command, minutes in sequence:
        now += timedelta(minutes=minutes)
        decision = decide(command, state, now=now)
        after = folded(state, decision, now)
        yield Step(command, now, state, decision, after)
        state = after


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_decisions_fold_and_repeat(sequence: list[tuple[Command, int]]) -> None:
    """No decision yields what `evolve` rejects, and the same question gets the same answer."""
    for step in steps(sequence):
        assert decide(step.command, step.before, now=step.now) == step.decision
        assert folded(step.before, step.decision, step.now) == step.after


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_a_refusal_says_why_and_quotes_nothing(sequence: list[tuple[Command, int]]) -> None:
    """Nothing that a caller sent comes back in a refusal."""
    for step in steps(sequence):
        if isinstance(step.decision, Refused):
            assert all(refusal.message for refusal in step.decision.refusals)
            assert CANARY not in repr(step.decision).lower()


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_an_application_comes_with_its_one_secret(sequence: list[tuple[Command, int]]) -> None:
    """Both are made together, once; the secret bears the application's id and never expires."""
    made = [event for step in steps(sequence) for event in step.decided if isinstance(event, ApplicationCreated)]
    issued = [event for step in steps(sequence) for event in step.decided if isinstance(event, TokenCreated)]
    assert len(made) == len(issued) <= 1
    for event in issued:
        assert (event.kind, event.application_id, event.expires_at) == (TokenKind.CLIENT_SECRET, APP, None)


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_a_deletion_ends_the_secret(sequence: list[tuple[Command, int]]) -> None:
    """With the typed name only; from then on the secret is revoked and nothing more happens to either."""
    for step in steps(sequence):
        application, secret = step.after.application, step.after.secret
        if application is not None and application.deleted_at is not None:
            assert secret is not None
            assert secret.revoked_at is not None
            assert not step.after.is_sealed
        if step.before.application is not None and step.before.application.deleted_at is not None:
            assert step.after == step.before
        if any(isinstance(event, ApplicationDeleted) for event in step.decided):
            assert isinstance(step.command, DeleteApplication)
            assert step.before.application is not None
            assert step.command.confirmation == step.before.application.name


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_the_secret_ends_with_its_application_alone(sequence: list[tuple[Command, int]]) -> None:
    """No revocation of it alone is carried out, the operator's neither."""
    for step in steps(sequence):
        if any(isinstance(event, TokenRevoked) for event in step.decided):
            assert isinstance(step.command, DeleteApplication)


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_a_secret_is_kept_only_while_the_policy_says_so(sequence: list[tuple[Command, int]]) -> None:
    """It is kept from an issue under RECOVERABLE until SHOW_ONCE, and is kept again from the next rotation only."""
    is_kept = False
    for step in steps(sequence):
        for event in step.decided:
            if isinstance(event, TokenCreated | TokenRotated):
                assert step.after.application is not None
                is_kept = step.after.application.secret_policy is SecretPolicy.RECOVERABLE
            elif isinstance(event, TokenRevoked) or (
                isinstance(event, ApplicationUpdated) and event.secret_policy is SecretPolicy.SHOW_ONCE
            ):
                is_kept = False
        assert step.after.is_sealed == is_kept


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_only_what_is_kept_is_revealed(sequence: list[tuple[Command, int]]) -> None:
    """A revelation is an event each time, and refused with its own code where nothing is kept."""
    for step in steps(sequence):
        if not isinstance(step.command, RevealSecret):
            continue
        if step.decided:
            assert step.before.is_sealed
            assert step.decided == (TokenRevealed(token_id=TOK, reason=step.command.reason),)
            assert step.after == step.before
        elif RefusalCode.NOT_RECOVERABLE in codes(step.decision):
            assert not step.before.is_sealed


def codes(decision: Decision) -> set[RefusalCode]:
    """List the codes of a refusal, none of a decision."""
    return {refusal.code for refusal in decision.refusals} if isinstance(decision, Refused) else set()


def test_a_history_that_contradicts_itself_is_refused() -> None:
    """An application cannot be created twice, nor change before it was created; its stream is its own."""
    created = ApplicationCreated(
        application_id=APP, name="x", environment=Environment.STAGING, secret_policy=SecretPolicy.SHOW_ONCE
    )
    once = evolve(NONE, created, organization="org_1", actor=ACTOR, at=START)
    with pytest.raises(ValueError, match="app_1 is created twice"):
        evolve(once, created, organization="org_1", actor=ACTOR, at=START)
    with pytest.raises(ValueError, match="app_1 was never created"):
        evolve(NONE, ApplicationDeleted(application_id=APP), organization="org_1", actor=ACTOR, at=START)
    assert stream_of_application(APP) == "application-app_1"
