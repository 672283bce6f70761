"""The API secrets of an organization, decided together: how many live, and which one signs webhooks. No I/O, no clock.

They share one stream, so that both rules are decided under one version. What holds for one of them alone is decided as
for any token, in `events.tokens`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from events import tokens
from events.envelope import Actor, StreamId
from events.refusals import Refusal, RefusalCode, Refused, invalid
from events.token_kinds import POLICIES, TokenKind, stream_of
from events.tokens import TokenEvent, TokenRevoked, TokenState, WebhookSignerDesignated

MOST_LIVE: Final = POLICIES[TokenKind.API_SECRET].most_live or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignateWebhookSigner:
    """Choose the token that signs the organization's webhooks."""

    token_id: str


Command = tokens.TokenCommand | DesignateWebhookSigner


class ApiSecrets(NamedTuple):
    """All API secrets that an organization ever had."""

    tokens: Mapping[str, TokenState]
    signer: str | None
    """The one that signs webhooks."""
    designations: int
    """How often one was chosen for that."""

    def live(self, now: datetime) -> int:
        """Count those that work at an instant."""
        return sum(token.is_active(now) for token in self.tokens.values())


NONE: Final = ApiSecrets(tokens=MappingProxyType({}), signer=None, designations=0)


def stream_of_api_secrets(organization: str) -> StreamId:
    """Name the stream that an organization's API secrets share."""
    return stream_of(TokenKind.API_SECRET, organization)


def evolve(state: ApiSecrets, event: TokenEvent, *, organization: str, actor: Actor, at: datetime) -> ApiSecrets:
    """Fold one event into the API secrets. Raises ValueError where the log contradicts itself."""
    token_id = event.token_id
    token = tokens.evolve(state.tokens.get(token_id), event, organization=organization, actor=actor, at=at)
    known = MappingProxyType({**state.tokens, token_id: token})
    return ApiSecrets(known, *signing(event, state.signer, state.designations))


def fold(recorded: Iterable[tuple[TokenEvent, str, Actor, datetime]]) -> ApiSecrets:
    """Fold a stream whole, each event with its organization, actor and instant: as `evolve` does, but without copies.

    Raises ValueError where the log contradicts itself.
    """
    known: dict[str, TokenState] = {}
    signer, designations = NONE.signer, NONE.designations
    for event, organization, actor, at in recorded:
        token_id = event.token_id
        known[token_id] = tokens.evolve(known.get(token_id), event, organization=organization, actor=actor, at=at)
        signer, designations = signing(event, signer, designations)
    return ApiSecrets(MappingProxyType(known), signer, designations)


def signing(event: TokenEvent, signer: str | None, designations: int) -> tuple[str | None, int]:
    """Say who signs after an event, and how often one was chosen."""
    if isinstance(event, WebhookSignerDesignated):
        return event.token_id, event.designation
    if isinstance(event, TokenRevoked) and signer == event.token_id:
        return None, designations
    return signer, designations


def decide(command: Command, state: ApiSecrets, *, now: datetime) -> tokens.Decision:
    """Answer a command with the events it yields or with why it is refused."""
    match command:
        case tokens.CreateToken():
            return decide_create(command, state, now=now)
        case DesignateWebhookSigner():
            return decide_designation(command, state, now=now)
        case tokens.RevokeToken():
            return decide_revoke(command, state, now=now)
        case _:
            return tokens.decide(command, state.tokens.get(command.token_id), now=now)


def decide_create(command: tokens.CreateToken, state: ApiSecrets, *, now: datetime) -> tokens.Decision:
    """Issue one more while fewer than three live; where none signs webhooks, this one does."""
    decision = tokens.decide(command, state.tokens.get(command.token_id), now=now)
    if isinstance(decision, Refused):
        return decision
    if state.live(now) >= MOST_LIVE:
        message = f"{MOST_LIVE} API secrets live already: revoke one first"
        return Refused((Refusal(code=RefusalCode.LIMIT_REACHED, message=message, field=("input", "kind")),))
    return decision if state.signer is not None else (*decision, designated(command.token_id, state))


def decide_designation(command: DesignateWebhookSigner, state: ApiSecrets, *, now: datetime) -> tokens.Decision:
    """Choose another to sign webhooks; nothing is appended when it does already."""
    token = state.tokens.get(command.token_id)
    if token is None:
        return tokens.not_found()
    if not token.is_active(now):
        return tokens.not_active(token)
    return () if state.signer == token.id else (designated(token.id, state),)


def decide_revoke(command: tokens.RevokeToken, state: ApiSecrets, *, now: datetime) -> tokens.Decision:
    """Revoke one that does not sign webhooks."""
    if command.token_id == state.signer and not command.is_forced:
        message = "this one signs the organization's webhooks: designate another first"
        return Refused((Refusal(code=RefusalCode.SIGNS_WEBHOOKS, message=message, field=("input", "id")),))
    return tokens.decide(command, state.tokens.get(command.token_id), now=now)


def designated(token_id: str, state: ApiSecrets) -> WebhookSignerDesignated:
    """Make the event that one signs from now on."""
    return WebhookSignerDesignated(
        token_id=token_id, previous_token_id=state.signer, designation=state.designations + 1
    )


def not_an_api_secret() -> Refused:
    """Refuse because only API secrets sign webhooks."""
    return Refused((invalid("id", "only a token of kind API_SECRET signs webhooks"),))
