"""The mutations: each reads its input and calls the one function that carries it out.

Must never decide who may do what: that is beneath the resolvers, so that every entrance goes through it.
"""

from typing import Annotated, TypeVar

import strawberry

from service.api import application_mutations as applications
from service.api import member_mutations as members
from service.api import session_mutations as sessions
from service.api import token_mutations as tokens
from service.api.context import ApiInfo

Input = TypeVar("Input")
Given = Annotated[Input, strawberry.argument(name="input", description="What to do.")]


@strawberry.type(description="What can be done. Each mutation is recorded in the log, or refused with userErrors.")
class Mutation:
    """What can be done."""

    @strawberry.mutation(
        description="Issue an API token or an API secret, of which three may live. Needs tokens:write and every scope "
        "that it gets."
    )
    async def create_token(self, info: ApiInfo, given: Given[tokens.CreateTokenInput]) -> tokens.CreateTokenPayload:
        """Issue a token."""
        return await tokens.create_token(info.context, given)

    @strawberry.mutation(description="Change a token's name, scopes or expiry. Needs tokens:write.")
    async def update_token(self, info: ApiInfo, given: Given[tokens.UpdateTokenInput]) -> tokens.UpdateTokenPayload:
        """Change a token."""
        return await tokens.update_token(info.context, given)

    @strawberry.mutation(
        description="Give a token a new secret. Needs tokens:write and every scope of the token; for a client secret "
        "applications:write too."
    )
    async def rotate_token(self, info: ApiInfo, given: Given[tokens.RotateTokenInput]) -> tokens.RotateTokenPayload:
        """Rotate a token."""
        return await tokens.rotate_token(info.context, given)

    @strawberry.mutation(description="Stop the old secret of a rotated token now. Needs tokens:write.")
    async def end_rotation_overlap(
        self,
        info: ApiInfo,
        given: Given[tokens.EndRotationOverlapInput],
    ) -> tokens.EndRotationOverlapPayload:
        """End an overlap."""
        return await tokens.end_rotation_overlap(info.context, given)

    @strawberry.mutation(
        description="Stop a token for ever. Revoking twice succeeds. A client secret ends with its application. Needs "
        "tokens:write."
    )
    async def revoke_token(self, info: ApiInfo, given: Given[tokens.RevokeTokenInput]) -> tokens.RevokeTokenPayload:
        """Revoke a token."""
        return await tokens.revoke_token(info.context, given)

    @strawberry.mutation(
        description="Begin a session: the cookie of the answer holds it. The one thing that needs no credential. "
        "Nothing else may be in the document."
    )
    async def sign_in(self, info: ApiInfo, given: Given[sessions.SignInInput]) -> sessions.SignInPayload:
        """Sign in."""
        return await sessions.sign_in(info.context, given)

    @strawberry.mutation(description="End this session, or every one of the member's. Needs a session.")
    async def sign_out(
        self,
        info: ApiInfo,
        *,
        everywhere: Annotated[bool, strawberry.argument(description="End every session of the member.")] = False,
    ) -> sessions.SignOutPayload:
        """Sign out."""
        return await sessions.sign_out(info.context, everywhere=everywhere)

    @strawberry.mutation(
        description="Enter the password again, for what needs one that was entered within the last 10 minutes. Needs a "
        "session, which goes on with another cookie."
    )
    async def reauthenticate(
        self, info: ApiInfo, given: Given[sessions.ReauthenticateInput]
    ) -> sessions.ReauthenticatePayload:
        """Enter the password again."""
        return await sessions.reauthenticate(info.context, given)

    @strawberry.mutation(
        description="Replace the password: the member's other sessions end. Needs a session, which goes on with "
        "another cookie."
    )
    async def change_password(
        self, info: ApiInfo, given: Given[sessions.ChangePasswordInput]
    ) -> sessions.ChangePasswordPayload:
        """Replace the password."""
        return await sessions.change_password(info.context, given)

    @strawberry.mutation(
        description="Make a person a member. Needs members:write and every reserved scope of the role; for an owner "
        "organization:write."
    )
    async def add_member(self, info: ApiInfo, given: Given[members.AddMemberInput]) -> members.AddMemberPayload:
        """Add a member."""
        return await members.add_member(info.context, given)

    @strawberry.mutation(
        description="Give a member another role. Needs members:write and every reserved scope of the role; to change "
        "an owner organization:write."
    )
    async def change_member_role(
        self, info: ApiInfo, given: Given[members.ChangeMemberRoleInput]
    ) -> members.ChangeMemberRolePayload:
        """Change a role."""
        return await members.change_member_role(info.context, given)

    @strawberry.mutation(
        description="End a membership, and all sessions of the member. Removing twice succeeds. Needs members:write; "
        "to remove an owner organization:write."
    )
    async def remove_member(
        self, info: ApiInfo, given: Given[members.RemoveMemberInput]
    ) -> members.RemoveMemberPayload:
        """Remove a member."""
        return await members.remove_member(info.context, given)

    @strawberry.mutation(
        description="Choose the API secret that signs the organization's webhooks. Needs webhooks:write."
    )
    async def designate_webhook_signer(
        self, info: ApiInfo, given: Given[tokens.DesignateWebhookSignerInput]
    ) -> tokens.DesignateWebhookSignerPayload:
        """Choose who signs."""
        return await tokens.designate_webhook_signer(info.context, given)

    @strawberry.mutation(
        description="Make an application, with its client secret. Needs applications:write and every scope it gets."
    )
    async def create_application(
        self, info: ApiInfo, given: Given[applications.CreateApplicationInput]
    ) -> applications.CreateApplicationPayload:
        """Make an application."""
        return await applications.create_application(info.context, given)

    @strawberry.mutation(
        description="Change an application's name or whether its secret is kept. Needs applications:write."
    )
    async def update_application(
        self, info: ApiInfo, given: Given[applications.UpdateApplicationInput]
    ) -> applications.UpdateApplicationPayload:
        """Change an application."""
        return await applications.update_application(info.context, given)

    @strawberry.mutation(
        description="Remove an application and revoke its client secret, for ever. Needs applications:write, and a "
        "member who has entered the password within the last 10 minutes."
    )
    async def delete_application(
        self, info: ApiInfo, given: Given[applications.DeleteApplicationInput]
    ) -> applications.DeleteApplicationPayload:
        """Delete an application."""
        return await applications.delete_application(info.context, given)

    @strawberry.mutation(
        description="Show the client secret of an application whose policy is RECOVERABLE again. Needs "
        "applications:write, every reserved scope of the secret, and a member who has entered the password within "
        "the last 10 minutes."
    )
    async def reveal_secret(
        self, info: ApiInfo, given: Given[applications.RevealSecretInput]
    ) -> applications.RevealSecretPayload:
        """Show a secret again."""
        return await applications.reveal_secret(info.context, given)
