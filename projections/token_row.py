"""How the rows of `tokens` follow from the log. Must never hold what a clock decides: a row is a fact."""

from typing import Final, assert_never, get_args

import asyncpg

from events.applications import ApplicationEvent
from events.envelope import Actor, ActorKind
from events.members import MemberEvent
from events.organizations import OrganizationEvent
from events.registry import Event
from events.statement import load
from events.token_kinds import TokenKind
from events.tokens import TokenEvent, TokenState, evolve
from events.usage import UsageEvent
from projections.projection import Foldable, Projection


def key_of(event: Event) -> str | None:
    """Name the token that an event changes."""
    if isinstance(event, TokenEvent):
        return event.token_id
    if isinstance(event, UsageEvent | ApplicationEvent | OrganizationEvent | MemberEvent):
        return None
    assert_never(event)


def evolve_row(state: TokenState | None, recorded: Foldable) -> TokenState:
    """Fold one event into a token's row, exactly as decisions fold it."""
    event = recorded.event
    if not isinstance(event, TokenEvent):
        raise TypeError(f"{type(event).__name__} changes no token")
    return evolve(state, event, organization=recorded.organization, actor=recorded.actor, at=recorded.occurred_at)


def row_of(state: TokenState) -> tuple[object, ...]:
    """Lay a token out as a row."""
    return (
        state.id,
        state.organization,
        state.kind,
        state.name,
        state.hint,
        state.scopes,
        state.application_id,
        state.created_at,
        state.created_by.kind,
        state.created_by.id,
        state.expires_at,
        state.generation,
        state.rotated_at,
        state.previous_hint,
        state.overlap_ends_at,
        state.new_secret_used_at,
        state.revoked_at,
        state.revoked_reason,
        state.designation,
    )


def state_of(row: asyncpg.Record) -> TokenState:
    """Read a token back from its row."""
    return TokenState(
        id=row["id"],
        organization=row["organization"],
        kind=TokenKind(row["kind"]),
        name=row["name"],
        hint=row["hint"],
        scopes=tuple(row["scopes"]),
        application_id=row["application_id"],
        created_at=row["created_at"],
        created_by=Actor(kind=ActorKind(row["created_by_kind"]), id=row["created_by_id"]),
        expires_at=row["expires_at"],
        generation=row["generation"],
        rotated_at=row["rotated_at"],
        previous_hint=row["previous_hint"],
        overlap_ends_at=row["overlap_ends_at"],
        new_secret_used_at=row["new_secret_used_at"],
        revoked_at=row["revoked_at"],
        revoked_reason=row["revoked_reason"],
        designation=row["designation"],
    )


TOKENS: Final = Projection(
    name="tokens",
    table="tokens_v2",
    columns=(
        "id",
        "organization",
        "kind",
        "name",
        "hint",
        "scopes",
        "application_id",
        "created_at",
        "created_by_kind",
        "created_by_id",
        "expires_at",
        "generation",
        "rotated_at",
        "previous_hint",
        "overlap_ends_at",
        "new_secret_used_at",
        "revoked_at",
        "revoked_reason",
        "designation",
    ),
    is_inline=True,
    types=frozenset(get_args(TokenEvent)),
    key=key_of,
    evolve=evolve_row,
    row=row_of,
    state=state_of,
    find=load("projections.statements.tokens", "find_token_rows"),
    write=load("projections.statements.tokens", "write_tokens"),
)


def row_json(state: TokenState) -> dict[str, object]:
    """Make the companion row that an append takes along with a token's events."""
    return TOKENS.row_json(state)
