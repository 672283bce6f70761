"""Who may do what: the one place that decides it, beneath every entrance. Must never trust an input for an identity."""

from collections.abc import Iterable
from dataclasses import dataclass

from events.envelope import OPERATOR, Actor, ActorKind
from events.refusals import Refusal, RefusalCode, Refused
from events.scopes import EVERYTHING, covers, missing


class ForbiddenError(Exception):
    """The principal is known and lacks a scope."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"this needs the scope {scope}")
        self.scope = scope


class RestrictedError(Exception):
    """The principal was good when the request began and is not any more."""


class UnauthenticatedError(Exception):
    """Nobody has presented a credential."""

    def __init__(self) -> None:
        super().__init__("Unauthorized")


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is acting, verified: a token of an organization, or the operator at the host."""

    actor: Actor
    organization: str
    scopes: tuple[str, ...]

    @property
    def view(self) -> tuple[tuple[str, ...], str | None]:
        """Equal for principals of an organization that may see the same: who may not see all tokens sees its own."""
        return self.scopes, None if covers(self.scopes, "tokens:read") else self.actor.id

    def require(self, scope: str) -> None:
        """Raise ForbiddenError unless the scope is held."""
        if not covers(self.scopes, scope):
            raise ForbiddenError(scope)

    def hold_back(self, carried: Iterable[str], field: str) -> Refused | None:
        """Refuse to grant, or to hand over in a secret, scopes that the principal does not hold itself."""
        lacking = missing(self.scopes, carried)
        if not lacking:
            return None
        message = f"carries scopes that you do not hold yourself: {', '.join(lacking)}"
        return Refused((Refusal(code=RefusalCode.SCOPE_NOT_HELD, message=message, field=("input", field)),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A principal and the request it made."""

    principal: Principal
    address: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who presents no credential, and may only sign in: all that is known is the request."""

    address: str | None = None
    request_id: str | None = None


def operator(organization: str) -> Caller:
    """Act as the operator, who works from the host with the database's own credentials."""
    return Caller(principal=Principal(actor=OPERATOR, organization=organization, scopes=(EVERYTHING,)))


def token_principal(token_id: str, organization: str, scopes: tuple[str, ...]) -> Principal:
    """Act as a token that was verified."""
    return Principal(actor=Actor(kind=ActorKind.TOKEN, id=token_id), organization=organization, scopes=scopes)
