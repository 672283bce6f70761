"""What a change of a token or a member means for who remembers it: nothing, something, or that less is allowed now.

Every change of what a verifier remembers is logged for the processes that verify; a restricting one is answered when
all of them have applied it. Must never take a change for harmless that could let a key do less.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from events.members import ROLE_SCOPES, DecidedEvent, MemberAdded, MemberRoleChanged, MemberState
from events.scopes import missing
from events.tokens import TokenState


def change_row(before: TokenState | None, after: TokenState, event_id: str) -> Mapping[str, Any] | None:
    """Make the companion row of a change; None where nobody can remember anything that it makes untrue."""
    if before is None or remembered(before) == remembered(after):
        return None
    return {"subject": after.id, "event_id": event_id, "restricting": is_restricting(before, after)}


def remembered(state: TokenState) -> tuple[object, ...]:
    """List what a verifier remembers of a token, or decides on."""
    return (
        state.scopes,
        state.expires_at,
        state.hint,
        state.generation,
        state.previous_hint,
        state.overlap_ends_at,
        state.new_secret_used_at is None,
        state.revoked_at is None,
    )


def is_restricting(before: TokenState, after: TokenState) -> bool:
    """Say whether a secret of the token may do less than before, or for less long."""
    return (
        (after.revoked_at is not None and before.revoked_at is None)
        or after.generation != before.generation
        or is_overlap_shortened(before.overlap_ends_at, after.overlap_ends_at)
        or is_expiry_shortened(before.expires_at, after.expires_at)
        or bool(missing(after.scopes, before.scopes))
    )


def is_overlap_shortened(before: datetime | None, after: datetime | None) -> bool:
    """Compare ends of an overlap: None is that there is none."""
    return before is not None and (after is None or after < before)


def is_expiry_shortened(before: datetime | None, after: datetime | None) -> bool:
    """Compare expiries: None is never."""
    return after is not None and (before is None or after < before)


def member_change_row(before: MemberState | None, event: DecidedEvent, event_id: str) -> Mapping[str, Any] | None:
    """Make the companion row of what was decided about a member; None for a new one, of whom nothing is remembered."""
    if before is None or isinstance(event, MemberAdded):
        return None
    is_restricting = True
    if isinstance(event, MemberRoleChanged):
        is_restricting = bool(missing(ROLE_SCOPES[event.role], ROLE_SCOPES[event.previous_role]))
    return {"subject": event.member_id, "event_id": event_id, "restricting": is_restricting}
