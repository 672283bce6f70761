"""Tokens: events, commands, refusals, state, and the pure functions that decide. Must never do I/O or read a clock.

A token is any credential we issue; its kind fixes its policy. An `API_TOKEN` has a stream of its own; the
`API_SECRET`s of an organization share one and a `CLIENT_SECRET` lives on its application's, because they are decided
together. All three are the same aggregate with the same life cycle, folded per token.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple, assert_never

from events.envelope import Actor
from events.names import LONGEST_REASON, name_problems, text_problems
from events.refusals import Refusal, RefusalCode, Refused, invalid
from events.scopes import LONGEST_SCOPES, MOST_SCOPES, problem_with
from events.token_kinds import POLICIES, TokenKind

LONGEST_OVERLAP: Final = timedelta(days=30)


# Events


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCreated:
    """A token was issued, with its first secret (generation 0)."""

    token_id: str
    kind: TokenKind
    name: str
    hint: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    application_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUpdated:
    """A token's name, scopes or expiry changed; all three as they are now."""

    token_id: str
    name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRotated:
    """A token got a new secret; the one before works until `overlap_ends_at`, or no longer when that is None."""

    token_id: str
    generation: int
    hint: str
    previous_hint: str
    overlap_ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRotationCompleted:
    """The new secret was used for the first time. Ends nothing."""

    token_id: str
    generation: int
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOverlapEnded:
    """The secret before the last rotation stopped working ahead of its time."""

    token_id: str
    previous_hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRevoked:
    """A token stopped working for ever."""

    token_id: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRevealed:
    """A token's secret, which was kept, was shown again."""

    token_id: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSignerDesignated:
    """A token was chosen to sign the organization's webhooks, in place of the one before, if there was one."""

    token_id: str
    previous_token_id: str | None
    designation: int
    """How often one was chosen in the organization, this time included: the last one chosen signs."""


TokenEvent = (
    TokenCreated
    | TokenUpdated
    | TokenRotated
    | TokenRotationCompleted
    | TokenOverlapEnded
    | TokenRevoked
    | TokenRevealed
    | WebhookSignerDesignated
)


# Commands


class Unchanged(Enum):
    """The mark of an input that was not given."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateToken:
    """Issue a token."""

    token_id: str
    kind: TokenKind
    name: str
    hint: str
    scopes: tuple[str, ...]
    expires_at: datetime | None = None
    application_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateToken:
    """Change a token's name, scopes or expiry; what is not given stays."""

    token_id: str
    name: str | Unchanged = UNCHANGED
    scopes: tuple[str, ...] | Unchanged = UNCHANGED
    expires_at: datetime | Unchanged | None = UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateToken:
    """Give a token a new secret and let the old one work for `overlap_s` seconds more."""

    token_id: str
    hint: str
    overlap_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteRotation:
    """Say that the secret of a generation was used for the first time."""

    token_id: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRotationOverlap:
    """Stop the old secret now."""

    token_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeToken:
    """Stop a token for ever."""

    token_id: str
    reason: str | None = None
    confirmation: str | None = None
    is_forced: bool = False
    """By the operator, without the confirmation that the token's kind asks for, and though it signs."""


TokenCommand = CreateToken | UpdateToken | RotateToken | CompleteRotation | EndRotationOverlap | RevokeToken


# State


class TokenState(NamedTuple):
    """All that is decided about one token. A tuple: a rebuild makes one for every event."""

    id: str
    organization: str
    kind: TokenKind
    name: str
    hint: str
    scopes: tuple[str, ...]
    application_id: str | None
    created_at: datetime
    created_by: Actor
    expires_at: datetime | None
    generation: int = 0
    """How often it was rotated; the secret of this generation is the current one."""
    rotated_at: datetime | None = None
    previous_hint: str | None = None
    overlap_ends_at: datetime | None = None
    new_secret_used_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_reason: str | None = None
    designation: int | None = None
    """The last time that it was chosen to sign webhooks, counted in its organization."""

    def is_active(self, now: datetime) -> bool:
        """Say whether the token works at an instant."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def has_overlap(self, now: datetime) -> bool:
        """Say whether an old secret still works at an instant."""
        return self.overlap_ends_at is not None and now < self.overlap_ends_at


def evolve(  # noqa: C901, PLR0911 -- a case for each event
    state: TokenState | None, event: TokenEvent, *, organization: str, actor: Actor, at: datetime
) -> TokenState:
    """Fold one event into a token's state. Raises ValueError where the log contradicts itself."""
    match event:
        case TokenCreated():
            if state is not None:
                raise ValueError(f"{event.token_id} is created twice")
            # In the order of its fields: naming them takes twice as long, and a rebuild does it for every token.
            return TokenState(
                event.token_id,
                organization,
                event.kind,
                event.name,
                event.hint,
                event.scopes,
                event.application_id,
                at,
                actor,
                event.expires_at,
            )
        case _ if state is None:
            raise ValueError(f"{event.token_id} was never created")
        case TokenUpdated():
            return state._replace(name=event.name, scopes=event.scopes, expires_at=event.expires_at)
        case TokenRotated():
            return state._replace(
                generation=event.generation,
                hint=event.hint,
                rotated_at=at,
                previous_hint=event.previous_hint,
                overlap_ends_at=event.overlap_ends_at,
                new_secret_used_at=None,
            )
        case TokenRotationCompleted():
            return state._replace(new_secret_used_at=at)
        case TokenOverlapEnded():
            return state._replace(overlap_ends_at=None)
        case TokenRevoked():
            return state._replace(revoked_at=at, revoked_reason=event.reason, overlap_ends_at=None)
        case TokenRevealed():
            return state
        case WebhookSignerDesignated():
            return state._replace(designation=event.designation)
        case _:
            assert_never(event)


# Decisions

Decision = tuple[TokenEvent, ...] | Refused


def decide(command: TokenCommand, state: TokenState | None, *, now: datetime) -> Decision:  # noqa: PLR0911 -- a match
    """Answer a command with the events it yields (none: it is so already) or with why it is refused."""
    if isinstance(command, CreateToken):
        return decide_create(command, state, now=now)
    if state is None:
        return not_found()
    match command:
        case UpdateToken():
            return decide_update(command, state, now=now)
        case RotateToken():
            return decide_rotate(command, state, now=now)
        case CompleteRotation():
            return decide_completion(command, state, now=now)
        case EndRotationOverlap():
            return decide_overlap_end(command, state, now=now)
        case RevokeToken():
            return decide_revoke(command, state)
        case _:
            assert_never(command)


def decide_create(command: CreateToken, state: TokenState | None, *, now: datetime) -> Decision:
    """Issue a token when its name, scopes and expiry are acceptable."""
    if state is not None:
        return Refused((Refusal(code=RefusalCode.TAKEN, message="this token exists already"),))
    refusals = (
        *name_problems("name", command.name),
        *scope_problems(command.scopes),
        *expiry_problems(command.kind, command.expires_at, now=now),
    )
    if refusals:
        return Refused(refusals)
    created = TokenCreated(
        token_id=command.token_id,
        kind=command.kind,
        name=command.name,
        hint=command.hint,
        scopes=command.scopes,
        expires_at=command.expires_at,
        application_id=command.application_id,
    )
    return (created,)


def decide_update(command: UpdateToken, state: TokenState, *, now: datetime) -> Decision:
    """Change what was given; nothing is appended when nothing would change."""
    if not state.is_active(now):
        return not_active(state)
    name = state.name if command.name is UNCHANGED else command.name
    scopes = state.scopes if command.scopes is UNCHANGED else command.scopes
    expires_at = state.expires_at if command.expires_at is UNCHANGED else command.expires_at
    refusals = (
        *name_problems("name", name),
        *scope_problems(scopes),
        *expiry_problems(state.kind, expires_at, now=now),
    )
    if refusals:
        return Refused(refusals)
    if (name, scopes, expires_at) == (state.name, state.scopes, state.expires_at):
        return ()
    return (TokenUpdated(token_id=state.id, name=name, scopes=scopes, expires_at=expires_at),)


def decide_rotate(command: RotateToken, state: TokenState, *, now: datetime) -> Decision:
    """Replace the secret; rotating again during an overlap ends the oldest secret at once."""
    if not state.is_active(now):
        return not_active(state)
    overlap = timedelta(seconds=min(max(command.overlap_s, -1), 2**31))
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        longest = int(LONGEST_OVERLAP.total_seconds())
        return Refused((invalid("overlapSeconds", f"must be between 0 and {longest} (30 days)"),))
    rotated = TokenRotated(
        token_id=state.id,
        generation=state.generation + 1,
        hint=command.hint,
        previous_hint=state.hint,
        overlap_ends_at=now + overlap if overlap else None,
    )
    return (rotated,)


def decide_completion(command: CompleteRotation, state: TokenState, *, now: datetime) -> Decision:
    """Note the first use of the newest secret, once, unless the token has moved on since."""
    if not state.is_active(now):
        return not_active(state)
    if command.generation != state.generation or state.generation == 0:
        return Refused((Refusal(code=RefusalCode.CONFLICT, message="the token was rotated again"),))
    if state.new_secret_used_at is not None:
        return ()
    return (TokenRotationCompleted(token_id=state.id, generation=state.generation, hint=state.hint),)


def decide_overlap_end(command: EndRotationOverlap, state: TokenState, *, now: datetime) -> Decision:
    """Stop the old secret; nothing is appended when it has stopped already."""
    del command
    if state.previous_hint is None:
        return Refused((invalid("id", "this token was never rotated, so no old secret overlaps"),))
    if not state.is_active(now) or not state.has_overlap(now):
        return ()
    return (TokenOverlapEnded(token_id=state.id, previous_hint=state.previous_hint),)


def decide_revoke(command: RevokeToken, state: TokenState) -> Decision:
    """Stop the token for ever; a second revocation succeeds and appends nothing."""
    if command.reason is not None and (problems := text_problems("reason", command.reason, LONGEST_REASON)):
        return Refused(problems)
    if state.revoked_at is not None:
        return ()
    if not POLICIES[state.kind].revoked_alone:
        return Refused((invalid("id", "this is an application's secret: delete the application, or rotate it"),))
    needs_name = POLICIES[state.kind].confirmed_by_name and not command.is_forced
    if needs_name and command.confirmation != state.name:
        message = "type the token's name to confirm its revocation"
        refusal = Refusal(code=RefusalCode.CONFIRMATION_MISMATCH, message=message, field=("input", "confirmation"))
        return Refused((refusal,))
    return (TokenRevoked(token_id=state.id, reason=command.reason),)


def not_found() -> Refused:
    """Refuse because there is no such token, or none that may be seen."""
    return Refused((Refusal(code=RefusalCode.NOT_FOUND, message="there is no such token", field=("input", "id")),))


def not_active(state: TokenState) -> Refused:
    """Refuse because the token is revoked or expired."""
    how = "revoked" if state.revoked_at is not None else "expired"
    message = f"this token is {how}: create a new one"
    return Refused((Refusal(code=RefusalCode.TOKEN_NOT_ACTIVE, message=message, field=("input", "id")),))


def scope_problems(scopes: tuple[str, ...]) -> tuple[Refusal, ...]:
    """List what is wrong with a token's scopes."""
    if len(scopes) > MOST_SCOPES:
        return (invalid("scopes", f"holds {len(scopes)} scopes: at most {MOST_SCOPES} are allowed"),)
    if len(set(scopes)) != len(scopes):
        return (invalid("scopes", "names a scope twice"),)
    for index, scope in enumerate(scopes):
        if problem := problem_with(scope):
            return (invalid("scopes", f"entry {index + 1} is not a scope: {problem}"),)
    if len(" ".join(scopes).encode()) > LONGEST_SCOPES:
        return (invalid("scopes", f"take more than {LONGEST_SCOPES} bytes together"),)
    return ()


def expiry_problems(kind: TokenKind, expires_at: datetime | None, *, now: datetime) -> tuple[Refusal, ...]:
    """List what is wrong with an expiry."""
    if expires_at is None:
        return ()
    if not POLICIES[kind].may_expire:
        return (invalid("expiresAt", f"a token of kind {kind} does not expire"),)
    if expires_at <= now:
        return (invalid("expiresAt", "is not in the future"),)
    return ()
