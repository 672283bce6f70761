"""Members: the people of an organization and their roles. Must never do I/O, read a clock, or hold a person's name.

The members of an organization share one stream, so that the last owner cannot be lost between two decisions. What is
seen of a member at the door (signed in, failed to, signed out) is observed, not decided: it has streams of its own and
no expected version.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final, NamedTuple, assert_never

from events.envelope import Actor, StreamId
from events.refusals import Refusal, RefusalCode, Refused
from events.scopes import EVERYTHING, RESERVED_SCOPES


@unique
class MemberRole(StrEnum):
    """What a member may do."""

    OWNER = "OWNER"
    ADMIN = "ADMIN"
    MEMBER = "MEMBER"
    AUDITOR = "AUDITOR"


CHANGES_OWNERS: Final = "organization:write"
"""The scope that it takes to make, change or remove an owner."""

ROLE_SCOPES: Final[Mapping[MemberRole, tuple[str, ...]]] = {
    MemberRole.OWNER: (EVERYTHING,),
    MemberRole.ADMIN: tuple(scope for scope in RESERVED_SCOPES if scope != CHANGES_OWNERS),
    MemberRole.MEMBER: ("organization:read", "members:read", "applications:read", "tokens:read", "tokens:write"),
    MemberRole.AUDITOR: tuple(scope for scope in RESERVED_SCOPES if scope.endswith(":read")),
}
"""The scopes that each role holds."""


# Events


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdded:
    """A person became a member."""

    member_id: str
    role: MemberRole


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRoleChanged:
    """A member got another role."""

    member_id: str
    role: MemberRole
    previous_role: MemberRole


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRemoved:
    """A person is no member any more."""

    member_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordChanged:
    """A member's password was changed, by the member or an operator; every other session ended."""

    member_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A member signed in."""

    member_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInFailed:
    """Somebody failed `count` times between two instants to sign in as a member."""

    member_id: str
    count: int
    first_at: datetime
    last_at: datetime
    ip_addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOut:
    """A member ended a session, or all of them."""

    member_id: str
    everywhere: bool


DecidedEvent = MemberAdded | MemberRoleChanged | MemberRemoved | PasswordChanged
ObservedEvent = SignedIn | SignInFailed | SignedOut
MemberEvent = DecidedEvent | ObservedEvent


# Commands


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMember:
    """Make a person a member."""

    member_id: str
    role: MemberRole


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMemberRole:
    """Give a member another role."""

    member_id: str
    role: MemberRole


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveMember:
    """End a membership."""

    member_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePassword:
    """Replace a member's password."""

    member_id: str


MemberCommand = AddMember | ChangeMemberRole | RemoveMember | ChangePassword


# State


class MemberState(NamedTuple):
    """All that is decided about one member."""

    id: str
    organization: str
    role: MemberRole
    created_at: datetime
    created_by: Actor
    removed_at: datetime | None = None


Members = Mapping[str, MemberState]
"""Everybody who ever was a member of an organization, by id."""

NOBODY: Final[Members] = MappingProxyType({})


def stream_of_members(organization: str) -> StreamId:
    """Name the stream that the decisions about an organization's members are on."""
    return StreamId(f"members-{organization}")


def stream_of_sign_ins(member_id: str) -> StreamId:
    """Name the stream of what is observed of a member: never one that decisions are on."""
    return StreamId(f"sign_ins-{member_id}")


def evolve_member(
    state: MemberState | None, event: DecidedEvent, *, organization: str, actor: Actor, at: datetime
) -> MemberState:
    """Fold one event into one member's state. Raises ValueError where the log contradicts itself."""
    match event:
        case MemberAdded():
            if state is not None:
                raise ValueError(f"{event.member_id} is added twice")
            return MemberState(
                id=event.member_id, organization=organization, role=event.role, created_at=at, created_by=actor
            )
        case _ if state is None:
            raise ValueError(f"{event.member_id} was never added")
        case MemberRoleChanged():
            return state._replace(role=event.role)
        case MemberRemoved():
            return state._replace(removed_at=at)
        case PasswordChanged():
            return state
        case _:
            assert_never(event)


def evolve(state: Members, event: DecidedEvent, *, organization: str, actor: Actor, at: datetime) -> Members:
    """Fold one event into the members of an organization. Raises ValueError where the log contradicts itself."""
    member = evolve_member(state.get(event.member_id), event, organization=organization, actor=actor, at=at)
    return MappingProxyType({**state, member.id: member})


# Decisions

Decision = tuple[DecidedEvent, ...] | Refused


def decide(command: MemberCommand, state: Members) -> Decision:
    """Answer a command with the events it yields (none: it is so already) or with why it is refused."""
    member = state.get(command.member_id)
    if isinstance(command, AddMember):
        if member is not None:
            return Refused((Refusal(code=RefusalCode.TAKEN, message="this member exists already"),))
        return (MemberAdded(member_id=command.member_id, role=command.role),)
    if member is None:
        return not_found()
    match command:
        case ChangeMemberRole():
            return decide_role(command, member, state)
        case RemoveMember():
            return decide_removal(member, state)
        case ChangePassword():
            return not_found() if member.removed_at is not None else (PasswordChanged(member_id=member.id),)
        case _:
            assert_never(command)


def decide_role(command: ChangeMemberRole, member: MemberState, state: Members) -> Decision:
    """Give another role; an organization keeps an owner."""
    if member.removed_at is not None:
        return not_found()
    if command.role is member.role:
        return ()
    if is_last_owner(member, state):
        return last_owner()
    return (MemberRoleChanged(member_id=member.id, role=command.role, previous_role=member.role),)


def decide_removal(member: MemberState, state: Members) -> Decision:
    """End a membership; a second removal succeeds and appends nothing."""
    if member.removed_at is not None:
        return ()
    return last_owner() if is_last_owner(member, state) else (MemberRemoved(member_id=member.id),)


def is_last_owner(member: MemberState, state: Members) -> bool:
    """Say whether the organization would have no owner without this one."""
    if member.role is not MemberRole.OWNER:
        return False
    return not any(
        other.role is MemberRole.OWNER and other.removed_at is None and other.id != member.id
        for other in state.values()
    )


def last_owner() -> Refused:
    """Refuse because an organization keeps one owner."""
    message = "this is the organization's last owner: make another member an owner first"
    return Refused((Refusal(code=RefusalCode.LAST_OWNER, message=message, field=("input", "id")),))


def not_found() -> Refused:
    """Refuse because there is no such member, or none that may be seen."""
    message = "there is no such member"
    return Refused((Refusal(code=RefusalCode.NOT_FOUND, message=message, field=("input", "id")),))
