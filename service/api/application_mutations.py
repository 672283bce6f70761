"""The mutations of applications: inputs, payloads, and what they become. Must never log or store what they return."""

import strawberry

from events import applications
from events.refusals import Refused
from events.tokens import UNCHANGED
from service.api.applications import Application, application_of
from service.api.context import Context
from service.api.enums import Environment, SecretPolicy
from service.api.nodes import (
    POSITION,
    USER_ERRORS,
    Enforcement,
    UserError,
    shown_enforcement,
    shown_position,
    user_errors,
)
from service.api.token_mutations import (
    ENFORCEMENT,
    IDEMPOTENCY_KEY,
    SHOWN_ONCE,
    explicit_nulls,
    optional,
    secret_of,
)
from service.issuing import Done

AS_IT_IS = "The application as it is now; null when the command was refused."


@strawberry.input(description="Which application to make.")
class CreateApplicationInput:
    """Which application to make."""

    name: str = strawberry.field(description="What people call it: 1 to 100 characters.")
    environment: Environment = strawberry.field(description="Where it runs, for ever.")
    secret_policy: SecretPolicy = strawberry.field(
        default=SecretPolicy.SHOW_ONCE, description="Whether its secret is kept, to be shown again."
    )
    scopes: list[str] = strawberry.field(
        default_factory=list, description="What its client secret may do; at most 100 scopes."
    )
    idempotency_key: str | None = strawberry.field(default=strawberry.UNSET, description=IDEMPOTENCY_KEY)


@strawberry.input(description="What to change; what is left out stays.")
class UpdateApplicationInput:
    """What to change."""

    id: strawberry.ID = strawberry.field(description="The application.")
    name: str | None = strawberry.field(default=strawberry.UNSET, description="What people call it.")
    secret_policy: SecretPolicy | None = strawberry.field(
        default=strawberry.UNSET,
        description="Whether its secret is kept: SHOW_ONCE destroys the kept one at once, RECOVERABLE keeps the next.",
    )


@strawberry.input(description="Which application to delete.")
class DeleteApplicationInput:
    """Which application to delete."""

    id: strawberry.ID = strawberry.field(description="The application.")
    confirmation: str = strawberry.field(description="The application's name, typed in.")


@strawberry.input(description="Which secret to show again.")
class RevealSecretInput:
    """Which secret to show again."""

    id: strawberry.ID = strawberry.field(description="The token: an application's client secret.")
    reason: str | None = strawberry.field(
        default=strawberry.UNSET, description="Why, for the audit log: at most 500 characters, never a secret."
    )


@strawberry.type(description="The application and its client secret.")
class CreateApplicationPayload:
    """The application that was made."""

    application: Application | None = strawberry.field(description=AS_IT_IS)
    secret: str | None = strawberry.field(description=SHOWN_ONCE)
    position: str | None = strawberry.field(description=POSITION)
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


@strawberry.type(description="The changed application.")
class UpdateApplicationPayload:
    """The changed application."""

    application: Application | None = strawberry.field(description=AS_IT_IS)
    position: str | None = strawberry.field(description=POSITION)
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


@strawberry.type(description="The application that is gone. Deleting twice succeeds.")
class DeleteApplicationPayload:
    """The application that is gone."""

    deleted_application_id: strawberry.ID | None = strawberry.field(
        description="Its id; null when the command was refused."
    )
    position: str | None = strawberry.field(description=POSITION)
    enforcement: Enforcement | None = strawberry.field(description=ENFORCEMENT)
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


@strawberry.type(description="The secret that was kept.")
class RevealSecretPayload:
    """The secret that was kept."""

    secret: str | None = strawberry.field(description="The whole secret; that it was shown is in the history by now.")
    user_errors: list[UserError] = strawberry.field(description=USER_ERRORS)


async def create_application(context: Context, given_input: CreateApplicationInput) -> CreateApplicationPayload:
    """Make an application."""
    outcome: Done | Refused | None = explicit_nulls(given_input, "idempotency_key")
    if outcome is None:
        command = applications.CreateApplication(
            application_id="",
            name=given_input.name,
            environment=given_input.environment,
            secret_policy=given_input.secret_policy,
            token_id="",
            hint="",
            scopes=tuple(given_input.scopes),
        )
        key = optional(given_input.idempotency_key)
        outcome = await context.services.applications.create(context.caller, command, key=key)
    if isinstance(outcome, Refused):
        return CreateApplicationPayload(application=None, secret=None, position=None, user_errors=user_errors(outcome))
    return CreateApplicationPayload(
        application=await changed(context, outcome),
        secret=secret_of(outcome),
        position=shown_position(outcome.position),
        user_errors=[],
    )


async def update_application(context: Context, given_input: UpdateApplicationInput) -> UpdateApplicationPayload:
    """Change an application's name or whether its secret is kept."""
    outcome: Done | Refused | None = explicit_nulls(given_input, "name", "secret_policy")
    if outcome is None:
        name, policy = optional(given_input.name), optional(given_input.secret_policy)
        command = applications.UpdateApplication(
            application_id=str(given_input.id),
            name=UNCHANGED if name is None else name,
            secret_policy=UNCHANGED if policy is None else policy,
        )
        outcome = await context.services.applications.update(context.caller, command)
    if isinstance(outcome, Refused):
        return UpdateApplicationPayload(application=None, position=None, user_errors=user_errors(outcome))
    return UpdateApplicationPayload(
        application=await changed(context, outcome), position=shown_position(outcome.position), user_errors=[]
    )


async def delete_application(context: Context, given_input: DeleteApplicationInput) -> DeleteApplicationPayload:
    """Remove an application and revoke its secret."""
    command = applications.DeleteApplication(application_id=str(given_input.id), confirmation=given_input.confirmation)
    outcome = await context.services.applications.delete(context.caller, command)
    if isinstance(outcome, Refused):
        return DeleteApplicationPayload(
            deleted_application_id=None, position=None, enforcement=None, user_errors=user_errors(outcome)
        )
    context.forget()
    return DeleteApplicationPayload(
        deleted_application_id=strawberry.ID(command.application_id),
        position=shown_position(outcome.position),
        enforcement=shown_enforcement(outcome.enforcement),
        user_errors=[],
    )


async def reveal_secret(context: Context, given_input: RevealSecretInput) -> RevealSecretPayload:
    """Show a client secret that was kept."""
    refused = explicit_nulls(given_input, "reason")
    if refused is not None:
        return RevealSecretPayload(secret=None, user_errors=user_errors(refused))
    command = applications.RevealSecret(token_id=str(given_input.id), reason=optional(given_input.reason))
    outcome = await context.services.applications.reveal(context.caller, command)
    if isinstance(outcome, Refused):
        return RevealSecretPayload(secret=None, user_errors=user_errors(outcome))
    return RevealSecretPayload(secret=outcome.reveal(), user_errors=[])


async def changed(context: Context, done: Done) -> Application | None:
    """Read the application that a command was about, as it is now."""
    context.forget()
    if done.application_id is None:
        return None
    queries = context.services.queries.applications
    return application_of(await queries.changed(context.caller.principal, done.application_id))
