"""What holds for every projection without a database."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from events.applications import (
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationUpdated,
    Environment,
    SecretPolicy,
)
from events.members import (
    MemberAdded,
    MemberRemoved,
    MemberRole,
    MemberRoleChanged,
    PasswordChanged,
    SignedIn,
    SignedOut,
    SignInFailed,
)
from events.organizations import OrganizationCreated
from events.registry import TYPES, Event, subject_of
from events.token_kinds import TokenKind
from events.tokens import (
    TokenCreated,
    TokenOverlapEnded,
    TokenRevealed,
    TokenRevoked,
    TokenRotated,
    TokenRotationCompleted,
    TokenUpdated,
    WebhookSignerDesignated,
)
from events.usage import GapCause, TokenUsed, UsageGap
from projections.projection import AnyProjection
from projections.read_models import READ_MODELS

AT = datetime(2026, 1, 1, tzinfo=UTC)
ONE_OF_EACH: tuple[Event, ...] = (
    OrganizationCreated(organization_id="org_1", name="o"),
    TokenCreated(
        token_id="tok_1",
        kind=TokenKind.API_TOKEN,
        name="n",
        hint="h",
        scopes=(),
        expires_at=None,
        application_id=None,
    ),
    TokenUpdated(token_id="tok_1", name="n", scopes=(), expires_at=None),
    TokenRotated(token_id="tok_1", generation=1, hint="h", previous_hint="p", overlap_ends_at=None),
    TokenRotationCompleted(token_id="tok_1", generation=1, hint="h"),
    TokenOverlapEnded(token_id="tok_1", previous_hint="p"),
    TokenRevoked(token_id="tok_1", reason=None),
    TokenUsed(token_id="tok_1", generation=0, hint="h", count=1, first_used_at=AT, last_used_at=AT, ip_addresses=()),
    TokenRevealed(token_id="tok_1", reason=None),
    WebhookSignerDesignated(token_id="tok_1", previous_token_id=None, designation=1),
    ApplicationCreated(
        application_id="app_1", name="a", environment=Environment.SANDBOX, secret_policy=SecretPolicy.SHOW_ONCE
    ),
    ApplicationUpdated(application_id="app_1", name="a", secret_policy=SecretPolicy.SHOW_ONCE),
    ApplicationDeleted(application_id="app_1"),
    MemberAdded(member_id="mem_1", role=MemberRole.OWNER),
    MemberRoleChanged(member_id="mem_1", role=MemberRole.ADMIN, previous_role=MemberRole.OWNER),
    MemberRemoved(member_id="mem_1"),
    PasswordChanged(member_id="mem_1"),
    SignedIn(member_id="mem_1"),
    SignInFailed(member_id="mem_1", count=1, first_at=AT, last_at=AT, ip_addresses=()),
    SignedOut(member_id="mem_1", everywhere=False),
    UsageGap(organization_id="org_1", cause=GapCause.CRASH, began_at=AT, ended_at=AT),
)


@pytest.mark.parametrize("projection", READ_MODELS.values(), ids=READ_MODELS.keys())
def test_a_projection_that_folds_usage_keeps_what_it_led_to(projection: AnyProjection) -> None:
    """Usage may be archived: without what was kept of it a rebuild would forget it."""
    folds_usage = any(TYPES[cls.__name__].is_usage for cls in projection.types)
    assert folds_usage == (projection.kept is not None)


def test_there_is_one_of_each() -> None:
    """The examples below leave no event type out."""
    assert {type(event) for event in ONE_OF_EACH} == set(get_args(Event))
    assert len(ONE_OF_EACH) == len(TYPES)


@pytest.mark.parametrize("projection", READ_MODELS.values(), ids=READ_MODELS.keys())
def test_a_projection_cares_for_the_types_it_names(projection: AnyProjection) -> None:
    """An event has a key exactly when its type is named, and the key is its subject: a rebuild relies on both."""
    for event in ONE_OF_EACH:
        assert projection.key(event) == (subject_of(event) if type(event) in projection.types else None)
        assert (type(event).__name__ in projection.ignored) == (type(event) not in projection.types)
