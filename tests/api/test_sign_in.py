"""Signing in and out: sessions begin, go on under other ids and end; what is wrong is answered in one way."""

import asyncio
import os
from dataclasses import replace

import asyncpg
import pytest
from argon2 import PasswordHasher

from events.members import MemberRole
from events.refusals import Refused
from service.authorization import RestrictedError, SessionRequiredError, operator
from service.credential import Failure
from service.member_commands import WRONG, Entered
from service.passwords import Passwords
from service.secret_text import SecretText
from tests.api.conftest import Service, eventually
from tests.api.people import (
    PASSWORD,
    again,
    attempts_of,
    codes,
    commands,
    done,
    entered,
    goes_on,
    new_address,
    signed_in,
    someone,
    verified,
)
from tests.costs import CHEAP

pytestmark = pytest.mark.asyncio(loop_scope="session")

OTHER = SecretText("another password for tests")


async def test_a_first_sign_in_may_only_change_the_password(service: Service) -> None:
    """A one-time password begins a session without scopes; with a password of one's own it has the role's."""
    organization, email = await service.organization(), new_address()
    made = done(await commands(service).create(organization, email=email, name="Grace", role=MemberRole.OWNER))
    assert made.one_time_password is not None
    first = await signed_in(service, email, made.one_time_password.reveal())
    assert first.credential.session.must_change_password
    assert first.credential.principal.scopes == ()
    assert (await verified(service, first.cookie.reveal())).credential == first.credential
    member = await someone(service, MemberRole.OWNER)
    assert (await verified(service, member.cookie)).credential == member.entered.credential
    assert member.caller.principal.scopes == ("*:*",)


async def test_a_session_has_the_scopes_of_its_role_now(service: Service) -> None:
    """A session acts in the role that its member has when it acts, not in that of the sign-in."""
    member = await someone(service, MemberRole.AUDITOR)
    assert "events:read" in member.caller.principal.scopes
    caller = operator(member.organization)
    done(await commands(service).change_role(caller, member_id=member.id, role=MemberRole.MEMBER))
    now = (await verified(service, member.cookie)).credential
    assert now is not None
    assert now.session.role is MemberRole.MEMBER
    assert "events:read" not in now.principal.scopes


async def test_each_sign_in_has_an_id_and_a_cookie_of_its_own(service: Service) -> None:
    """Two sign-ins of a member are two sessions, and ending one leaves the other."""
    member = await someone(service)
    other = await again(service, member)
    assert other.cookie != member.cookie
    assert other.entered.credential.session.id != member.entered.credential.session.id
    await commands(service).sign_out(member.caller)
    assert not await goes_on(service, member.cookie)
    assert await goes_on(service, other.cookie)


async def test_an_address_is_the_same_in_any_case(service: Service) -> None:
    """An address is recognised however it is written, and the password is not."""
    member = await someone(service)
    assert (await signed_in(service, member.email.upper(), PASSWORD)).credential.member_id == member.id
    assert codes(await commands(service).sign_in(member.email, SecretText(PASSWORD.upper()))) == ["WRONG_CREDENTIALS"]


async def test_one_answer_for_all_that_is_wrong(service: Service) -> None:
    """An unknown address, a wrong password, a removed member, an expired password, no organization: the same answer."""
    members = [await someone(service) for _ in range(3)]
    expired, removed, known = members
    await commands(service).remove(operator(removed.organization), member_id=removed.id)
    reset = done(await commands(service).reset_password(expired.id))
    assert reset.one_time_password is not None
    await service.sql("update passwords set expires_at = now() - interval '1 second' where member_id = $1", expired.id)
    wrong, right = SecretText("a wrong password"), SecretText(PASSWORD)
    nobody = await service.organization()
    for answer in (
        await commands(service).sign_in(new_address(), right),
        await commands(service).sign_in("no address", right),
        await commands(service).sign_in("nul@\0.example\ud800", right),
        await commands(service).sign_in("x" * 100_000, right),
        await commands(service).sign_in(known.email, wrong),
        await commands(service).sign_in(known.email, SecretText("")),
        await commands(service).sign_in(known.email, SecretText("x" * 100_000)),
        await commands(service).sign_in(known.email, right, organization_id=nobody),
        await commands(service).sign_in(known.email, right, organization_id="no organization\0"),
        await commands(service).sign_in(removed.email, right),
        await commands(service).sign_in(expired.email, reset.one_time_password),
        await commands(service).sign_in(expired.email, right),
    ):
        assert answer is WRONG


async def test_an_expired_one_time_password_begins_no_session(service: Service) -> None:
    """Seven days after it was made a one-time password is worth nothing, whatever else is right."""
    organization, email = await service.organization(), new_address()
    made = done(await commands(service).create(organization, email=email, name="Grace", role=MemberRole.OWNER))
    assert made.one_time_password is not None
    (row,) = await service.sql("select expires_at - now() as lasts from passwords where member_id = $1", made.member_id)
    assert 6.99 < row["lasts"].total_seconds() / 86_400 <= 7


async def test_one_address_in_two_organizations(service: Service) -> None:
    """Who has an account in two organizations says which; who does not is told nothing."""
    first = await someone(service)
    second = await service.organization()
    made = done(await commands(service).create(second, email=first.email, name="Twice", role=MemberRole.OWNER))
    assert made.one_time_password is not None
    assert await commands(service).sign_in(first.email, SecretText(PASSWORD)) is WRONG
    there = await signed_in(service, first.email, PASSWORD, organization_id=first.organization)
    assert there.credential.member_id == first.id
    elsewhere = await signed_in(service, first.email, made.one_time_password.reveal(), organization_id=second)
    assert elsewhere.credential.organization == second


async def test_signing_out_everywhere_ends_every_session(service: Service) -> None:
    """All sessions of the member end, on the answer, and nobody else's."""
    member, bystander = await someone(service), await someone(service)
    sessions = [await again(service, member) for _ in range(3)]
    answer = await commands(service).sign_out(member.caller, everywhere=True)
    assert answer.enforcement is not None
    assert answer.enforcement.processes == answer.enforcement.acknowledged == 1
    for one in (member, *sessions):
        assert not await goes_on(service, one.cookie)
    assert await goes_on(service, bystander.cookie)
    assert await goes_on(service, (await again(service, member)).cookie)


async def test_a_session_that_ended_does_nothing_more(service: Service) -> None:
    """What a session asks for that has ended meanwhile is refused at the log, whatever was verified before."""
    member = await someone(service, MemberRole.OWNER)
    await commands(service).sign_out(member.caller)
    calls = [
        commands(service).sign_out(member.caller),
        commands(service).sign_out(member.caller, everywhere=True),
        commands(service).reauthenticate(member.caller, SecretText(PASSWORD)),
        commands(service).change_password(member.caller, current=SecretText(PASSWORD), new=OTHER),
        commands(service).add(member.caller, email=new_address(), name="x", role=MemberRole.MEMBER),
        commands(service).change_role(member.caller, member_id=member.id, role=MemberRole.MEMBER),
    ]
    before = await service.decided(member.organization)
    for call in calls[:5]:
        with pytest.raises(RestrictedError):
            await call
    assert codes(await calls[5]) == ["LAST_OWNER"]
    assert await service.decided(member.organization) == before


async def test_re_authentication_gives_another_id(service: Service) -> None:
    """The session goes on under another id and cookie, from the same start; the old cookie is nothing any more."""
    member = await someone(service)
    before = await session_row(service, member.entered)
    renewed = entered(await commands(service).reauthenticate(member.caller, SecretText(PASSWORD)))
    after = await session_row(service, renewed)
    assert not await goes_on(service, member.cookie)
    assert (await verified(service, renewed.cookie.reveal())).credential == renewed.credential
    assert after["started_at"] == before["started_at"]
    assert after["authenticated_at"] > before["authenticated_at"]
    assert renewed.credential.session.id != member.entered.credential.session.id


async def test_a_wrong_password_re_authenticates_nobody(service: Service) -> None:
    """The session goes on as it was, and the failure is counted against the member."""
    member = await someone(service)
    answer = await commands(service).reauthenticate(member.caller, SecretText("a wrong password"))
    assert codes(answer) == ["WRONG_CREDENTIALS"]
    answer = await commands(service).change_password(member.caller, current=SecretText("wrong"), new=OTHER)
    assert codes(answer) == ["WRONG_CREDENTIALS"]
    assert await goes_on(service, member.cookie)
    assert await attempts_of(service, member.id) == 2


async def test_a_change_of_password_ends_all_other_sessions(service: Service) -> None:
    """The own session goes on under another id; the others end, and so does the old password."""
    member = await someone(service)
    other = await again(service, member)
    answer = entered(await commands(service).change_password(member.caller, current=SecretText(PASSWORD), new=OTHER))
    assert answer.enforcement is not None
    assert not await goes_on(service, member.cookie)
    assert not await goes_on(service, other.cookie)
    assert await goes_on(service, answer.cookie.reveal())
    assert await commands(service).sign_in(member.email, SecretText(PASSWORD)) is WRONG
    assert await goes_on(service, (await signed_in(service, member.email, OTHER.reveal())).cookie.reveal())


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("short", "has 12 to 256 characters"),
        ("x" * 257, "has 12 to 256 characters"),
        ("qwertyuiop123", "is one of the commonest passwords: choose another"),
        (PASSWORD, "is the password that you have: choose another"),
        ("some one", "has 12 to 256 characters"),
    ],
)
async def test_a_password_that_is_not_acceptable_changes_nothing(service: Service, new: str, message: str) -> None:
    """The refusal says what would be right, and the session and the password stay as they are."""
    member = await someone(service)
    answer = await commands(service).change_password(member.caller, current=SecretText(PASSWORD), new=SecretText(new))
    assert isinstance(answer, Refused)
    (refusal,) = answer.refusals
    assert (refusal.code.value, refusal.field, refusal.message) == ("INVALID", ("input", "newPassword"), message)
    assert await goes_on(service, member.cookie)


async def test_the_own_address_and_organization_are_no_passwords(service: Service) -> None:
    """A member's address and the organization's name are known to others."""
    member = await someone(service)
    (row,) = await service.sql("select name from organizations where id = $1", member.organization)
    for known in (member.email, member.email.upper(), row["name"]):
        answer = await commands(service).change_password(
            member.caller, current=SecretText(PASSWORD), new=SecretText(known)
        )
        assert codes(answer) == ["INVALID"]


async def test_a_token_has_no_session(service: Service) -> None:
    """What is done in one's own session is nothing that a token or the operator could do."""
    caller = operator(await service.organization())
    with pytest.raises(SessionRequiredError):
        await commands(service).sign_out(caller)
    with pytest.raises(SessionRequiredError):
        await commands(service).reauthenticate(caller, SecretText(PASSWORD))
    with pytest.raises(SessionRequiredError):
        await commands(service).change_password(caller, current=SecretText(PASSWORD), new=OTHER)


async def test_a_cookie_is_never_adopted(service: Service) -> None:
    """What a browser presents that was never a session begins none, before a sign-in and after."""
    planted = "A" * 43
    assert (await verified(service, planted)).failure is Failure.UNKNOWN
    member = await someone(service)
    assert member.cookie != planted
    assert (await verified(service, planted)).failure is Failure.UNKNOWN
    for junk in ("", "A" * 42, "A" * 44, "é" * 43, "A" * 42 + "=", member.cookie + "A", member.cookie[:-1]):
        assert (await verified(service, junk)).failure is Failure.MALFORMED


async def test_idle_and_old_sessions_end(service: Service) -> None:
    """Half an hour without use ends a session, and so do twelve hours, however much it is used."""
    for column, ago in (("last_seen_at", "30 minutes 1 second"), ("last_seen_at", "13 hours")):
        member = await someone(service)
        await service.sql(
            f"update member_sessions set {column} = now() - interval '{ago}' where id = $1",
            member.entered.credential.session.id,
        )
        assert (await verified(service, member.cookie)).failure is Failure.EXPIRED
    member = await someone(service)
    await service.sql(
        "update member_sessions set last_seen_at = now() - interval '29 minutes 58 seconds' where id = $1",
        member.entered.credential.session.id,
    )
    assert await goes_on(service, member.cookie)

    async def ended() -> bool:
        return not await goes_on(service, member.cookie)

    assert await eventually(ended)  # also where it is remembered: the time is up in two seconds


async def test_use_keeps_a_session(service: Service) -> None:
    """A session that is used is noted as used, at once after a pause; one that was idle too long is not revived."""
    sessions = service.entrances.verifying.member_sessions
    used, idle = await someone(service), await someone(service)
    for member, ago in ((used, "20 minutes"), (idle, "31 minutes")):
        session_id = member.entered.credential.session.id
        await service.sql(
            f"update member_sessions set last_seen_at = now() - interval '{ago}' where id = $1", session_id
        )
        sessions.touch(member.entered.credential)

    async def noted() -> bool:
        query = "select now() - last_seen_at < interval '1 minute' as noted from member_sessions where id = $1"
        (row,) = await service.sql(query, used.entered.credential.session.id)
        noted: bool = row["noted"]
        return noted

    assert await eventually(noted)
    assert await goes_on(service, used.cookie)
    assert not await goes_on(service, idle.cookie)


async def test_a_sign_in_that_races_a_change_leaves_no_live_session(service: Service) -> None:
    """However a sign-in and a reset of the password, or a removal, fall together, the old password opens nothing."""
    for number in range(6):
        member = await someone(service)
        ends = (
            commands(service).reset_password(member.id)
            if number % 2
            else commands(service).remove(operator(member.organization), member_id=member.id)
        )
        outcomes = await asyncio.gather(
            *(commands(service).sign_in(member.email, SecretText(PASSWORD)) for _ in range(3)), ends
        )
        for outcome in outcomes[:3]:
            if isinstance(outcome, Entered):
                assert not await goes_on(service, outcome.cookie.reveal())


async def test_a_sign_in_is_refused_at_the_log_when_the_password_is_another(service: Service) -> None:
    """What was verified before the change is not appended after it: the answer is that the password is wrong."""
    member = await someone(service)
    own = commands(service)
    found = await own._find_sign_in(member.email, None)
    assert found is not None
    await own.reset_password(member.id)
    before = await service.decided(member.organization)
    assert await own._begin(found, SecretText(PASSWORD), address=None, request_id=None) is None
    assert await service.decided(member.organization) == before


async def session_row(service: Service, of: Entered) -> asyncpg.Record:
    """Read the row of a session."""
    (row,) = await service.sql("select * from member_sessions where id = $1", of.credential.session.id)
    return row


async def test_a_password_is_hashed_anew_when_that_costs_more(service: Service) -> None:
    """A sign-in after the cost was raised replaces the verifier; no session ends by that."""
    member = await someone(service)
    own = commands(service)
    dearer = replace(CHEAP, hasher=PasswordHasher(time_cost=2, memory_cost=2048, parallelism=1))
    passwords = Passwords(lambda: service.entrances.core.keys.peppers, os.urandom, cost=dearer)
    entered(await replace(own, passwords=passwords).sign_in(member.email, SecretText(PASSWORD)))
    await passwords.close()
    (row,) = await service.sql("select verifier, generation from passwords where member_id = $1", member.id)
    assert "m=2048,t=2" in row["verifier"]
    assert await goes_on(service, member.cookie)
    assert await goes_on(service, (await again(service, member)).cookie)
    (row,) = await service.sql("select verifier from passwords where member_id = $1", member.id)
    assert "m=1024,t=1" in row["verifier"]


async def test_noting_use_waits_for_nobody(service: Service) -> None:
    """A session that somebody else holds locked is passed over, and the next one is noted all the same."""
    sessions = service.entrances.verifying.member_sessions
    held, free = await someone(service), await someone(service)
    ids = [member.entered.credential.session.id for member in (held, free)]
    await service.sql("update member_sessions set last_seen_at = now() - interval '9 minutes' where id = any ($1)", ids)
    async with service.owner() as owner, owner.transaction():
        await owner.execute("select from member_sessions where id = $1 for update", ids[0])
        for member in (held, free):
            sessions.touch(member.entered.credential)
        async with asyncio.timeout(5):
            await sessions.note_seen(everything=True)
            await sessions.forget_ended()
        rows = await owner.fetch(
            "select id from member_sessions where id = any ($1) and now() - last_seen_at < interval '1 minute'", ids
        )
    assert [row["id"] for row in rows] == ids[1:]


async def test_ended_sessions_are_deleted(service: Service) -> None:
    """The rows of sessions that are over are deleted now and then, and those that go on are not."""
    members = [await someone(service) for _ in range(3)]
    ids = [member.entered.credential.session.id for member in members]
    await service.sql("update member_sessions set last_seen_at = now() - interval '41 minutes' where id = $1", ids[0])
    await service.sql("update passwords set generation = generation + 1 where member_id = $1", members[1].id)
    await service.entrances.verifying.member_sessions.forget_ended()
    rows = await service.sql("select id from member_sessions where id = any ($1)", ids)
    assert [row["id"] for row in rows] == ids[2:]
