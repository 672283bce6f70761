"""People in the running service: made, signed in, and asked for as the web does."""

from dataclasses import dataclass, replace
from itertools import count

from events.members import MemberRole
from events.refusals import Refused
from service.authorization import Caller
from service.credential import MemberVerification
from service.member_commands import Entered, MemberCommands
from service.member_decisions import MemberDone
from service.secret_text import SecretText
from tests.api.conftest import Service

PASSWORD = "a password for the tests"
ADDRESS = "192.0.2.1"
numbers = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Someone:
    """A member, how to sign in, and the newest session."""

    id: str
    organization: str
    email: str
    password: str
    entered: Entered

    @property
    def cookie(self) -> str:
        """What a browser holds."""
        return self.entered.cookie.reveal()

    @property
    def caller(self) -> Caller:
        """Act as this member, in that session."""
        return Caller(principal=self.entered.credential.principal, address=ADDRESS)


def commands(service: Service) -> MemberCommands:
    """Give the commands as the entrances have them."""
    return service.entrances.services.members


def new_address() -> str:
    """Make an address that nobody has."""
    return f"person{next(numbers)}@example.com"


def done(outcome: MemberDone | Refused) -> MemberDone:
    """Take what was done."""
    assert isinstance(outcome, MemberDone), outcome
    return outcome


def entered(outcome: Entered | Refused) -> Entered:
    """Take the session that began."""
    assert isinstance(outcome, Entered), outcome
    return outcome


def codes(outcome: object) -> list[str]:
    """List why something was refused."""
    assert isinstance(outcome, Refused), outcome
    return [refusal.code.value for refusal in outcome.refusals]


async def signed_in(service: Service, email: str, password: str, **given: str) -> Entered:
    """Sign in."""
    return entered(await commands(service).sign_in(email, SecretText(password), **given))


async def someone(
    service: Service, role: MemberRole = MemberRole.MEMBER, *, organization: str | None = None
) -> Someone:
    """Make a member who has signed in and chosen a password."""
    organization = organization or await service.organization()
    email = new_address()
    made = done(await commands(service).create(organization, email=email, name="Some One", role=role))
    assert made.one_time_password is not None
    first = await signed_in(service, email, made.one_time_password.reveal())
    caller = Caller(principal=first.credential.principal, address=ADDRESS)
    own = entered(
        await commands(service).change_password(caller, current=made.one_time_password, new=SecretText(PASSWORD))
    )
    return Someone(id=made.member_id, organization=organization, email=email, password=PASSWORD, entered=own)


async def again(service: Service, member: Someone) -> Someone:
    """Sign in once more: another session of the same member."""
    return replace(member, entered=await signed_in(service, member.email, member.password))


async def verified(service: Service, cookie: str) -> MemberVerification:
    """Verify a cookie as the web does."""
    return await service.entrances.verifying.member_sessions.verify(cookie)


async def goes_on(service: Service, cookie: str) -> bool:
    """Say whether a cookie's session goes on."""
    return (await verified(service, cookie)).failure is None


async def attempts_of(service: Service, member_id: str) -> float:
    """Say how many failed tries in a member's own session are counted."""
    throttle = commands(service).throttle
    key = throttle._digest("account", "member", member_id)
    rows = await service.sql(
        "select extract(epoch from due_at - now())::float8 as due_s from sign_in_attempts where key = $1", key
    )
    return round(rows[0]["due_s"] / throttle._of_account.total_seconds()) if rows else 0
