"""`verifyToken`: a service asks whether a key it received is good. Must never echo the key."""

from datetime import datetime

import strawberry

from events.scopes import MOST_SCOPES, problem_with
from service.api.context import Context
from service.api.enums import Environment, Failure, TokenKind
from service.api.errors import ApiError
from service.api.tokens import Token, token_of
from service.credential import Wanted


@strawberry.type(
    description="Whoever presents the whole secret may learn this much; "
    "`token` only where it belongs to the caller's organization."
)
class TokenVerification:
    """What a presented secret proves."""

    valid: bool = strawberry.field(description="Whether the key is good for what it is wanted for.")
    reason: Failure | None = strawberry.field(description="Why it is not.")
    token_id: strawberry.ID | None = strawberry.field(description="The token, when the secret was right.")
    organization_id: strawberry.ID | None = strawberry.field(description="Its organization: look at it.")
    kind: TokenKind | None = strawberry.field(description="What the token is for.")
    application_id: strawberry.ID | None = strawberry.field(description="The application it belongs to.")
    environment: Environment | None = strawberry.field(description="The environment of that application.")
    scopes: list[str] = strawberry.field(description="What it may do, in its own organization only.")
    expires_at: datetime | None = strawberry.field(description="When it stops working by itself.")
    token: Token | None = strawberry.field(description="The token, where the caller may see it.")


def wanted_of(
    context: Context, scopes: list[str], environment: Environment | None, *, any_organization: bool
) -> Wanted:
    """Read what the key is wanted for. Raises ApiError BAD_USER_INPUT."""
    if len(scopes) > MOST_SCOPES:
        raise ApiError("BAD_USER_INPUT", f"requiredScopes: at most {MOST_SCOPES} scopes can be required")
    for number, scope in enumerate(scopes, start=1):
        if problem := problem_with(scope):
            raise ApiError("BAD_USER_INPUT", f"requiredScopes: entry {number} is not a scope: {problem}")
    organization = None if any_organization else context.caller.principal.organization
    return Wanted(organization=organization, scopes=tuple(scopes), environment=environment)


async def verify_token(context: Context, secret: str, wanted: Wanted, *, record: bool) -> TokenVerification:
    """Verify a secret that the caller received, and show what it proves."""
    principal = context.caller.principal
    services = context.services
    verification = await services.verifier.verify_for(principal, secret, wanted)
    credential = verification.credential
    if record and verification.failure is None and credential is not None:
        services.usage.record(credential, None)
    if credential is None:
        return TokenVerification(
            valid=False,
            reason=verification.failure,
            token_id=None,
            organization_id=None,
            kind=None,
            application_id=None,
            environment=None,
            scopes=[],
            expires_at=None,
            token=None,
        )
    is_own = credential.organization == principal.organization
    return TokenVerification(
        valid=verification.failure is None,
        reason=verification.failure,
        token_id=strawberry.ID(credential.token_id),
        organization_id=strawberry.ID(credential.organization),
        kind=credential.kind,
        application_id=None if credential.application_id is None else strawberry.ID(credential.application_id),
        environment=credential.environment,
        scopes=list(credential.scopes),
        expires_at=credential.expires_at,
        token=token_of(await context.tokens.load(credential.token_id)) if is_own else None,
    )
