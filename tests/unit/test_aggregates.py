"""What commands are decided on: each sort of stream takes its own events, and keeps what its tokens need."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from events.api_secrets import DesignateWebhookSigner
from events.applications import (
    ApplicationCreated,
    CreateApplication,
    DeleteApplication,
    Environment,
    RevealSecret,
    SecretPolicy,
    UpdateApplication,
)
from events.envelope import Actor, ActorKind
from events.refusals import RefusalCode, Refused
from events.token_kinds import TokenKind
from events.tokens import CreateToken, EndRotationOverlap, RevokeToken, RotateToken
from service.aggregates import Aggregate, Application, Command, LoneToken, Secrets, application_of, token_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACTOR = Actor(kind=ActorKind.MEMBER, id="mem_1")
CREATED = ApplicationCreated(
    application_id="app_1", name="x", environment=Environment.STAGING, secret_policy=SecretPolicy.SHOW_ONCE
)
TOKEN = CreateToken(token_id="tok_1", kind=TokenKind.API_TOKEN, name="x", hint="entri_0", scopes=())
APPLICATION = CreateApplication(
    application_id="app_1",
    name="x",
    environment=Environment.STAGING,
    secret_policy=SecretPolicy.RECOVERABLE,
    token_id="tok_1",
    hint="entri_0",
    scopes=(),
)
ROTATE = RotateToken(token_id="tok_1", hint="entri_1", overlap_s=60)
RESET = replace(ROTATE, overlap_s=0)
FORCED = RevokeToken(token_id="tok_1", is_forced=True)


def carried(aggregate: Aggregate, *commands: Command) -> Aggregate:
    """Carry commands out that are not refused."""
    for command in commands:
        decision = aggregate.decide(command, now=NOW)
        assert not isinstance(decision, Refused), decision
        for event in decision:
            aggregate = aggregate.evolve(event, organization="org_1", actor=ACTOR, at=NOW)
    return aggregate


@pytest.mark.parametrize("aggregate", [LoneToken(), Secrets()])
def test_an_application_is_on_no_stream_of_tokens(aggregate: Aggregate) -> None:
    """The log contradicts itself there."""
    with pytest.raises(ValueError, match="app_1 is on the stream of"):
        aggregate.evolve(CREATED, organization="org_1", actor=ACTOR, at=NOW)


@pytest.mark.parametrize(
    ("empty", "commands", "kept"),
    [
        (LoneToken(), (TOKEN,), set()),
        (LoneToken(), (TOKEN, ROTATE), set()),
        (Secrets(), (replace(TOKEN, kind=TokenKind.API_SECRET),), {0}),
        (Secrets(), (replace(TOKEN, kind=TokenKind.API_SECRET), ROTATE), {0, 1}),
        (Secrets(), (replace(TOKEN, kind=TokenKind.API_SECRET), ROTATE, ROTATE), {1, 2}),
        (Secrets(), (replace(TOKEN, kind=TokenKind.API_SECRET), ROTATE, RESET), {2}),
        (Secrets(), (replace(TOKEN, kind=TokenKind.API_SECRET), ROTATE, EndRotationOverlap(token_id="tok_1")), {1}),
        (Secrets(), (replace(TOKEN, kind=TokenKind.API_SECRET), ROTATE, FORCED), set()),
        (Application(), (APPLICATION,), {0}),
        (Application(), (APPLICATION, ROTATE), {1}),
        (Application(), (replace(APPLICATION, secret_policy=SecretPolicy.SHOW_ONCE), ROTATE), set()),
        (Application(), (APPLICATION, DeleteApplication(application_id="app_1", confirmation="x")), set()),
    ],
)
def test_what_is_kept(empty: Aggregate, commands: tuple[Command, ...], kept: set[int]) -> None:
    """Of API secrets what has to sign, of client secrets the current one where the policy says so, else nothing."""
    aggregate = carried(empty, *commands)
    assert aggregate.sealed("tok_1") == kept
    assert aggregate.sealed("tok_2") == set()
    assert aggregate.token("tok_2") is None


def test_what_a_kind_cannot_do_is_refused() -> None:
    """Only API secrets sign, only client secrets are shown again, and only an application is changed as one."""
    lone = carried(LoneToken(), TOKEN)
    secrets = carried(Secrets(), replace(TOKEN, kind=TokenKind.API_SECRET))
    application = carried(Application(), APPLICATION)
    designate, reveal = DesignateWebhookSigner(token_id="tok_1"), RevealSecret(token_id="tok_1")
    changes = UpdateApplication(application_id="app_1"), DeleteApplication(application_id="app_1", confirmation="x")
    refused: list[tuple[Aggregate, Command, RefusalCode]] = [
        (lone, designate, RefusalCode.INVALID),
        (application, designate, RefusalCode.INVALID),
        (LoneToken(), designate, RefusalCode.NOT_FOUND),
        (lone, reveal, RefusalCode.NOT_RECOVERABLE),
        (secrets, reveal, RefusalCode.NOT_RECOVERABLE),
        (LoneToken(), reveal, RefusalCode.NOT_FOUND),
        (Secrets(), reveal, RefusalCode.NOT_FOUND),
        *((aggregate, change, RefusalCode.NOT_FOUND) for aggregate in (lone, secrets) for change in changes),
    ]
    for aggregate, command, code in refused:
        decision = aggregate.decide(command, now=NOW + timedelta(1))
        assert isinstance(decision, Refused)
        assert [refusal.code for refusal in decision.refusals] == [code], (aggregate, command)


def test_commands_lead_to_tokens_and_applications() -> None:
    """A command on an application is about its client secret, and one on a client secret about its application."""
    application, lone = carried(Application(), APPLICATION), carried(LoneToken(), TOKEN)
    update = UpdateApplication(application_id="app_1")
    assert (token_of(update, application), application_of(update, application)) == ("tok_1", "app_1")
    assert (token_of(ROTATE, application), application_of(ROTATE, application)) == ("tok_1", "app_1")
    assert (token_of(ROTATE, lone), application_of(ROTATE, lone)) == ("tok_1", None)
    assert (token_of(update, LoneToken()), application_of(update, LoneToken())) == (None, "app_1")
