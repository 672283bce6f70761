"""Who may do what: the one place that decides it, beneath every entrance. Must never trust an input for an identity."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from events.envelope import OPERATOR, Actor, ActorKind
from events.members import ROLE_SCOPES, MemberRole
from events.refusals import Refusal, RefusalCode, Refused
from events.scopes import EVERYTHING, covers, missing, reserved_among

FRESH_FOR: Final = timedelta(minutes=10)
"""How long a password counts as entered lately."""


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


class SessionRequiredError(Exception):
    """This is for a member, in the member's own session."""


class ReauthenticationRequiredError(Exception):
    """This needs a password that was entered lately, which only a member has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSession:
    """The session that a member acts in."""

    id: str
    role: MemberRole
    authenticated_at: datetime
    """When the member's password was entered last."""
    must_change_password: bool

    @property
    def reauthenticated_until(self) -> datetime:
        """Say until when the password counts as entered lately."""
        return self.authenticated_at + FRESH_FOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is acting, verified: a token or a member of an organization, or the operator at the host."""

    actor: Actor
    organization: str
    scopes: tuple[str, ...]
    session: MemberSession | None = None
    """Of a member."""

    @property
    def view(self) -> tuple[tuple[str, ...], str | None]:
        """Equal for principals of an organization that may see the same: who may not see all tokens sees its own."""
        return self.scopes, None if covers(self.scopes, "tokens:read") else self.actor.id

    @property
    def acting(self) -> str | None:
        """Name the authority that the log checks again when it takes a command: a token, or a session and its role."""
        if self.session is not None:
            return f"{self.session.id}:{self.session.role}"
        return self.actor.id if self.actor.kind is ActorKind.TOKEN else None

    def require(self, scope: str) -> None:
        """Raise ForbiddenError unless the scope is held."""
        if not covers(self.scopes, scope):
            raise ForbiddenError(scope)

    def require_session(self) -> MemberSession:
        """Raise SessionRequiredError unless this is a member in a session."""
        if self.session is None:
            raise SessionRequiredError("only a member can do this, in a session of their own")
        return self.session

    def require_fresh(self, now: datetime) -> None:
        """Raise ReauthenticationRequiredError unless this is a member whose password was entered lately."""
        if self.session is None:
            raise ReauthenticationRequiredError("only a member can do this, who has entered the password lately")
        if now >= self.session.reauthenticated_until:
            raise ReauthenticationRequiredError("enter your password again: use reauthenticate")

    def hold_back(self, carried: Iterable[str], field: str) -> Refused | None:
        """Refuse to grant, or to hand over in a secret, scopes that the principal does not hold itself.

        A token has to hold all of them. To a member those of the relying services are free to give.
        """
        lacking = missing(self.scopes, carried if self.session is None else reserved_among(carried))
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


def member_principal(member_id: str, organization: str, session: MemberSession) -> Principal:
    """Act as a member whose session was verified; one whose password must be changed may do nothing before."""
    return Principal(
        actor=Actor(kind=ActorKind.MEMBER, id=member_id),
        organization=organization,
        scopes=() if session.must_change_password else ROLE_SCOPES[session.role],
        session=session,
    )
