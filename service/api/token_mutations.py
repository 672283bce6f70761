"""The mutations of tokens: inputs, payloads, and the commands they become. Must never log or store what they return."""

from datetime import datetime
from typing import TypeVar

import strawberry

from events import tokens
from events.api_secrets import DesignateWebhookSigner
from events.refusals import Refused, invalid
from events.token_kinds import TokenKind
from service.api.context import Context
from service.api.nodes import (
    POSITION,
    USER_ERRORS,
    Enforcement,
    UserError,
    shown_enforcement,
    shown_position,
    user_errors,
)
from service.api.scalars import camel_case, given
from service.api.tokens import Token, token_of
from service.issuing import Done

SHOWN_ONCE = "The whole secret: here and never again, but for a retry with the same idempotency key within 24 hours."
IDEMPOTENCY_KEY = "A text of your own, 1 to 255 characters: a retry with it within 24 hours returns the same secret."
ENFORCEMENT = "How the restriction, or the earlier one that a retry finds, reached every process; null without one."
AS_IT_IS = "The token as it is now; null when the command was refused."


@strawberry.input(description="What to issue.")
class CreateTokenInput:
    """What to issue."""

    kind: TokenKind = strawberry.field(default=TokenKind.API_TOKEN, description="What it is for.")
    name: str = strawberry.field(description="What people call it: 1 to 100 characters.")
    scopes: list[str] = strawberry.field(default_factory=list, description="What it may do; at most 100 scopes.")
    expires_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="When it stops working by itself; left out: never."
    )
    idempotency_key: str | None = strawberry.field(default=strawberry.UNSET, description=IDEMPOTENCY_KEY)


@strawberry.input(description="What to change; what is left out stays.")
class UpdateTokenInput:
    """What to change."""

    id: strawberry.ID = strawberry.field(description="The token.")
    name: str | None = strawberry.field(default=strawberry.UNSET, description="What people call it.")
    scopes: list[str] | None = strawberry.field(default=strawberry.UNSET, description="What it may do.")
    expires_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="When it stops working by itself; null removes the expiry."
    )


@strawberry.input(description="Which token gets a new secret.")
class RotateTokenInput:
    """Which token gets a new secret."""

    id: strawberry.ID = strawberry.field(description="The token.")
    overlap_seconds: int = strawberry.field(
        default=0, description="How long the old secret works beside the new one: 0 to 2592000 seconds (30 days)."
    )
    idempotency_key: str | None = strawberry.field(default=strawberry.UNSET, description=IDEMPOTENCY_KEY)


@strawberry.input(description="Which overlap to end.")
class EndRotationOverlapInput:
    """Which overlap to end."""

    id: strawberry.ID = strawberry.field(description="The token.")


@strawberry.input(description="Which token to revoke.")
class RevokeTokenInput:
    """Which token to revoke."""

    id: strawberry.ID = strawberry.field(description="The token.")
    reason: str | None = strawberry.field(
        default=strawberry.UNSET, description="Why, for the audit log: at most 500 characters, never a secret."
    )
    confirmation: str | None = strawberry.field(
        default=strawberry.UNSET, description="The token's name, needed for an API_SECRET."
    )


@strawberry.input(description="Which API secret signs from now on.")
class DesignateWebhookSignerInput:
    """Which API secret signs from now on."""

    id: strawberry.ID = strawberry.field(description="The token: a live API_SECRET.")


@strawberry.type(description="The issued token and its secret.")
class CreateTokenPayload:
    """The issued token."""

    token: Token | None = strawberry.field(description=AS_IT_IS)
    secret: str | None = strawberry.field(description=SHOWN_ONCE)
    position: str | None = strawberry.field(description=POSITION)
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


@strawberry.type(description="The changed token.")
class UpdateTokenPayload:
    """The changed token."""

    token: Token | None = strawberry.field(description=AS_IT_IS)
    position: str | None = strawberry.field(description=POSITION)
    enforcement: Enforcement | None = strawberry.field(description=ENFORCEMENT)
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


@strawberry.type(description="The rotated token and its new secret.")
class RotateTokenPayload:
    """The rotated token."""

    token: Token | None = strawberry.field(description=AS_IT_IS)
    secret: str | None = strawberry.field(description=SHOWN_ONCE)
    position: str | None = strawberry.field(description=POSITION)
    enforcement: Enforcement | None = strawberry.field(description=ENFORCEMENT)
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


@strawberry.type(description="The token with one secret left.")
class EndRotationOverlapPayload:
    """The token with one secret left."""

    token: Token | None = strawberry.field(description=AS_IT_IS)
    position: str | None = strawberry.field(description=POSITION)
    enforcement: Enforcement | None = strawberry.field(description=ENFORCEMENT)
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


@strawberry.type(description="The revoked token. Revoking twice succeeds.")
class RevokeTokenPayload:
    """The revoked token."""

    token: Token | None = strawberry.field(description=AS_IT_IS)
    position: str | None = strawberry.field(description=POSITION)
    enforcement: Enforcement | None = strawberry.field(description=ENFORCEMENT)
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


@strawberry.type(description="The API secret that signs the organization's webhooks.")
class DesignateWebhookSignerPayload:
    """The API secret that signs."""

    token: Token | None = strawberry.field(description=AS_IT_IS)
    position: str | None = strawberry.field(description=POSITION)
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


async def create_token(context: Context, given_input: CreateTokenInput) -> CreateTokenPayload:
    """Issue a token."""
    outcome: Done | Refused | None = explicit_nulls(given_input, "expires_at", "idempotency_key")
    if outcome is None:
        command = tokens.CreateToken(
            token_id="",
            kind=given_input.kind,
            name=given_input.name,
            hint="",
            scopes=tuple(given_input.scopes),
            expires_at=optional(given_input.expires_at),
        )
        key = optional(given_input.idempotency_key)
        outcome = await context.services.commands.create(context.caller, command, key=key)
    if isinstance(outcome, Refused):
        return CreateTokenPayload(token=None, secret=None, position=None, user_errors=user_errors(outcome))
    return CreateTokenPayload(
        token=await changed(context, outcome),
        secret=secret_of(outcome),
        position=shown_position(outcome.position),
        user_errors=[],
    )


async def rotate_token(context: Context, given_input: RotateTokenInput) -> RotateTokenPayload:
    """Give a token a new secret."""
    outcome: Done | Refused | None = explicit_nulls(given_input, "idempotency_key")
    if outcome is None:
        command = tokens.RotateToken(token_id=str(given_input.id), hint="", overlap_s=given_input.overlap_seconds)
        key = optional(given_input.idempotency_key)
        outcome = await context.services.commands.rotate(context.caller, command, key=key)
    if isinstance(outcome, Refused):
        return RotateTokenPayload(
            token=None, secret=None, position=None, enforcement=None, user_errors=user_errors(outcome)
        )
    return RotateTokenPayload(
        token=await changed(context, outcome),
        secret=secret_of(outcome),
        position=shown_position(outcome.position),
        enforcement=shown_enforcement(outcome.enforcement),
        user_errors=[],
    )


async def update_token(context: Context, given_input: UpdateTokenInput) -> UpdateTokenPayload:
    """Change a token's name, scopes or expiry."""
    outcome: Done | Refused | None = explicit_nulls(given_input, "name", "scopes")
    if outcome is None:
        name, scopes = optional(given_input.name), optional(given_input.scopes)
        command = tokens.UpdateToken(
            token_id=str(given_input.id),
            name=tokens.UNCHANGED if name is None else name,
            scopes=tokens.UNCHANGED if scopes is None else tuple(scopes),
            expires_at=given_input.expires_at if given(given_input.expires_at) else tokens.UNCHANGED,
        )
        outcome = await context.services.commands.change(context.caller, command)
    token, position, enforcement, errors = await answered(context, outcome)
    return UpdateTokenPayload(token=token, position=position, enforcement=enforcement, user_errors=errors)


async def end_rotation_overlap(context: Context, given_input: EndRotationOverlapInput) -> EndRotationOverlapPayload:
    """Stop an old secret now."""
    command = tokens.EndRotationOverlap(token_id=str(given_input.id))
    outcome = await context.services.commands.change(context.caller, command)
    token, position, enforcement, errors = await answered(context, outcome)
    return EndRotationOverlapPayload(token=token, position=position, enforcement=enforcement, user_errors=errors)


async def revoke_token(context: Context, given_input: RevokeTokenInput) -> RevokeTokenPayload:
    """Stop a token for ever."""
    outcome: Done | Refused | None = explicit_nulls(given_input, "reason", "confirmation")
    if outcome is None:
        command = tokens.RevokeToken(
            token_id=str(given_input.id),
            reason=optional(given_input.reason),
            confirmation=optional(given_input.confirmation),
        )
        outcome = await context.services.commands.change(context.caller, command)
    token, position, enforcement, errors = await answered(context, outcome)
    return RevokeTokenPayload(token=token, position=position, enforcement=enforcement, user_errors=errors)


async def designate_webhook_signer(
    context: Context, given_input: DesignateWebhookSignerInput
) -> DesignateWebhookSignerPayload:
    """Choose the API secret that signs webhooks."""
    command = DesignateWebhookSigner(token_id=str(given_input.id))
    outcome = await context.services.commands.designate(context.caller, command)
    token, position, _, errors = await answered(context, outcome)
    return DesignateWebhookSignerPayload(token=token, position=position, user_errors=errors)


Given = TypeVar("Given")


def optional(value: Given | None) -> Given | None:
    """Read an optional input: None when it was left out."""
    return value if given(value) else None


def explicit_nulls(given_input: object, *names: str) -> Refused | None:
    """Refuse fields that were given as null where leaving them out is what was meant."""
    refusals = tuple(
        invalid(camel_case(name), "is null: leave it out instead")
        for name in names
        if getattr(given_input, name) is None
    )
    return Refused(refusals) if refusals else None


async def changed(context: Context, done: Done) -> Token | None:
    """Read the token that a command was about, as it is now."""
    context.forget()
    return token_of(await context.services.queries.changed_token(context.caller.principal, done.token_id))


async def answered(
    context: Context, outcome: Done | Refused
) -> tuple[Token | None, str | None, Enforcement | None, list[UserError]]:
    """Lay out what every payload without a secret holds."""
    if isinstance(outcome, Refused):
        return None, None, None, user_errors(outcome)
    return await changed(context, outcome), shown_position(outcome.position), shown_enforcement(outcome.enforcement), []


def secret_of(done: Done) -> str | None:
    """Let the secret out: here, into the one response it is for."""
    return None if done.secret is None else done.secret.reveal()
