"""What members may do about themselves and each other, and what only the operator may do to them.

Every entrance goes through here. Must never touch another organization's member: to its caller that one does not exist;
nor tell an address that is nobody's from a wrong password, by its answer or by the time it takes.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from events.batch import ActorRestricted
from events.identifiers import prefix_of
from events.members import (
    CHANGES_OWNERS,
    ROLE_SCOPES,
    AddMember,
    ChangeMemberRole,
    ChangePassword,
    MemberRole,
    Members,
    RemoveMember,
    SignedIn,
    SignedOut,
)
from events.names import name_problems
from events.refusals import Refusal, RefusalCode, Refused, invalid
from events.scopes import covers
from events.statement import Pool, load
from projections.organizations import find_organization
from service.authorization import Caller, MemberSession, Principal, RestrictedError, operator
from service.availability import UNAVAILABLE, is_unavailable
from service.barrier import Fence
from service.credential import MemberCredential
from service.enforcement import Enforcer
from service.failed_sign_ins import FailedSignIns
from service.member_decisions import Change, MemberDecisions, MemberDone, Rows
from service.member_sessions import NewSession, SessionKeys, SessionStart
from service.metrics import SignIn, SignInCounts
from service.passwords import Passwords, Terms, kept_of, normalised, one_time_password, password_row, problem_with
from service.people import Person, address_key, address_problems, find_address, forget_person, person_row
from service.secret_text import SecretText
from service.throttle import Charged, RateLimitedError, Throttle
from service.turnstile import Turnstile
from service.vault import Keys

FIND_SIGN_IN: Final = load("service.statements", "find_sign_in")
FIND_OWN_PASSWORD: Final = load("service.statements", "find_own_password")
FIND_ORGANIZATION_OF_PERSON: Final = load("service.statements", "find_organization_of_person")
ONE_TIME_PASSWORD_LASTS: Final = timedelta(days=7)
WRONG: Final = Refused(
    (
        Refusal(
            code=RefusalCode.WRONG_CREDENTIALS,
            message="the address or the password is wrong; if the address belongs to several organizations, say which",
        ),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A session that began, or goes on under another id: what goes into the cookie, and whose it is."""

    cookie: SecretText
    credential: MemberCredential
    enforcement: Fence | None = None
    """How the end of what it replaces reached every process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCommands:
    """The commands on members and what they need."""

    pool: Pool
    decisions: MemberDecisions
    keys: Keys
    passwords: Passwords
    sessions: SessionKeys
    throttle: Throttle
    failed: FailedSignIns
    counts: SignInCounts
    turnstile: Turnstile

    def enforced_by(self, enforcer: Enforcer) -> "MemberCommands":
        """Give the same commands, answered when what they restrict is known to every process that verifies."""
        return replace(self, decisions=replace(self.decisions, enforcer=enforcer))

    # The door

    async def sign_in(
        self,
        email: str,
        password: SecretText,
        *,
        organization_id: str | None = None,
        address: str | None = None,
        request_id: str | None = None,
    ) -> Entered | Refused:
        """Begin a session. Raises RateLimitedError, and what is not available."""
        key = address_key(email)
        async with self._try(("sign in", organization_id or "", key), address) as charged:
            found = await self._find_sign_in(key, organization_id)
            matches = await self.passwords.matches(password, None if found is None else kept_of(found))
            if found is None or not matches or found["is_expired"]:
                return self._wrong(found, address, matches=matches)
            entered = await self._begin(found, password, address=address, request_id=request_id)
            if entered is None:  # the password was changed, or the member removed, while this one was verified
                return self._wrong(found, address, matches=matches)
            await self._succeeded(charged)
            return entered

    async def sign_out(self, caller: Caller, *, everywhere: bool = False) -> MemberDone:
        """End the session that this is asked in, or all of the member's. Raises SessionRequiredError."""
        session = caller.principal.require_session()
        member_id = caller.principal.actor.id
        ended = {"member_id": member_id, "session_id": None if everywhere else session.id}
        rows: Rows = {"people_ended_sessions": [ended]}
        if everywhere:
            rows["people_signed_out"] = [{"member_id": member_id}]
        event = SignedOut(member_id=member_id, everywhere=everywhere)
        return await self._observed(event, caller, rows)

    async def reauthenticate(self, caller: Caller, password: SecretText) -> Entered | Refused:
        """Enter the password again: the session goes on under another id. Raises as `sign_in`, and as `sign_out`."""
        session = caller.principal.require_session()
        async with self._try(("member", caller.principal.actor.id), caller.address) as charged:
            found = await self._own_password(caller, password, field="password")
            if isinstance(found, Refused):
                return found
            made = self._make(found, generation=found["generation"], started_at=found["started_at"])
            rows: Rows = {
                "people_ended_sessions": [{"member_id": found["member_id"], "session_id": session.id}],
                "people_sessions": [made.row],
            }
            done = await self._observed(SignedIn(member_id=found["member_id"]), caller, rows)
            await self._succeeded(charged)
        return entered(made, session, must_change=session.must_change_password, done=done)

    async def change_password(self, caller: Caller, *, current: SecretText, new: SecretText) -> Entered | Refused:
        """Replace the password: other sessions end, this one goes on under another id. Raises as `reauthenticate`."""
        session = caller.principal.require_session()
        async with self._try(("member", caller.principal.actor.id), caller.address) as charged:
            found = await self._own_password(caller, current, field="currentPassword")
            if isinstance(found, Refused):
                return found
            if (problem := await self._problem_with(new, found, current)) is not None:
                await self._succeeded(charged)
                return Refused((invalid("newPassword", problem),))
            made, done = await self._replace_password(caller, found, new)
            await self._succeeded(charged)
        if isinstance(done, Refused):
            return done
        return entered(made, session, must_change=False, done=done)

    # Members

    async def add(self, caller: Caller, *, email: str, name: str, role: MemberRole) -> MemberDone | Refused:
        """Make a person a member; the answer holds a one-time password, here and never again."""
        principal = caller.principal
        principal.require("members:write")
        person = Person(member_id=self.decisions.new_id("mem"), email=email, name=name)
        if problems := (*address_problems("email", email), *name_problems("name", name)):
            return Refused(problems)

        async def check(_: Members) -> Refused | None:
            # The stream of members is the lock: who adds the same address at the same time is told of a conflict.
            if (refused := principal.hold_back(ROLE_SCOPES[role], "role")) is not None:
                return refused
            is_taken = await find_address(self.pool, principal.organization, email) is not None
            return taken() if is_taken else None

        if (refused := await check({})) is not None:  # before the hash is paid for
            return refused
        command = AddMember(member_id=person.member_id, role=role)
        rows: Rows = {"people_new": [person_row(person, principal.organization)]}
        return await self._with_new_password(Change(caller=caller, command=command, rows=rows, check=check))

    async def change_role(self, caller: Caller, *, member_id: str, role: MemberRole) -> MemberDone | Refused:
        """Give a member another role."""
        principal = caller.principal
        principal.require("members:write")

        async def check(state: Members) -> Refused | None:
            return refuse_owners(principal, state, member_id) or principal.hold_back(ROLE_SCOPES[role], "role")

        command = ChangeMemberRole(member_id=member_id, role=role)
        return await self.decisions.carry_out(Change(caller=caller, command=command, check=check))

    async def remove(self, caller: Caller, *, member_id: str) -> MemberDone | Refused:
        """End a membership: the member's sessions end, and the address is free again."""
        principal = caller.principal
        principal.require("members:write")

        async def check(state: Members) -> Refused | None:
            return refuse_owners(principal, state, member_id)

        rows: Rows = {
            "people_ended_sessions": [{"member_id": member_id, "session_id": None}],
            "people_removed": [{"member_id": member_id}],
        }
        command = RemoveMember(member_id=member_id)
        return await self.decisions.carry_out(Change(caller=caller, command=command, rows=rows, check=check))

    # The operator's

    async def create(self, organization_id: str, *, email: str, name: str, role: MemberRole) -> MemberDone | Refused:
        """Make a person a member of an organization that exists."""
        return await self.add(operator(organization_id), email=email, name=name, role=role)

    async def reset_password(self, member_id: str) -> MemberDone | Refused:
        """Give a member a new one-time password; the sessions end. The answer holds it, here and never again."""
        organization = None
        if prefix_of(member_id) == "mem":
            organization = await self.pool.fetchval(FIND_ORGANIZATION_OF_PERSON.text, member_id)
        if organization is None:
            return no_member()
        rows: Rows = {"people_ended_sessions": [{"member_id": member_id, "session_id": None}]}
        command = ChangePassword(member_id=member_id)
        return await self._with_new_password(Change(caller=operator(organization), command=command, rows=rows))

    async def forget(self, member_id: str) -> Refused | None:
        """Erase the name and the address of a member who was removed."""
        if prefix_of(member_id) != "mem" or not await forget_person(self.pool, member_id):
            return no_member("there is no former member of that id whose name is known: remove the member first")
        return None

    # What they are made of

    @asynccontextmanager
    async def _try(self, account: Sequence[str], address: str | None) -> AsyncIterator[Charged]:
        """Count a try before anything is hashed; take it back if it could not be made. Raises RateLimitedError."""
        charged: Charged | None = None
        try:
            async with self.turnstile.passed():
                charged = await self.throttle.charge(account, address)
                yield charged
        except RateLimitedError:
            self.counts.count(SignIn.THROTTLED)
            raise
        except Exception as error:
            if is_unavailable(error):
                self.counts.count(SignIn.UNAVAILABLE)
                if charged is not None:
                    with suppress(*UNAVAILABLE):
                        await self.throttle.undo(charged)
            raise

    async def _succeeded(self, charged: Charged) -> None:
        self.counts.count(SignIn.SUCCEEDED)
        # It is done by now: that tries stay counted which should not is no reason to say that it failed.
        with suppress(*UNAVAILABLE):
            await self.throttle.succeeded(charged)

    async def _find_sign_in(self, key: str, organization_id: str | None) -> asyncpg.Record | None:
        """Find the one member whose address it is."""
        is_known_form = organization_id is None or prefix_of(organization_id) == "org"
        rows = await self.pool.fetch(FIND_SIGN_IN.text, key, organization_id if is_known_form else "")
        return rows[0] if len(rows) == 1 else None

    def _wrong(self, found: asyncpg.Record | None, address: str | None, *, matches: bool) -> Refused:
        """Count a failure; one answer for all of them."""
        outcome = SignIn.UNKNOWN_ADDRESS
        if found is not None:
            outcome = SignIn.OUTDATED if matches else SignIn.WRONG_PASSWORD
            self.failed.record(found["member_id"], found["organization"], address)
        self.counts.count(outcome)
        return WRONG

    async def _begin(
        self, found: asyncpg.Record, password: SecretText, *, address: str | None, request_id: str | None
    ) -> Entered | None:
        """Append that a member signed in, with the session; None where the password is another by then."""
        kept, generation = kept_of(found), found["generation"]
        with self.keys.writing():
            made = self._make(found, generation=generation, started_at=None)
            rows: Rows = {"people_sessions": [made.row]}
            if self.passwords.is_outdated(kept):
                kept = await self.passwords.keep(password, kept.terms)
                rows["people_rehashed"] = [password_row(kept, generation=generation)]
            credential = credential_of(made, MemberRole(found["role"]), must_change=found["must_change"])
            caller = Caller(principal=credential.principal, address=address, request_id=request_id)
            event = SignedIn(member_id=credential.member_id)
            acting = f"{credential.member_id}:{generation}"
            outcome = await self.decisions.observe(event, caller, rows, acting=acting, is_restricting=False)
        return None if isinstance(outcome, ActorRestricted) else Entered(cookie=made.secret, credential=credential)

    async def _own_password(self, caller: Caller, password: SecretText, *, field: str) -> asyncpg.Record | Refused:
        """Verify the password of the member whose session it is. Raises RestrictedError where that has ended."""
        principal = caller.principal
        found = await self.pool.fetchrow(FIND_OWN_PASSWORD.text, principal.require_session().id, principal.actor.id)
        if found is None:
            raise RestrictedError("the session has ended")
        matches = await self.passwords.matches(password, kept_of(found))
        if matches and not found["is_expired"]:
            return found
        self._wrong(found, caller.address, matches=matches)
        message = "is wrong"
        return Refused((Refusal(code=RefusalCode.WRONG_CREDENTIALS, message=message, field=("input", field)),))

    async def _problem_with(self, new: SecretText, found: asyncpg.Record, current: SecretText) -> str | None:
        organization = await find_organization(self.pool, found["organization"])
        known = [found["email"], found["email"].partition("@")[0], found["name"]]
        if organization is not None:
            known.append(organization.name)
        if normalised(new) == normalised(current):
            return "is the password that you have: choose another"
        return problem_with(new, known)

    async def _observed(self, event: SignedIn | SignedOut, caller: Caller, rows: Rows) -> MemberDone:
        """Append what ends a session, and wait until every process knows. Raises RestrictedError."""
        acting = caller.principal.acting
        outcome = await self.decisions.observe(event, caller, rows, acting=acting, is_restricting=True)
        if isinstance(outcome, ActorRestricted):
            raise RestrictedError("the session has ended")
        done = MemberDone(member_id=event.member_id, position=None)
        return replace(done, enforcement=await self.decisions.enforce(event.member_id, is_new=True))

    async def _with_new_password(self, change: Change) -> MemberDone | Refused:
        """Carry out what gives a member a one-time password."""
        terms = Terms(
            organization=change.caller.principal.organization,
            member_id=change.command.member_id,
            must_change=True,
            expires_at=self.decisions.clock() + ONE_TIME_PASSWORD_LASTS,
        )
        password = one_time_password(self.decisions.random_bytes)
        with self.keys.writing():
            kept = await self.passwords.keep(password, terms)
            rows: Rows = {**change.rows, "people_passwords": [password_row(kept, generation=1)]}
            done = await self.decisions.carry_out(replace(change, rows=rows))
        return done if isinstance(done, Refused) else replace(done, one_time_password=password)

    async def _replace_password(
        self, caller: Caller, found: asyncpg.Record, new: SecretText
    ) -> tuple[NewSession, MemberDone | Refused]:
        terms = Terms(organization=found["organization"], member_id=found["member_id"])
        generation = found["generation"] + 1
        with self.keys.writing():
            kept = await self.passwords.keep(new, terms)
            made = self._make(found, generation=generation, started_at=found["started_at"])
            rows: Rows = {
                "people_ended_sessions": [{"member_id": terms.member_id, "session_id": None}],
                "people_passwords": [password_row(kept, generation=generation)],
                "people_sessions": [made.row],
            }
            command = ChangePassword(member_id=terms.member_id)
            return made, await self.decisions.carry_out(Change(caller=caller, command=command, rows=rows))

    def _make(self, found: asyncpg.Record, *, generation: int, started_at: datetime | None) -> NewSession:
        now = self.decisions.clock()
        start = SessionStart(
            member_id=found["member_id"],
            organization=found["organization"],
            generation=generation,
            started_at=started_at or now,
            authenticated_at=now,
        )
        return self.sessions.make(start)


def credential_of(made: NewSession, role: MemberRole, *, must_change: bool) -> MemberCredential:
    """Say what a session that was just made proves."""
    start = made.start
    session = MemberSession(
        id=made.id, role=role, authenticated_at=start.authenticated_at, must_change_password=must_change
    )
    return MemberCredential(member_id=start.member_id, organization=start.organization, session=session)


def entered(made: NewSession, before: MemberSession, *, must_change: bool, done: MemberDone) -> Entered:
    """Say how a session goes on under another id."""
    credential = credential_of(made, before.role, must_change=must_change)
    return Entered(cookie=made.secret, credential=credential, enforcement=done.enforcement)


def refuse_owners(principal: Principal, state: Members, member_id: str) -> Refused | None:
    """Refuse to change an owner, unless that is held."""
    member = state.get(member_id)
    if member is None or member.role is not MemberRole.OWNER or covers(principal.scopes, CHANGES_OWNERS):
        return None
    message = f"is an owner: to change owners takes the scope {CHANGES_OWNERS}"
    return Refused((Refusal(code=RefusalCode.SCOPE_NOT_HELD, message=message, field=("input", "id")),))


def taken() -> Refused:
    """Refuse an address that another member of the organization has."""
    message = "is the address of another member"
    return Refused((Refusal(code=RefusalCode.TAKEN, message=message, field=("input", "email")),))


def no_member(message: str = "there is no such member") -> Refused:
    """Refuse because there is no such member."""
    return Refused((Refusal(code=RefusalCode.NOT_FOUND, message=message, field=("input", "id")),))
