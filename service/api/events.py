"""Events in the API: an interface, a type for each event type, and the connection. Must never decide who may read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import strawberry

from events.entry import RecordedEvent, leaf_hash
from events.log import BEYOND, HistoryQuery
from service.api.context import ApiInfo, Context
from service.api.enums import EventOrder, GapCause, TokenKind
from service.api.nodes import Actor, Node
from service.api.pages import Page, PageInfo
from service.api.proofs import ShownInclusionProof, TreeSize, inclusion_proof
from service.api.scalars import Json, given_fields

if TYPE_CHECKING:
    from service.api.tokens import Token


@strawberry.interface(description="A fact. Each event type is a GraphQL type of its own name; new ones may be added.")
class Event(Node):
    """A fact."""

    recorded: strawberry.Private[RecordedEvent]
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

    @strawberry.field(description="The token as it is now; null where it may not be seen.")
    async def token(self, info: ApiInfo) -> Annotated["Token", strawberry.lazy("service.api.tokens")] | None:
        """Load the token."""
        from service.api.tokens import token_of  # noqa: PLC0415 -- tokens have events and events have tokens

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


OwnFields = Callable[[Any], dict[str, Any]]
"""From an event to the fields of its type in the API, beside those that every event has."""


def token_fields(*names: str) -> OwnFields:
    """Show these fields of a token event as they are, and the token's id."""
    return lambda event: {"token_id": event.token_id, **{name: getattr(event, name) for name in names}}


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
    "TokenUsed": (
        TokenUsed,
        lambda event: {
            **token_fields("hint", "first_used_at", "last_used_at", "ip_addresses")(event),
            "count": str(event.count),
        },
    ),
    "OrganizationCreated": (OrganizationCreated, lambda event: {"name": event.name}),
    "UsageGap": (
        UsageGap,
        lambda event: {"cause": event.cause, "began_at": event.began_at, "ended_at": event.ended_at},
    ),
}
"""How each event type is shown; a test holds it against the registry."""


def shown_event(recorded: RecordedEvent) -> Event:
    """Show an event as the type of its name."""
    make, own_fields = SHOWN[recorded.type]
    return make(
        id=strawberry.ID(recorded.event_id),
        recorded=recorded,
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
        **own_fields(recorded.event),
    )


@strawberry.type(description="An event's place in a connection.")
class EventEdge:
    """An event's place."""

    cursor: str = strawberry.field(description="Marks the place, for every events connection of the organization.")
    node: Event = strawberry.field(description="The event.")


@strawberry.type(description="A page of a history.")
class EventConnection:
    """A page of a history."""

    edges: list[EventEdge] = strawberry.field(description="The events of the page with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies.")

    @strawberry.field(description="The events of the page.")
    def nodes(self) -> list[Event]:
        """Give the events without their cursors."""
        return [edge.node for edge in self.edges]

    @strawberry.field(
        description="Up to which position of the organization's history usage (TokenUsed, UsageGap) was archived: it "
        "is in no page any more, and everything else is. Null while no usage was. Positions keep their numbers, so a "
        "page that reaches below this one may skip some."
    )
    async def archived_usage_through(self, info: ApiInfo) -> str | None:
        """Read it after the page, which then was whole unless this says otherwise."""
        position = await info.context.services.queries.archived_usage(info.context.caller.principal)
        return str(position) if position else None


@strawberry.input(
    name="EventFilter",
    description="Which events to show; all that are given must hold. From is included, before is not.",
)
class EventFilterInput:
    """Which events to show."""

    types: list[str] | None = strawberry.field(default=strawberry.UNSET, description="Of any of these types.")
    token_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="About any of these tokens."
    )
    actor_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="By any of these actors."
    )
    occurred_from: datetime | None = strawberry.field(default=strawberry.UNSET, description="Happened then or later.")
    occurred_before: datetime | None = strawberry.field(default=strawberry.UNSET, description="Happened earlier.")


WhichEvents = Annotated[EventFilterInput | None, strawberry.argument(description="Which events.")]
WhichWay = Annotated[EventOrder, strawberry.argument(description="Which way.")]


async def events_page(
    context: Context, page: Page, order: EventOrder, filtered: EventFilterInput | None, *, subject: str | None = None
) -> EventConnection:
    """Read a page of the organization's history, or of one subject's."""
    newest_first = (order is EventOrder.NEWEST_FIRST) != page.backward
    position = None if page.cursor is None else context.cursors.event_position(page.cursor)
    query = HistoryQuery(
        organization=context.caller.principal.organization,
        after=0 if newest_first or position is None else position,
        before=position if newest_first and position is not None else BEYOND,
        limit=page.size + 1,
        newest_first=newest_first,
    )
    query = filtered_by(query, filtered)
    query = replace(query, subjects=subjects_of(query.subjects, subject))
    found = await context.services.queries.history(context.caller.principal, query)
    shown = found[: page.size]
    if page.backward:
        shown.reverse()
    cursors = [context.cursors.of_event(recorded.organization_position) for recorded in shown]
    return EventConnection(
        edges=[EventEdge(cursor=c, node=shown_event(recorded)) for c, recorded in zip(cursors, shown, strict=True)],
        page_info=page.info(cursors, more=len(found) > page.size),
    )


def filtered_by(query: HistoryQuery, given: EventFilterInput | None) -> HistoryQuery:
    """Narrow a query to what a filter lets through. Raises ApiError BAD_USER_INPUT."""
    if given is None:
        return query
    wanted = given_fields("filter", given)
    return replace(
        query,
        types=wanted.get("types"),
        subjects=wanted.get("token_ids"),
        actors=wanted.get("actor_ids"),
        occurred_from=wanted.get("occurred_from"),
        occurred_before=wanted.get("occurred_before"),
    )


def subjects_of(wanted: Sequence[str] | None, subject: str | None) -> tuple[str, ...] | None:
    """Combine the filter's tokens with the one whose history is read."""
    if subject is None:
        return None if wanted is None else tuple(wanted)
    return (subject,) if wanted is None or subject in wanted else ()


EVENT_TYPES: Final = (
    TokenCreated,
    TokenUpdated,
    TokenRotated,
    TokenRotationCompleted,
    TokenOverlapEnded,
    TokenRevoked,
    TokenUsed,
    OrganizationCreated,
    UsageGap,
)
"""The concrete types, which the schema must be told since only their interface is a field's type."""
