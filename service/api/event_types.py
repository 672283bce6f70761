"""Every event type as it is shown: an interface, and a type for each. Must never decide who may read."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import strawberry

from events.entry import RecordedEvent, leaf_hash
from service.api.context import ApiInfo
from service.api.enums import Environment, GapCause, MemberRole, SecretPolicy, TokenKind
from service.api.nodes import Actor, Node
from service.api.proofs import ShownInclusionProof, TreeSize, inclusion_proof
from service.api.scalars import Json
from service.time_travel import Moment

if TYPE_CHECKING:
    from service.api.tokens import Token


@strawberry.interface(description="A fact. Each event type is a GraphQL type of its own name; new ones may be added.")
class Event(Node):
    """A fact."""

    recorded: strawberry.Private[RecordedEvent]
    as_of: strawberry.Private[Moment | None] = None
    position: str = strawberry.field(description="Its place in the organization's history, from 1, without gaps.")
    type: str = strawberry.field(description="The event type.")
    occurred_at: datetime = strawberry.field(description="When it happened, by the clock of the process that saw it.")
    recorded_at: datetime = strawberry.field(description="When the log took it; never before the event ahead of it.")
    ip_address: str | None = strawberry.field(description="The address that the request came from.")
    request_id: str | None = strawberry.field(description="The id of the request that led to it.")
    stream: str = strawberry.field(description="The stream: the events that are decided together.")
    version: int | None = strawberry.field(description="Its place in the stream, from 1; null for what is observed.")
    subject_id: strawberry.ID = strawberry.field(description="What it is about.")
    entry: str = strawberry.field(description="The exact text that was hashed: canonical JSON (RFC 8785).")
    leaf_hash: str = strawberry.field(description="SHA-256(0x00 ‖ entry) in hexadecimal, as in RFC 9162.")
    payload: Json = strawberry.field(description="Its own fields as they were written.")

    @strawberry.field(description="Who caused it.")
    def actor(self) -> Actor:
        """Give the actor."""
        return Actor(actor=self.recorded.actor)

    @strawberry.field(
        description="That it is in the tree of the organization's history: that of the newest checkpoint, or of the "
        "`size` given. Null where that tree does not hold it, as no checkpoint does while none can be signed."
    )
    async def inclusion_proof(self, info: ApiInfo, *, size: TreeSize = None) -> ShownInclusionProof | None:
        """Prove it."""
        return await inclusion_proof(info.context, self.recorded.organization_position, size)


@strawberry.interface(description="An event about a token.")
class TokenEvent(Event):
    """An event about a token."""

    token_id: strawberry.ID = strawberry.field(description="The token's id.")

    @strawberry.field(
        description="The token as it is now, or was at the position that was asked for; null where it may not be seen."
    )
    async def token(self, info: ApiInfo) -> Annotated["Token", strawberry.lazy("service.api.tokens")] | None:
        """Load the token."""
        from service.api.tokens import past_token, token_of  # noqa: PLC0415 -- tokens have events and events have tokens

        if self.as_of is not None:
            return await past_token(info, str(self.token_id), self.as_of)
        return token_of(await info.context.tokens.load(str(self.token_id)))


@strawberry.type(description="A token was issued.")
class TokenCreated(TokenEvent):
    """A token was issued."""

    kind: TokenKind = strawberry.field(description="What it is for.")
    name: str = strawberry.field(description="What it is called.")
    hint: str = strawberry.field(description="The hint of its first secret.")
    scopes: list[str] = strawberry.field(description="What it may do.")
    expires_at: datetime | None = strawberry.field(description="When it stops working by itself.")
    application_id: strawberry.ID | None = strawberry.field(description="The application it belongs to.")


@strawberry.type(description="A token's name, scopes or expiry changed; all three as they were then.")
class TokenUpdated(TokenEvent):
    """A token changed."""

    name: str = strawberry.field(description="What it is called.")
    scopes: list[str] = strawberry.field(description="What it may do.")
    expires_at: datetime | None = strawberry.field(description="When it stops working by itself.")


@strawberry.type(description="A token got a new secret.")
class TokenRotated(TokenEvent):
    """A token got a new secret."""

    hint: str = strawberry.field(description="The hint of the new secret.")
    previous_hint: str = strawberry.field(description="The hint of the old secret.")
    overlap_ends_at: datetime | None = strawberry.field(description="Until when the old one works; null: no longer.")


@strawberry.type(description="The new secret was used for the first time; ends nothing.")
class TokenRotationCompleted(TokenEvent):
    """The new secret was used."""

    hint: str = strawberry.field(description="The hint of the new secret.")


@strawberry.type(description="The old secret stopped working ahead of its time.")
class TokenOverlapEnded(TokenEvent):
    """An overlap ended early."""

    previous_hint: str = strawberry.field(description="The hint of the old secret.")


@strawberry.type(description="A token was revoked: committed, and for ever.")
class TokenRevoked(TokenEvent):
    """A token was revoked."""

    reason: str | None = strawberry.field(description="Why, in its revoker's words.")


@strawberry.type(description="A token's secret, which was kept, was shown again.")
class TokenRevealed(TokenEvent):
    """A secret was shown again."""

    reason: str | None = strawberry.field(description="Why, in the words of who saw it.")


@strawberry.type(description="A token was chosen to sign the organization's webhooks.")
class WebhookSignerDesignated(TokenEvent):
    """A signer was chosen."""

    previous_token_id: strawberry.ID | None = strawberry.field(description="The token that signed them before.")


@strawberry.type(description="A token was used: all uses of one secret by one process in a window.")
class TokenUsed(TokenEvent):
    """A token was used."""

    hint: str = strawberry.field(description="The hint of the secret that was used.")
    count: str = strawberry.field(description="How often: a 64-bit number in decimal.")
    first_used_at: datetime = strawberry.field(description="The first of these uses.")
    last_used_at: datetime = strawberry.field(description="The last of these uses.")
    ip_addresses: list[str] = strawberry.field(description="Addresses they came from, at most ten.")


@strawberry.type(description="An organization came to be.")
class OrganizationCreated(Event):
    """An organization came to be."""

    name: str = strawberry.field(description="What it is called.")


@strawberry.type(description="Uses of the organization's tokens may be missing from the log between two instants.")
class UsageGap(Event):
    """Uses may be missing."""

    cause: GapCause = strawberry.field(description="Why.")
    began_at: datetime = strawberry.field(description="When uses began to be kept in memory only.")
    ended_at: datetime = strawberry.field(description="When the process is known to have been gone.")


@strawberry.type(description="An application came to be.")
class ApplicationCreated(Event):
    """An application came to be."""

    application_id: strawberry.ID = strawberry.field(description="The application's id.")
    name: str = strawberry.field(description="What it is called.")
    environment: Environment = strawberry.field(description="Where it runs.")
    secret_policy: SecretPolicy = strawberry.field(description="Whether its secret is kept.")


@strawberry.type(description="An application's name or secret policy changed; both as they were then.")
class ApplicationUpdated(Event):
    """An application changed."""

    application_id: strawberry.ID = strawberry.field(description="The application's id.")
    name: str = strawberry.field(description="What it is called.")
    secret_policy: SecretPolicy = strawberry.field(description="Whether its secret is kept.")


@strawberry.type(description="An application was deleted, and its client secret revoked.")
class ApplicationDeleted(Event):
    """An application is gone."""

    application_id: strawberry.ID = strawberry.field(description="The application's id.")


@strawberry.type(description="A person became a member.")
class MemberAdded(Event):
    """A person became a member."""

    member_id: strawberry.ID = strawberry.field(description="The member's id.")
    role: MemberRole = strawberry.field(description="The role.")


@strawberry.type(description="A member got another role.")
class MemberRoleChanged(Event):
    """A member got another role."""

    member_id: strawberry.ID = strawberry.field(description="The member's id.")
    role: MemberRole = strawberry.field(description="The role from then on.")
    previous_role: MemberRole = strawberry.field(description="The role before.")


@strawberry.type(description="A person is no member any more.")
class MemberRemoved(Event):
    """A membership ended."""

    member_id: strawberry.ID = strawberry.field(description="The member's id.")


@strawberry.type(description="A member's password was changed; every other session of the member ended.")
class PasswordChanged(Event):
    """A password was changed."""

    member_id: strawberry.ID = strawberry.field(description="The member's id.")


@strawberry.type(description="A member signed in.")
class SignedIn(Event):
    """A member signed in."""

    member_id: strawberry.ID = strawberry.field(description="The member's id.")


@strawberry.type(description="Somebody failed to sign in as a member: all attempts seen by one process in a minute.")
class SignInFailed(Event):
    """Somebody failed to sign in."""

    member_id: strawberry.ID = strawberry.field(description="The member's id.")
    count: str = strawberry.field(description="How often: a 64-bit number in decimal.")
    first_at: datetime = strawberry.field(description="The first of these attempts.")
    last_at: datetime = strawberry.field(description="The last of these attempts.")
    ip_addresses: list[str] = strawberry.field(description="Addresses they came from, at most ten.")


@strawberry.type(description="A member ended a session, or all of them.")
class SignedOut(Event):
    """A member ended sessions."""

    member_id: strawberry.ID = strawberry.field(description="The member's id.")
    everywhere: bool = strawberry.field(description="Whether all sessions of the member ended.")


OwnFields = Callable[[Any], dict[str, Any]]
"""From an event to the fields of its type in the API, beside those that every event has."""


def own_fields(*names: str) -> OwnFields:
    """Show these fields of an event as they are."""
    return lambda event: {name: getattr(event, name) for name in names}


def token_fields(*names: str) -> OwnFields:
    """Show these fields of a token event as they are, and the token's id."""
    return own_fields("token_id", *names)


SHOWN: Final[Mapping[str, tuple[Callable[..., Event], OwnFields]]] = {
    "TokenCreated": (
        TokenCreated,
        token_fields("kind", "name", "hint", "scopes", "expires_at", "application_id"),
    ),
    "TokenUpdated": (TokenUpdated, token_fields("name", "scopes", "expires_at")),
    "TokenRotated": (TokenRotated, token_fields("hint", "previous_hint", "overlap_ends_at")),
    "TokenRotationCompleted": (TokenRotationCompleted, token_fields("hint")),
    "TokenOverlapEnded": (TokenOverlapEnded, token_fields("previous_hint")),
    "TokenRevoked": (TokenRevoked, token_fields("reason")),
    "TokenRevealed": (TokenRevealed, token_fields("reason")),
    "WebhookSignerDesignated": (WebhookSignerDesignated, token_fields("previous_token_id")),
    "TokenUsed": (
        TokenUsed,
        lambda event: {
            **token_fields("hint", "first_used_at", "last_used_at", "ip_addresses")(event),
            "count": str(event.count),
        },
    ),
    "UsageGap": (UsageGap, own_fields("cause", "began_at", "ended_at")),
    "OrganizationCreated": (OrganizationCreated, own_fields("name")),
    "ApplicationCreated": (ApplicationCreated, own_fields("application_id", "name", "environment", "secret_policy")),
    "ApplicationUpdated": (ApplicationUpdated, own_fields("application_id", "name", "secret_policy")),
    "ApplicationDeleted": (ApplicationDeleted, own_fields("application_id")),
    "MemberAdded": (MemberAdded, own_fields("member_id", "role")),
    "MemberRoleChanged": (MemberRoleChanged, own_fields("member_id", "role", "previous_role")),
    "MemberRemoved": (MemberRemoved, own_fields("member_id")),
    "PasswordChanged": (PasswordChanged, own_fields("member_id")),
    "SignedIn": (SignedIn, own_fields("member_id")),
    "SignInFailed": (
        SignInFailed,
        lambda event: {
            **own_fields("member_id", "first_at", "last_at", "ip_addresses")(event),
            "count": str(event.count),
        },
    ),
    "SignedOut": (SignedOut, own_fields("member_id", "everywhere")),
}
"""How each event type is shown; a test holds it against the registry."""


def shown_event(recorded: RecordedEvent, *, as_of: Moment | None = None) -> Event:
    """Show an event as the type of its name, with what is about it as of a moment, or else of now."""
    make, own = SHOWN[recorded.type]
    return make(
        id=strawberry.ID(recorded.event_id),
        recorded=recorded,
        as_of=as_of,
        position=str(recorded.organization_position),
        type=recorded.type,
        occurred_at=recorded.occurred_at,
        recorded_at=recorded.recorded_at,
        ip_address=recorded.address,
        request_id=recorded.request_id,
        stream=recorded.stream,
        version=recorded.version,
        subject_id=strawberry.ID(recorded.subject),
        entry=recorded.entry.decode(),
        leaf_hash=leaf_hash(recorded.entry).hex(),
        payload=recorded.payload,
        **own(recorded.event),
    )


EVENT_TYPES: Final = tuple(cls for cls, _ in SHOWN.values() if isinstance(cls, type))
"""The concrete types, which the schema must be told since only their interface is a field's type."""
