"""What commands about tokens are decided on: three sorts of stream in one shape. Must never do I/O, nor decide itself.

An API token is alone on its stream, an organization's API secrets share one, and a client secret is on its
application's. `events` decides for each; here is what all have in common, so that a command takes one way.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol, TypeGuard, TypeVar

from events import api_secrets, applications, tokens
from events.api_secrets import ApiSecrets, DesignateWebhookSigner
from events.applications import ApplicationEvent, ApplicationState, ApplicationStream, RevealSecret
from events.entry import RecordedEvent
from events.envelope import Actor
from events.refusals import Refused
from events.tokens import TokenEvent, TokenState

ApplicationCommand = applications.CreateApplication | applications.UpdateApplication | applications.DeleteApplication
Command = tokens.TokenCommand | DesignateWebhookSigner | RevealSecret | ApplicationCommand
DecidedEvent = TokenEvent | ApplicationEvent
Decision = tuple[DecidedEvent, ...] | Refused

Told = TypeVar("Told")
Fact = tuple[Told, str, Actor, datetime]
"""An event with its organization, its actor and its instant."""

NOTHING: Final = frozenset[int]()


class Aggregate(Protocol):
    """What is decided together, as it is now."""

    def token(self, token_id: str) -> TokenState | None:
        """Give one of its tokens."""

    @property
    def application(self) -> ApplicationState | None:
        """Give the application that it is, if it is one."""

    def sealed(self, token_id: str) -> frozenset[int]:
        """Say of which generations a token's secret is kept."""

    def decide(self, command: Command, *, now: datetime) -> Decision:
        """Answer a command with the events it yields or with why it is refused."""

    def evolve(self, event: DecidedEvent, *, organization: str, actor: Actor, at: datetime) -> "Aggregate":
        """Fold one event. Raises ValueError where the log contradicts itself."""


class LoneToken(NamedTuple):
    """An API token, or no token at all."""

    state: TokenState | None = None

    def token(self, token_id: str) -> TokenState | None:
        """Give the token."""
        return self.state if self.state is not None and self.state.id == token_id else None

    @property
    def application(self) -> None:
        """Give no application."""

    def sealed(self, token_id: str) -> frozenset[int]:
        """Keep no secret."""
        del token_id
        return NOTHING

    def decide(self, command: Command, *, now: datetime) -> Decision:
        """Decide for the token alone."""
        match command:
            case DesignateWebhookSigner():
                return tokens.not_found() if self.state is None else api_secrets.not_an_api_secret()
            case RevealSecret():
                return tokens.not_found() if self.state is None else applications.not_recoverable()
            case applications.CreateApplication() | applications.UpdateApplication() | applications.DeleteApplication():
                return applications.not_found()
            case _:
                return tokens.decide(command, self.state, now=now)

    def evolve(self, event: DecidedEvent, *, organization: str, actor: Actor, at: datetime) -> "LoneToken":
        """Fold one event of the token."""
        if isinstance(event, ApplicationEvent):
            raise ValueError(f"{event.application_id} is on the stream of a token")  # noqa: TRY004 -- the log is wrong
        return LoneToken(tokens.evolve(self.state, event, organization=organization, actor=actor, at=at))


class Secrets(NamedTuple):
    """The API secrets of an organization."""

    state: ApiSecrets = api_secrets.NONE

    def token(self, token_id: str) -> TokenState | None:
        """Give one of them."""
        return self.state.tokens.get(token_id)

    @property
    def application(self) -> None:
        """Give no application."""

    def sealed(self, token_id: str) -> frozenset[int]:
        """Keep what may have to sign: the secret of each that lives, and the one before while the two overlap."""
        token = self.token(token_id)
        if token is None or token.revoked_at is not None:
            return NOTHING
        if token.overlap_ends_at is None:
            return frozenset({token.generation})
        return frozenset({token.generation - 1, token.generation})

    def decide(self, command: Command, *, now: datetime) -> Decision:
        """Decide for all of them together."""
        match command:
            case RevealSecret():
                known = command.token_id in self.state.tokens
                return applications.not_recoverable() if known else tokens.not_found()
            case applications.CreateApplication() | applications.UpdateApplication() | applications.DeleteApplication():
                return applications.not_found()
            case _:
                return api_secrets.decide(command, self.state, now=now)

    def evolve(self, event: DecidedEvent, *, organization: str, actor: Actor, at: datetime) -> "Secrets":
        """Fold one event of one of them."""
        if isinstance(event, ApplicationEvent):
            raise ValueError(f"{event.application_id} is on the stream of API secrets")  # noqa: TRY004 -- as above
        return Secrets(api_secrets.evolve(self.state, event, organization=organization, actor=actor, at=at))


class Application(NamedTuple):
    """An application with its client secret."""

    state: ApplicationStream = applications.NONE

    def token(self, token_id: str) -> TokenState | None:
        """Give the client secret."""
        secret = self.state.secret
        return secret if secret is not None and secret.id == token_id else None

    @property
    def application(self) -> ApplicationState | None:
        """Give the application."""
        return self.state.application

    def sealed(self, token_id: str) -> frozenset[int]:
        """Keep the current secret, where it was issued to be kept."""
        token = self.token(token_id)
        return frozenset({token.generation}) if token is not None and self.state.is_sealed else NOTHING

    def decide(self, command: Command, *, now: datetime) -> Decision:
        """Decide for both together."""
        if isinstance(command, DesignateWebhookSigner):
            return api_secrets.not_an_api_secret()
        return applications.decide(command, self.state, now=now)

    def evolve(self, event: DecidedEvent, *, organization: str, actor: Actor, at: datetime) -> "Application":
        """Fold one event of the application or its client secret."""
        return Application(applications.evolve(self.state, event, organization=organization, actor=actor, at=at))


def client_secret_of(aggregate: Aggregate) -> str | None:
    """Name the client secret of what is an application."""
    secret = aggregate.state.secret if isinstance(aggregate, Application) else None
    return None if secret is None else secret.id


def token_of(command: Command, aggregate: Aggregate) -> str | None:
    """Name the token that a command is about: of a command on an application, its client secret."""
    if isinstance(command, applications.UpdateApplication | applications.DeleteApplication):
        return client_secret_of(aggregate)
    return command.token_id


def application_of(command: Command, aggregate: Aggregate) -> str | None:
    """Name the application that a command is about."""
    if isinstance(command, ApplicationCommand):
        return command.application_id
    return None if aggregate.application is None else aggregate.application.id


def lone_token(recorded: Sequence[RecordedEvent]) -> LoneToken:
    """Fold the stream of an API token."""
    state = LoneToken()
    for event, organization, actor, at in facts(recorded):
        state = state.evolve(event, organization=organization, actor=actor, at=at)
    return state


def secrets(recorded: Sequence[RecordedEvent]) -> Secrets:
    """Fold the stream of an organization's API secrets."""
    return Secrets(api_secrets.fold(fact for fact in facts(recorded) if is_about_token(fact)))


def application(recorded: Sequence[RecordedEvent]) -> Application:
    """Fold the stream of an application and its client secret."""
    state = Application()
    for event, organization, actor, at in facts(recorded):
        state = state.evolve(event, organization=organization, actor=actor, at=at)
    return state


def facts(recorded: Sequence[RecordedEvent]) -> Iterator[Fact[DecidedEvent]]:
    """Give what a fold needs of each event."""
    for event in recorded:
        if isinstance(event.event, DecidedEvent):
            yield event.event, event.organization, event.actor, event.occurred_at


def is_about_token(fact: Fact[DecidedEvent]) -> TypeGuard[Fact[TokenEvent]]:
    """Say whether an event is about a token."""
    return isinstance(fact[0], TokenEvent)
