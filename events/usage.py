"""Usage: what was seen of tokens in use. Observed, not decided, so it has no expected version. Must never do I/O."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from typing import Final

from events.envelope import StreamId

MOST_ADDRESSES: Final = 10
"""How many distinct addresses one `TokenUsed` names at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsed:
    """A token's secret of one generation was used `count` times between two instants."""

    token_id: str
    generation: int
    hint: str
    count: int
    first_used_at: datetime
    last_used_at: datetime
    ip_addresses: tuple[str, ...]


@unique
class GapCause(StrEnum):
    """Why uses went uncounted."""

    CRASH = "CRASH"
    OVERFLOW = "OVERFLOW"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageGap:
    """Uses of the organization's tokens between two instants may be missing from the log."""

    organization_id: str
    cause: GapCause
    began_at: datetime
    ended_at: datetime


UsageEvent = TokenUsed | UsageGap


def stream_of(event: UsageEvent) -> StreamId:
    """Name the stream a usage event is on: never one that decisions are on."""
    return StreamId(f"usage-{event.token_id if isinstance(event, TokenUsed) else event.organization_id}")
