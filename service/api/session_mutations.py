"""The mutations of a member's own session and password. Must never log a password, nor keep one that was given.

What they answer with comes with another cookie, which the context hands to the HTTP layer.
"""

from datetime import datetime

import strawberry

from events.refusals import Refused
from service.api.context import Context
from service.api.members import Member, member_of
from service.api.nodes import USER_ERRORS, Enforcement, UserError, shown_enforcement, user_errors
from service.api.token_mutations import explicit_nulls, optional
from service.api.viewer import Viewer, viewer_of
from service.member_commands import Entered
from service.secret_text import SecretText

AS_VARIABLE = "Send it as a variable."


@strawberry.input(description="Who signs in.")
class SignInInput:
    """Who signs in."""

    email: str = strawberry.field(description="The e-mail address, upper and lower case alike.")
    password: str = strawberry.field(description=f"The password. {AS_VARIABLE}")
    organization_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Which organization, where one address belongs to several."
    )

    def __repr__(self) -> str:
        """Name the type only: the rest is nobody's business."""
        return "SignInInput(…)"


@strawberry.input(description="The password, once more.")
class ReauthenticateInput:
    """The password, once more."""

    password: str = strawberry.field(description=f"The password. {AS_VARIABLE}")

    def __repr__(self) -> str:
        """Name the type only."""
        return "ReauthenticateInput(…)"


@strawberry.input(description="The password that was, and the one that is to be.")
class ChangePasswordInput:
    """The password that was, and the one that is to be."""

    current_password: str = strawberry.field(description=f"The password until now. {AS_VARIABLE}")
    new_password: str = strawberry.field(
        description=f"12 to 256 characters of any sort, and none of the commonest passwords. {AS_VARIABLE}"
    )

    def __repr__(self) -> str:
        """Name the type only."""
        return "ChangePasswordInput(…)"


@strawberry.type(description="Who is signed in now. The session is in the cookie of the answer.")
class SignInPayload:
    """Who is signed in now."""

    viewer: Viewer | None = strawberry.field(description="The member; null when the sign-in was refused.")
    user_errors: list[UserError] = strawberry.field(
        description="WRONG_CREDENTIALS alike for an address that is nobody's and for a wrong password."
    )


@strawberry.type(description="The session is over, and its cookie is taken away.")
class SignOutPayload:
    """The session is over."""

    signed_out: bool = strawberry.field(description="True.")
    enforcement: Enforcement | None = strawberry.field(description="How it reached every process.")


@strawberry.type(description="Until when the password counts as entered lately. The session has another cookie now.")
class ReauthenticatePayload:
    """Until when the password counts."""

    valid_until: datetime | None = strawberry.field(description="Null when the password was wrong.")
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


@strawberry.type(description="The member with a new password. Other sessions are over; this one has another cookie.")
class ChangePasswordPayload:
    """The member with a new password."""

    member: Member | None = strawberry.field(description="The member; null when the command was refused.")
    enforcement: Enforcement | None = strawberry.field(
        description="How the end of the other sessions reached every process."
    )
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


async def sign_in(context: Context, given_input: SignInInput) -> SignInPayload:
    """Begin a session."""
    outcome: Entered | Refused | None = explicit_nulls(given_input, "organization_id")
    if outcome is None:
        visitor, organization = context.visitor, optional(given_input.organization_id)
        outcome = await context.services.members.sign_in(
            given_input.email,
            SecretText(given_input.password),
            organization_id=None if organization is None else str(organization),
            address=visitor.address,
            request_id=visitor.request_id,
        )
    if isinstance(outcome, Refused):
        return SignInPayload(viewer=None, user_errors=user_errors(outcome))
    go_on(context, outcome)
    return SignInPayload(viewer=viewer_of(context), user_errors=[])


async def sign_out(context: Context, *, everywhere: bool) -> SignOutPayload:
    """End the session, or all of the member's."""
    done = await context.services.members.sign_out(context.caller, everywhere=everywhere)
    context.end_session()
    return SignOutPayload(signed_out=True, enforcement=shown_enforcement(done.enforcement))


async def reauthenticate(context: Context, given_input: ReauthenticateInput) -> ReauthenticatePayload:
    """Enter the password again."""
    commands = context.services.members
    outcome = await commands.reauthenticate(context.caller, SecretText(given_input.password))
    if isinstance(outcome, Refused):
        return ReauthenticatePayload(valid_until=None, user_errors=user_errors(outcome))
    go_on(context, outcome)
    return ReauthenticatePayload(valid_until=outcome.credential.session.reauthenticated_until, user_errors=[])


async def change_password(context: Context, given_input: ChangePasswordInput) -> ChangePasswordPayload:
    """Replace the password."""
    current, new = SecretText(given_input.current_password), SecretText(given_input.new_password)
    outcome = await context.services.members.change_password(context.caller, current=current, new=new)
    if isinstance(outcome, Refused):
        return ChangePasswordPayload(member=None, enforcement=None, user_errors=user_errors(outcome))
    go_on(context, outcome)
    member = member_of(await context.members.load(outcome.credential.member_id))
    enforcement = shown_enforcement(outcome.enforcement)
    return ChangePasswordPayload(member=member, enforcement=enforcement, user_errors=[])


def go_on(context: Context, entered: Entered) -> None:
    """Act in the session that began, and hand over its cookie."""
    context.begin_session(entered.credential.principal, entered.cookie)
