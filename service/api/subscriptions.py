"""Subscriptions in the API: the history as it goes on. Must never read it: `service.streams` does, for all at once."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Annotated, Final, cast

import strawberry

from events.entry import RecordedEvent
from events.log import HistoryQuery
from service.api.context import ApiInfo, Context
from service.api.errors import ApiError
from service.api.event_types import SHOWN, TokenEvent, shown_event
from service.api.events import EventEdge, EventFilterInput, WhichEvents, filtered_by
from service.api.scalars import position_of
from service.cursors import Cursors

TOKEN_EVENT_TYPES: Final = tuple(
    name for name, (shown, _) in SHOWN.items() if isinstance(shown, type) and issubclass(shown, TokenEvent)
)

After = Annotated[
    str | None,
    strawberry.argument(
        description="Begin after this cursor, from any events connection or stream of the organization."
    ),
]
AfterPosition = Annotated[
    str | None,
    strawberry.argument(description='Begin after this position; "0": all of history. Neither: what comes from now on.'),
]


@strawberry.type(description="A token event's place in a history.")
class TokenEventEdge:
    """A token event's place."""

    cursor: str = strawberry.field(description="Marks the place, for every events connection of the organization.")
    node: TokenEvent = strawberry.field(description="The event.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What a subscription follows: which events of the organization, and after which position (None: the head)."""

    query: HistoryQuery
    begin: int | None
    is_sealed: bool
    """Where to begin came in a cursor, so the history held it once."""
    edge_type: type[EventEdge] | type[TokenEventEdge]

    def edge(self, cursors: Cursors, recorded: RecordedEvent) -> EventEdge | TokenEventEdge:
        """Show one event."""
        cursor = cursors.of_event(recorded.organization_position)
        shown = shown_event(recorded)
        if self.edge_type is TokenEventEdge and isinstance(shown, TokenEvent):
            return TokenEventEdge(cursor=cursor, node=shown)
        return EventEdge(cursor=cursor, node=shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a client asks to begin."""

    after: str | None
    after_position: str | None

    def position(self, context: Context) -> int | None:
        """Read it. Raises ApiError, InvalidCursorError or ExpiredCursorError."""
        if self.after is not None and self.after_position is not None:
            raise ApiError("BAD_USER_INPUT", "give either after or afterPosition")
        if self.after is not None:
            return context.cursors.event_position(self.after)
        return None if self.after_position is None else position_of("afterPosition", self.after_position, least=0)


@strawberry.type(
    description="What goes on. Committed events in log order, each once: first all after the place to begin at, then "
    "live, with no seam. Resume with the last cursor; one that cannot be served ends with CURSOR_EXPIRED."
)
class Subscription:
    """What goes on."""

    @strawberry.subscription(description="The organization's history as it goes on. Needs the scope events:read.")
    async def events(
        self,
        info: ApiInfo,
        after: After = None,
        after_position: AfterPosition = None,
        filter: WhichEvents = None,  # noqa: A002 -- its name in the API
    ) -> AsyncIterator[EventEdge]:
        """Say what to follow."""
        start = Start(after=after, after_position=after_position)
        return cast("AsyncIterator[EventEdge]", following(info.context, start, filter, edge_type=EventEdge))

    @strawberry.subscription(description="The same for token events. Needs the scope events:read.")
    async def token_events(
        self,
        info: ApiInfo,
        after: After = None,
        after_position: AfterPosition = None,
        filter: WhichEvents = None,  # noqa: A002 -- its name in the API
    ) -> AsyncIterator[TokenEventEdge]:
        """Say what to follow."""
        start = Start(after=after, after_position=after_position)
        return cast("AsyncIterator[TokenEventEdge]", following(info.context, start, filter, edge_type=TokenEventEdge))


def following(
    context: Context,
    start: Start,
    given: EventFilterInput | None,
    *,
    edge_type: type[EventEdge] | type[TokenEventEdge],
) -> Following:
    """Say what to follow. Raises ApiError, ForbiddenError, InvalidCursorError or ExpiredCursorError."""
    principal = context.caller.principal
    query = filtered_by(HistoryQuery(organization=principal.organization, limit=0, newest_first=False), given)
    if edge_type is TokenEventEdge:
        wanted = TOKEN_EVENT_TYPES if query.types is None else query.types
        query = replace(query, types=tuple(name for name in wanted if name in TOKEN_EVENT_TYPES))
    return Following(
        query=context.services.queries.of_history(principal, query),
        begin=start.position(context),
        is_sealed=start.after is not None,
        edge_type=edge_type,
    )
