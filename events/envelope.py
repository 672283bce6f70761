"""What surrounds every event: who, when, where, its place in the log. Must never hold a secret or a person's name."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from typing import NamedTuple, NewType

StreamId = NewType("StreamId", str)
"""`category-id`: the events that are decided together."""
Version = NewType("Version", int)
"""Place in its stream, from 1; 0 is the empty stream."""
Position = NewType("Position", int)
"""Place in the whole log, from 1, no gaps. Internal."""
OrganizationPosition = NewType("OrganizationPosition", int)
"""Place in the organization's history, from 1, no gaps: the position that clients see."""


@unique
class ActorKind(StrEnum):
    """What kind of principal acted."""

    MEMBER = "MEMBER"
    TOKEN = "TOKEN"  # noqa: S105 -- a kind of principal, not a password
    SYSTEM = "SYSTEM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acted: an id and its kind. Names are looked up when read, so that a person can be forgotten."""

    kind: ActorKind
    id: str


SYSTEM = Actor(kind=ActorKind.SYSTEM, id="system")
OPERATOR = Actor(kind=ActorKind.SYSTEM, id="operator")


class Circumstances(NamedTuple):
    """Under which circumstances a command was given: the part of every event that the decision does not make.

    A tuple, as what is made for every command is: a frozen dataclass takes thrice as long to make.
    """

    organization: str
    actor: Actor
    at: datetime
    address: str | None = None
    request_id: str | None = None
