"""API secrets: what holds of an organization's whatever was commanded before."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.api_secrets import (
    MOST_LIVE,
    NONE,
    ApiSecrets,
    Command,
    DesignateWebhookSigner,
    decide,
    evolve,
    fold,
    stream_of_api_secrets,
)
from events.envelope import Actor, ActorKind
from events.refusals import RefusalCode, Refused
from events.token_kinds import TokenKind
from events.tokens import (
    CompleteRotation,
    CreateToken,
    Decision,
    EndRotationOverlap,
    RevokeToken,
    RotateToken,
    TokenEvent,
    TokenRevoked,
    UpdateToken,
    WebhookSignerDesignated,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
ACTOR = Actor(kind=ActorKind.MEMBER, id="mem_1")
EXAMPLES = 25
NAME = "a secret"
IDS = st.integers(1, 6).map(lambda number: f"tok_{number}")

Fact = tuple[TokenEvent, str, Actor, datetime]


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a sequence: what it met and what came of it."""

    command: Command
    now: datetime
    before: ApiSecrets
    decision: Decision
    after: ApiSecrets


def creation(token_id: str) -> CreateToken:
    """Ask for a secret."""
    return CreateToken(token_id=token_id, kind=TokenKind.API_SECRET, name=NAME, hint="entri_1", scopes=("a:b",))


CREATIONS = IDS.map(creation)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    CREATIONS,
    CREATIONS,
    CREATIONS | st.builds(creation, IDS).map(lambda command: replace(command, expires_at=START + timedelta(days=1))),
    st.builds(DesignateWebhookSigner, token_id=IDS),
    st.builds(RotateToken, token_id=IDS, hint=st.just("entri_2"), overlap_s=st.sampled_from([0, 300])),
    st.builds(UpdateToken, token_id=IDS, scopes=st.sampled_from([("a:b",), ("c:d",), ("tokens:x",)])),
    st.builds(EndRotationOverlap, token_id=IDS),
    st.builds(CompleteRotation, token_id=IDS, generation=st.integers(0, 2)),
    st.builds(
        RevokeToken,
        token_id=IDS,
        confirmation=st.sampled_from([NAME, NAME, "another", None]),
        is_forced=st.sampled_from([False] * 5 + [True]),
    ),
)
SEQUENCES = st.lists(st.tuples(COMMANDS, st.integers(0, 10)), min_size=4, max_size=30)


def facts(decision: Decision, now: datetime) -> list[Fact]:
    """Write what was decided as it would be recorded."""
    return [] if isinstance(decision, Refused) else [(event, "org_1", ACTOR, now) for event in decision]


def steps(sequence: list[tuple[Command, int]]) -> Iterator[Step]:
    """Carry a sequence of commands out, some minutes between them."""
    state, now = NONE, START
    for command, minutes in sequence:
        now += timedelta(minutes=minutes)
        decision = decide(command, state, now=now)
        after = state
        for event, organization, actor, at in facts(decision, now):
            after = evolve(after, event, organization=organization, actor=actor, at=at)
        yield Step(command, now, state, decision, after)
        state = after


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_decisions_fold_and_repeat(sequence: list[tuple[Command, int]]) -> None:
    """No decision yields what `evolve` rejects, the same question gets the same answer, and both ways to fold agree."""
    recorded: list[Fact] = []
    for step in steps(sequence):
        assert decide(step.command, step.before, now=step.now) == step.decision
        recorded += facts(step.decision, step.now)
        assert fold(recorded) == step.after


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_never_more_than_three_live(sequence: list[tuple[Command, int]]) -> None:
    """A fourth is refused for the limit, whatever was revoked and rotated before; none ever expires."""
    for step in steps(sequence):
        assert step.after.live(step.now) <= MOST_LIVE == 3
        assert all(token.expires_at is None for token in step.after.tokens.values())
        if isinstance(step.command, CreateToken) and codes(step.decision) == {RefusalCode.LIMIT_REACHED}:
            assert step.before.live(step.now) == MOST_LIVE


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_a_live_one_signs_whenever_one_lives(sequence: list[tuple[Command, int]]) -> None:
    """As long as nothing was forced: the first signs by itself, and the one that signs is not revoked."""
    for step in steps(sequence):
        if isinstance(step.command, RevokeToken) and step.command.is_forced:
            return
        if step.after.live(step.now):
            assert step.after.signer is not None
            assert step.after.tokens[step.after.signer].is_active(step.now)
        if isinstance(step.command, RevokeToken) and step.command.token_id == step.before.signer:
            assert codes(step.decision) == {RefusalCode.SIGNS_WEBHOOKS}


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_the_last_one_chosen_signs(sequence: list[tuple[Command, int]]) -> None:
    """The signer is the one with the highest designation unless that one was revoked: what a read model can tell."""
    for step in steps(sequence):
        chosen = [token for token in step.after.tokens.values() if token.designation is not None]
        last = max(chosen, key=lambda token: token.designation or 0, default=None)
        assert step.after.signer == (None if last is None or last.revoked_at is not None else last.id)
        assert step.after.designations == (0 if last is None else last.designation)


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_a_choice_says_who_signed_before(sequence: list[tuple[Command, int]]) -> None:
    """Each choice names the one before and counts one up; choosing the one that signs appends nothing."""
    for step in steps(sequence):
        for event in () if isinstance(step.decision, Refused) else step.decision:
            if isinstance(event, WebhookSignerDesignated):
                assert event.previous_token_id == step.before.signer != event.token_id
                assert event.designation == step.before.designations + 1


@settings(max_examples=EXAMPLES)
@given(SEQUENCES)
def test_what_was_revoked_does_nothing_more(sequence: list[tuple[Command, int]]) -> None:
    """A revoked one is neither chosen nor changed; the revocation took the typed name, or the operator's force."""
    for step in steps(sequence):
        before = step.before.tokens.get(step.command.token_id)
        if before is not None and before.revoked_at is not None:
            assert step.after == step.before
        for event in () if isinstance(step.decision, Refused) else step.decision:
            if isinstance(event, TokenRevoked):
                assert isinstance(step.command, RevokeToken)
                assert step.command.is_forced or step.command.confirmation == NAME


def codes(decision: Decision) -> set[RefusalCode]:
    """List the codes of a refusal, none of a decision."""
    return {refusal.code for refusal in decision.refusals} if isinstance(decision, Refused) else set()


def test_a_history_that_contradicts_itself_is_refused() -> None:
    """What was never created cannot be revoked, in either way to fold; a stream is the organization's."""
    revoked = TokenRevoked(token_id="tok_1", reason=None)
    with pytest.raises(ValueError, match="tok_1 was never created"):
        fold([(revoked, "org_1", ACTOR, START)])
    with pytest.raises(ValueError, match="tok_1 was never created"):
        evolve(NONE, revoked, organization="org_1", actor=ACTOR, at=START)
    assert stream_of_api_secrets("org_1") == "api_secrets-org_1"


def test_a_force_leaves_nobody_to_sign_until_one_is_chosen() -> None:
    """After the operator has revoked the signer the next one issued signs by itself."""
    sequence: list[tuple[Command, int]] = [
        (creation("tok_1"), 0),
        (creation("tok_2"), 0),
        (RevokeToken(token_id="tok_1", is_forced=True), 0),
        (creation("tok_3"), 0),
    ]
    assert [step.after.signer for step in steps(sequence)] == ["tok_1", "tok_1", None, "tok_3"]
