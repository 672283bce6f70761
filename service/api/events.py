"""The connection of events in the API. Must never decide who may read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

import strawberry

from events.log import BEYOND, HistoryQuery
from service.api.context import ApiInfo, Context
from service.api.enums import EventOrder
from service.api.event_types import Event, shown_event
from service.api.pages import Page, PageInfo
from service.api.scalars import given_fields
from service.time_travel import Moment


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
    subject_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="About any of these: tokens, applications, members or the organization."
    )
    actor_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="By any of these actors."
    )
    occurred_from: datetime | None = strawberry.field(default=strawberry.UNSET, description="Happened then or later.")
    occurred_before: datetime | None = strawberry.field(default=strawberry.UNSET, description="Happened earlier.")


WhichEvents = Annotated[EventFilterInput | None, strawberry.argument(description="Which events.")]
WhichWay = Annotated[EventOrder, strawberry.argument(description="Which way.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """The part of a history that a page is of: one subject's, and no later than a moment."""

    subject: str | None = None
    as_of: Moment | None = None

    @property
    def end(self) -> int:
        """Name the position that all of it is before."""
        return BEYOND if self.as_of is None else self.as_of.position + 1


async def events_page(
    context: Context,
    page: Page,
    order: EventOrder,
    filtered: EventFilterInput | None,
    *,
    within: Within = Within(),
) -> EventConnection:
    """Read a page of the organization's history, or of a part of it."""
    newest_first = (order is EventOrder.NEWEST_FIRST) != page.backward
    position = None if page.cursor is None else context.cursors.event_position(page.cursor)
    query = HistoryQuery(
        organization=context.caller.principal.organization,
        after=0 if newest_first or position is None else position,
        before=min(position, within.end) if newest_first and position is not None else within.end,
        limit=page.size + 1,
        newest_first=newest_first,
    )
    query = filtered_by(query, filtered)
    if within.subject is not None:
        query = replace(query, subjects=in_both(query.subjects, (within.subject,)))
    found = await context.services.queries.history(context.caller.principal, query)
    shown = found[: page.size]
    if page.backward:
        shown.reverse()
    cursors = [context.cursors.of_event(recorded.organization_position) for recorded in shown]
    return EventConnection(
        edges=[
            EventEdge(cursor=cursor, node=shown_event(recorded, as_of=within.as_of))
            for cursor, recorded in zip(cursors, shown, strict=True)
        ],
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
        subjects=in_both(wanted.get("token_ids"), wanted.get("subject_ids")),
        actors=wanted.get("actor_ids"),
        occurred_from=wanted.get("occurred_from"),
        occurred_before=wanted.get("occurred_before"),
    )


def in_both(some: Sequence[str] | None, others: Sequence[str] | None) -> tuple[str, ...] | None:
    """Keep what two lists have in common; None lets everything through."""
    if some is None or others is None:
        one = others if some is None else some
        return None if one is None else tuple(one)
    held = frozenset(others)
    return tuple(name for name in some if name in held)
