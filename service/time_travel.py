"""A token as it was at a position of its organization's history, for whoever may read that history.

It is folded from the log, never read from what is kept of now. Must never show what came after the position.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from events.api_secrets import stream_of_api_secrets
from events.archive import archived_usage
from events.entry import RecordedEvent
from events.identifiers import prefix_of
from events.log import HistoryQuery, read_history, read_organization_head, read_stream
from events.scopes import covers
from events.statement import Pool
from events.tokens import TokenState
from projections.last_used import TOKEN_LAST_USED, LastUsed
from projections.past import Leave, Place, Question, kept_state, state_at
from projections.token_row import TOKENS
from projections.tokens import TokenView, joined
from service.aggregates import secrets
from service.authorization import Principal


class BeyondHeadError(Exception):
    """There is no such position yet."""


class ArchivedUseError(Exception):
    """What is asked of a token's use was archived."""


class PastToken(NamedTuple):
    """Which token, as of which position."""

    token_id: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A position of an organization's history, and when it was."""

    position: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeTravel:
    """Reads what was, for a principal."""

    pool: Pool

    async def moment(self, principal: Principal, position: int) -> Moment:
        """Find when a position of the history was recorded. Raises ForbiddenError or BeyondHeadError."""
        principal.require("events:read")
        head = await read_organization_head(self.pool, principal.organization)
        if position > head:
            raise BeyondHeadError(f"there is no such position yet: the history ends at {head}")
        last = await self._last_until(principal.organization, position)
        return Moment(position=position, at=last.recorded_at)

    async def state(self, principal: Principal, asked: PastToken, leave: Leave) -> TokenState | None:
        """Fold what was decided about a token; None before it was issued, and where it may not be seen.

        Raises ForbiddenError or TooLongError.
        """
        principal.require("events:read")
        is_own = asked.token_id == principal.actor.id
        if prefix_of(asked.token_id) != "tok" or not (is_own or covers(principal.scopes, "tokens:read")):
            return None
        place = Place(organization=principal.organization, position=asked.position)
        question = Question(projection=TOKENS, key=asked.token_id)
        return await state_at(self.pool, question, place=place, leave=leave)

    async def signer(self, principal: Principal, position: int, leave: Leave) -> str | None:
        """Name the token that signed webhooks at a position. Raises ForbiddenError or TooLongError."""
        principal.require("events:read")
        recorded = await read_stream(self.pool, stream_of_api_secrets(principal.organization))
        leave.take(len(recorded))
        return secrets([event for event in recorded if event.organization_position <= position]).state.signer

    async def view(self, state: TokenState, position: int, leave: Leave) -> TokenView:
        """Fold the use of a token that was found, as the history tells it up to a position.

        Raises TooLongError or ArchivedUseError.
        """
        place = Place(organization=state.organization, position=position)
        archived = await archived_usage(self.pool, state.organization)
        used = await self._used(state, place, leave, archived=archived)
        if archived != await archived_usage(self.pool, state.organization):
            return await self.view(state, position, leave)  # what was archived meanwhile may be missing
        return joined(state, used)

    async def _used(self, state: TokenState, place: Place, leave: Leave, *, archived: int) -> LastUsed:
        kept = None
        if archived:
            kept = await kept_state(self.pool, TOKEN_LAST_USED, state.organization, state.id)
        if kept is not None and place.position < archived:
            raise ArchivedUseError(f"its use before position {archived} was archived: ask for a later position")
        question = Question(projection=TOKEN_LAST_USED, key=state.id, begin=kept)
        used = await state_at(self.pool, question, place=place, leave=leave)
        if used is None:
            raise LookupError("a token that was issued has no use to fold")
        return used

    async def _last_until(self, organization: str, position: int) -> RecordedEvent:
        query = HistoryQuery(organization=organization, before=position + 1, limit=1, newest_first=True)
        (last,) = await read_history(self.pool, query)
        return last
