"""The mutations of members, on others: inputs, payloads, and the commands they become. Must never log a password."""

import strawberry

from events.refusals import Refused
from service.api.context import Context
from service.api.enums import MemberRole
from service.api.members import Member, member_of
from service.api.nodes import (
    POSITION,
    USER_ERRORS,
    Enforcement,
    UserError,
    shown_enforcement,
    shown_position,
    user_errors,
)
from service.member_decisions import MemberDone

ENFORCEMENT = "How it reached every process, if the member may do less than before; null otherwise."
AS_IT_IS = "The member as it is now; null when the command was refused."


@strawberry.input(description="Whom to add.")
class AddMemberInput:
    """Whom to add."""

    email: str = strawberry.field(description="The e-mail address to sign in with, unique within the organization.")
    name: str = strawberry.field(description="What the member is called: 1 to 100 characters.")
    role: MemberRole = strawberry.field(description="What the member may do.")


@strawberry.input(description="Who gets which role.")
class ChangeMemberRoleInput:
    """Who gets which role."""

    id: strawberry.ID = strawberry.field(description="The member.")
    role: MemberRole = strawberry.field(description="What the member may do from now on.")


@strawberry.input(description="Who is to be no member any more.")
class RemoveMemberInput:
    """Who is to be no member any more."""

    id: strawberry.ID = strawberry.field(description="The member.")


@strawberry.type(description="The new member, and the password to sign in with for the first time.")
class AddMemberPayload:
    """The new member."""

    member: Member | None = strawberry.field(description=AS_IT_IS)
    one_time_password: str | None = strawberry.field(
        description="Here and never again: to be given to the member, who must change it within 7 days."
    )
    position: str | None = strawberry.field(description=POSITION)
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


@strawberry.type(description="The member with another role.")
class ChangeMemberRolePayload:
    """The member with another role."""

    member: Member | None = strawberry.field(description=AS_IT_IS)
    position: str | None = strawberry.field(description=POSITION)
    enforcement: Enforcement | None = strawberry.field(description=ENFORCEMENT)
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


@strawberry.type(description="Who is no member any more. Removing twice succeeds.")
class RemoveMemberPayload:
    """Who is no member any more."""

    removed_member_id: strawberry.ID | None = strawberry.field(description="Null when the command was refused.")
    position: str | None = strawberry.field(description=POSITION)
    enforcement: Enforcement | None = strawberry.field(description="How the end of the sessions reached every process.")
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


async def add_member(context: Context, given: AddMemberInput) -> AddMemberPayload:
    """Make a person a member."""
    commands, caller = context.services.members, context.caller
    done = await commands.add(caller, email=given.email, name=given.name, role=given.role)
    if isinstance(done, Refused):
        return AddMemberPayload(member=None, one_time_password=None, position=None, user_errors=user_errors(done))
    password = done.one_time_password
    return AddMemberPayload(
        member=await changed(context, done),
        one_time_password=None if password is None else password.reveal(),
        position=shown_position(done.position),
        user_errors=[],
    )


async def change_member_role(context: Context, given: ChangeMemberRoleInput) -> ChangeMemberRolePayload:
    """Give a member another role."""
    done = await context.services.members.change_role(context.caller, member_id=str(given.id), role=given.role)
    if isinstance(done, Refused):
        return ChangeMemberRolePayload(member=None, position=None, enforcement=None, user_errors=user_errors(done))
    return ChangeMemberRolePayload(
        member=await changed(context, done),
        position=shown_position(done.position),
        enforcement=shown_enforcement(done.enforcement),
        user_errors=[],
    )


async def remove_member(context: Context, given: RemoveMemberInput) -> RemoveMemberPayload:
    """End a membership."""
    done = await context.services.members.remove(context.caller, member_id=str(given.id))
    if isinstance(done, Refused):
        return RemoveMemberPayload(
            removed_member_id=None, position=None, enforcement=None, user_errors=user_errors(done)
        )
    return RemoveMemberPayload(
        removed_member_id=strawberry.ID(done.member_id),
        position=shown_position(done.position),
        enforcement=shown_enforcement(done.enforcement),
        user_errors=[],
    )


async def changed(context: Context, done: MemberDone) -> Member | None:
    """Read the member that a command was about, as it is now."""
    return member_of(await context.services.queries.members.changed(context.caller.principal, done.member_id))
