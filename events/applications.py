"""Applications: a public id in one environment with one client secret. Must never do I/O or read a clock.

The client secret's own events are on the application's stream, so that what depends on both is decided under one
version: whether the secret was kept, and that it ends with its application.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from typing import Final, NamedTuple, assert_never

from events import tokens
from events.envelope import Actor, StreamId
from events.names import LONGEST_REASON, name_problems, text_problems
from events.refusals import Refusal, RefusalCode, Refused
from events.token_kinds import TokenKind, stream_of
from events.tokens import (
    UNCHANGED,
    TokenCreated,
    TokenEvent,
    TokenRevealed,
    TokenRevoked,
    TokenRotated,
    TokenState,
    Unchanged,
)


@unique
class Environment(StrEnum):
    """Where an application runs."""

    DEVELOPMENT = "DEVELOPMENT"
    STAGING = "STAGING"
    PRODUCTION = "PRODUCTION"
    SANDBOX = "SANDBOX"


@unique
class SecretPolicy(StrEnum):
    """Whether an application's secret is kept."""

    SHOW_ONCE = "SHOW_ONCE"
    RECOVERABLE = "RECOVERABLE"


# Events


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationCreated:
    """An application came to be."""

    application_id: str
    name: str
    environment: Environment
    secret_policy: SecretPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationUpdated:
    """An application's name or secret policy changed; both as they are now."""

    application_id: str
    name: str
    secret_policy: SecretPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationDeleted:
    """An application is gone, and its client secret with it."""

    application_id: str


ApplicationEvent = ApplicationCreated | ApplicationUpdated | ApplicationDeleted


# Commands


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateApplication:
    """Make an application and issue its client secret."""

    application_id: str
    name: str
    environment: Environment
    secret_policy: SecretPolicy
    token_id: str
    hint: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateApplication:
    """Change an application's name or secret policy; what is not given stays."""

    application_id: str
    name: str | Unchanged = UNCHANGED
    secret_policy: SecretPolicy | Unchanged = UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteApplication:
    """Revoke an application's client secret and remove it; confirmed by its name."""

    application_id: str
    confirmation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealSecret:
    """Show a client secret again."""

    token_id: str
    reason: str | None = None


Command = CreateApplication | UpdateApplication | DeleteApplication | RevealSecret | tokens.TokenCommand


# State


class ApplicationState(NamedTuple):
    """What is known of one application by itself."""

    id: str
    organization: str
    name: str
    environment: Environment
    secret_policy: SecretPolicy
    created_at: datetime
    deleted_at: datetime | None = None


class ApplicationStream(NamedTuple):
    """An application together with its client secret: all that is decided on its stream."""

    application: ApplicationState | None
    secret: TokenState | None
    is_sealed: bool
    """The current secret was issued to be kept, and nothing has destroyed it since."""


NONE: Final = ApplicationStream(application=None, secret=None, is_sealed=False)


def stream_of_application(application_id: str) -> StreamId:
    """Name the stream of an application and its client secret."""
    return stream_of(TokenKind.CLIENT_SECRET, application_id)


def evolve_application(
    state: ApplicationState | None, event: ApplicationEvent, *, organization: str, at: datetime
) -> ApplicationState:
    """Fold one event into an application by itself. Raises ValueError where the log contradicts itself."""
    match event:
        case ApplicationCreated():
            if state is not None:
                raise ValueError(f"{event.application_id} is created twice")
            return ApplicationState(
                id=event.application_id,
                organization=organization,
                name=event.name,
                environment=event.environment,
                secret_policy=event.secret_policy,
                created_at=at,
            )
        case _ if state is None:
            raise ValueError(f"{event.application_id} was never created")
        case ApplicationUpdated():
            return state._replace(name=event.name, secret_policy=event.secret_policy)
        case ApplicationDeleted():
            return state._replace(deleted_at=at)
        case _:
            assert_never(event)


def evolve(
    state: ApplicationStream, event: ApplicationEvent | TokenEvent, *, organization: str, actor: Actor, at: datetime
) -> ApplicationStream:
    """Fold one event of the stream. Raises ValueError where the log contradicts itself."""
    if isinstance(event, ApplicationEvent):
        application = evolve_application(state.application, event, organization=organization, at=at)
        is_kept = application.secret_policy is SecretPolicy.RECOVERABLE and application.deleted_at is None
        return ApplicationStream(application, state.secret, state.is_sealed and is_kept)
    secret = tokens.evolve(state.secret, event, organization=organization, actor=actor, at=at)
    is_sealed = state.is_sealed
    if isinstance(event, TokenCreated | TokenRotated):
        is_sealed = keeps_secret(state.application)
    elif isinstance(event, TokenRevoked):
        is_sealed = False
    return ApplicationStream(state.application, secret, is_sealed)


def keeps_secret(application: ApplicationState | None) -> bool:
    """Say whether a secret that is issued now is kept."""
    return application is not None and application.secret_policy is SecretPolicy.RECOVERABLE


# Decisions

Decision = tuple[ApplicationEvent | TokenEvent, ...] | Refused


def decide(command: Command, state: ApplicationStream, *, now: datetime) -> Decision:
    """Answer a command with the events it yields (none: it is so already) or with why it is refused."""
    match command:
        case CreateApplication():
            return decide_create(command, state, now=now)
        case UpdateApplication():
            return decide_update(command, state)
        case DeleteApplication():
            return decide_delete(command, state)
        case RevealSecret():
            return decide_reveal(command, state, now=now)
        case _:
            return tokens.decide(command, state.secret, now=now)


def decide_create(command: CreateApplication, state: ApplicationStream, *, now: datetime) -> Decision:
    """Make an application together with its client secret, which bears its name."""
    if state.application is not None:
        return Refused((Refusal(code=RefusalCode.TAKEN, message="this application exists already"),))
    issued = tokens.CreateToken(
        token_id=command.token_id,
        kind=TokenKind.CLIENT_SECRET,
        name=command.name,
        hint=command.hint,
        scopes=command.scopes,
        application_id=command.application_id,
    )
    secret = tokens.decide(issued, None, now=now)
    if isinstance(secret, Refused):
        return secret
    created = ApplicationCreated(
        application_id=command.application_id,
        name=command.name,
        environment=command.environment,
        secret_policy=command.secret_policy,
    )
    return (created, *secret)


def decide_update(command: UpdateApplication, state: ApplicationStream) -> Decision:
    """Change what was given; nothing is appended when nothing would change."""
    application = state.application
    if application is None or application.deleted_at is not None:
        return not_found()
    name = application.name if command.name is UNCHANGED else command.name
    policy = application.secret_policy if command.secret_policy is UNCHANGED else command.secret_policy
    if problems := name_problems("name", name):
        return Refused(problems)
    if (name, policy) == (application.name, application.secret_policy):
        return ()
    return (ApplicationUpdated(application_id=application.id, name=name, secret_policy=policy),)


def decide_delete(command: DeleteApplication, state: ApplicationStream) -> Decision:
    """Remove an application and revoke its secret; a second deletion succeeds and appends nothing."""
    application, secret = state.application, state.secret
    if application is None:
        return not_found()
    if command.confirmation != application.name:
        message = "type the application's name to confirm its deletion"
        refusal = Refusal(code=RefusalCode.CONFIRMATION_MISMATCH, message=message, field=("input", "confirmation"))
        return Refused((refusal,))
    if application.deleted_at is not None:
        return ()
    deleted = ApplicationDeleted(application_id=application.id)
    if secret is None or secret.revoked_at is not None:
        return (deleted,)
    return (TokenRevoked(token_id=secret.id, reason="its application was deleted"), deleted)


def decide_reveal(command: RevealSecret, state: ApplicationStream, *, now: datetime) -> Decision:
    """Note that the current secret is shown again, where it works and was kept."""
    if command.reason is not None and (problems := text_problems("reason", command.reason, LONGEST_REASON)):
        return Refused(problems)
    if state.secret is None or state.secret.id != command.token_id:
        return tokens.not_found()
    if not state.secret.is_active(now):
        return tokens.not_active(state.secret)
    if not state.is_sealed:
        return not_recoverable()
    return (TokenRevealed(token_id=state.secret.id, reason=command.reason),)


def not_recoverable() -> Refused:
    """Refuse because the secret was not kept."""
    message = "this secret was not kept: rotate it where its application's policy is RECOVERABLE"
    return Refused((Refusal(code=RefusalCode.NOT_RECOVERABLE, message=message, field=("input", "id")),))


def not_found() -> Refused:
    """Refuse because there is no such application, or none that may be seen."""
    message = "there is no such application"
    return Refused((Refusal(code=RefusalCode.NOT_FOUND, message=message, field=("input", "id")),))
