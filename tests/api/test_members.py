"""Members: who may add, change and remove whom; one owner stays; what an organization has, no other one sees."""

import asyncio
from itertools import product

import pytest

from events.members import MemberRole
from events.refusals import Refused
from service.authorization import Caller, ForbiddenError, RestrictedError, operator, token_principal
from service.credential import Failure
from service.member_commands import WRONG
from service.member_decisions import MemberDone
from service.secret_text import SecretText
from tests.api.conftest import Service
from tests.api.people import (
    PASSWORD,
    Someone,
    again,
    codes,
    commands,
    done,
    goes_on,
    new_address,
    signed_in,
    someone,
    verified,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

OWNER, ADMIN, MEMBER, AUDITOR = MemberRole.OWNER, MemberRole.ADMIN, MemberRole.MEMBER, MemberRole.AUDITOR
ALLOWED = {
    OWNER: {OWNER, ADMIN, MEMBER, AUDITOR},
    ADMIN: {ADMIN, MEMBER, AUDITOR},
}
"""Which roles each role may give, change and take."""


async def add(service: Service, by: Caller, role: MemberRole, email: str | None = None) -> MemberDone | Refused:
    """Add a member."""
    return await commands(service).add(by, email=email or new_address(), name="New One", role=role)


@pytest.mark.parametrize(("by", "role"), [*product(MemberRole, MemberRole)])
async def test_who_may_add_whom(service: Service, by: MemberRole, role: MemberRole) -> None:
    """Owners add anybody, admins anybody but owners, the others nobody; what is refused appends nothing."""
    owner = await someone(service, OWNER)
    actor = await someone(service, by, organization=owner.organization)
    before = await service.decided(owner.organization)
    if by not in ALLOWED:
        with pytest.raises(ForbiddenError):
            await add(service, actor.caller, role)
    elif role not in ALLOWED[by]:
        assert codes(await add(service, actor.caller, role)) == ["SCOPE_NOT_HELD"]
    else:
        made = done(await add(service, actor.caller, role))
        assert await service.decided(owner.organization) == [*before, ("MemberAdded", made.member_id)]
        return
    assert await service.decided(owner.organization) == before


@pytest.mark.parametrize(("by", "role", "target"), [*product((OWNER, ADMIN, MEMBER), MemberRole, MemberRole)])
async def test_who_may_change_whom(service: Service, by: MemberRole, role: MemberRole, target: MemberRole) -> None:
    """Neither does an admin touch an owner nor make one, whatever the other role is."""
    owner = await someone(service, OWNER)
    actor = owner if by is OWNER else await someone(service, by, organization=owner.organization)
    made = done(await add(service, operator(owner.organization), target))
    if by not in ALLOWED:
        with pytest.raises(ForbiddenError):
            await commands(service).change_role(actor.caller, member_id=made.member_id, role=role)
        with pytest.raises(ForbiddenError):
            await commands(service).remove(actor.caller, member_id=made.member_id)
        return
    outcome = await commands(service).change_role(actor.caller, member_id=made.member_id, role=role)
    if target in ALLOWED[by] and role in ALLOWED[by]:
        assert done(outcome).position is not None or role is target
    else:
        assert codes(outcome) == ["SCOPE_NOT_HELD"]
    is_owner = OWNER in ({target} if isinstance(outcome, Refused) else {role})
    removal = await commands(service).remove(actor.caller, member_id=made.member_id)
    assert (codes(removal) == ["SCOPE_NOT_HELD"]) if by is ADMIN and is_owner else done(removal).position


async def test_a_token_gives_only_what_it_holds(service: Service) -> None:
    """A token with `members:write` adds a member only in a role all of whose scopes it has."""
    organization = await service.organization()
    narrow = Caller(principal=token_principal("tok_1", organization, ("members:write",)))
    wide = Caller(
        principal=token_principal(
            "tok_1", organization, ("members:*", "organization:read", "applications:*", "tokens:*")
        )
    )
    assert codes(await add(service, narrow, MEMBER)) == ["SCOPE_NOT_HELD"]
    assert codes(await add(service, wide, OWNER)) == ["SCOPE_NOT_HELD"]
    with pytest.raises(RestrictedError):  # the log knows no such token, and is asked last
        await add(service, wide, MEMBER)


async def test_the_last_owner_stays(service: Service) -> None:
    """The only owner is neither removed nor made anything else, by nobody; with a second one that is free to go."""
    owner = await someone(service, OWNER)
    for by in (owner.caller, operator(owner.organization)):
        assert codes(await commands(service).change_role(by, member_id=owner.id, role=ADMIN)) == ["LAST_OWNER"]
        assert codes(await commands(service).remove(by, member_id=owner.id)) == ["LAST_OWNER"]
    await someone(service, OWNER, organization=owner.organization)
    assert done(await commands(service).remove(owner.caller, member_id=owner.id)).enforcement is not None
    assert not await goes_on(service, owner.cookie)


async def test_two_owners_who_demote_each_other(service: Service) -> None:
    """However two owners fall upon each other, by change or removal, one of them stays an owner."""
    for number in range(8):
        first = await someone(service, OWNER)
        second = await someone(service, OWNER, organization=first.organization)

        async def fall(by: Someone, upon: Someone, how: int) -> None:
            try:
                if how:
                    await commands(service).remove(by.caller, member_id=upon.id)
                else:
                    await commands(service).change_role(by.caller, member_id=upon.id, role=AUDITOR)
            except RestrictedError:
                pass  # the other was faster

        await asyncio.gather(fall(first, second, number & 1), fall(second, first, number & 2))
        rows = await service.sql(
            "select id from members where organization = $1 and role = 'OWNER' and removed_at is null",
            first.organization,
        )
        assert len(rows) == 1


async def test_fifty_who_add_the_same_address(service: Service) -> None:
    """Of many who add one address at once, one succeeds, and the others are told that it is taken or to try again."""
    owner, email = await someone(service, OWNER), new_address()
    outcomes = await asyncio.gather(*(add(service, owner.caller, MEMBER, email) for _ in range(20)))
    made = [outcome for outcome in outcomes if isinstance(outcome, MemberDone)]
    assert len(made) == 1
    assert {code for outcome in outcomes if isinstance(outcome, Refused) for code in codes(outcome)} <= {
        "TAKEN",
        "CONFLICT",
    }
    rows = await service.sql("select member_id from people where email = $1", email)
    assert [row["member_id"] for row in rows] == [made[0].member_id]


async def test_an_address_is_taken_once_in_an_organization(service: Service) -> None:
    """In any case of its letters; it is free in another organization, and again when its member was removed."""
    owner = await someone(service, OWNER)
    member = await someone(service, organization=owner.organization)
    assert codes(await add(service, owner.caller, MEMBER, member.email.upper())) == ["TAKEN"]
    done(await add(service, operator(await service.organization()), MEMBER, member.email))
    done(await commands(service).remove(owner.caller, member_id=member.id))
    done(await add(service, owner.caller, MEMBER, member.email))


@pytest.mark.parametrize(
    ("email", "name", "fields"),
    [
        ("", "", ["email", "name"]),
        ("no address", "x", ["email"]),
        ("a@b@c", "x", ["email"]),
        ("@example.com", "x", ["email"]),
        ("x" * 65 + "@example.com", "x", ["email"]),
        ("a@" + "b." * 130 + "c", "x", ["email"]),
        ("a\0@example.com", "x", ["email"]),
        ("a\n@example.com", "x", ["email"]),
        ("a\u202e@example.com", "x", ["email"]),
        ("a@example.com", "x" * 101, ["name"]),
        ("a@example.com", "x\ny", ["name"]),
        ("a@example.com", "\u200b", ["name"]),
    ],
)
async def test_what_is_no_address_or_name_is_refused(
    service: Service, email: str, name: str, fields: list[str]
) -> None:
    """Every field that is wrong is named, and nothing is appended."""
    owner = await someone(service, OWNER)
    before = await service.decided(owner.organization)
    outcome = await commands(service).add(owner.caller, email=email, name=name, role=MEMBER)
    assert isinstance(outcome, Refused)
    assert [refusal.field for refusal in outcome.refusals] == [("input", field) for field in fields]
    assert await service.decided(owner.organization) == before


async def test_a_lower_role_reaches_every_process(service: Service) -> None:
    """Who may do less afterwards is answered with how that was enforced; a session acts in the new role at once."""
    owner = await someone(service, OWNER)
    member = await someone(service, ADMIN, organization=owner.organization)
    assert await goes_on(service, member.cookie)
    lowered = done(await commands(service).change_role(owner.caller, member_id=member.id, role=MEMBER))
    assert lowered.enforcement is not None
    now = (await verified(service, member.cookie)).credential
    assert now is not None
    assert now.session.role is MEMBER
    with pytest.raises(RestrictedError):  # verified as an admin before
        await add(service, member.caller, MEMBER)
    raised = done(await commands(service).change_role(owner.caller, member_id=member.id, role=ADMIN))
    assert raised.enforcement is None
    same = done(await commands(service).change_role(owner.caller, member_id=member.id, role=ADMIN))
    assert same.position is None


async def test_a_removed_member_is_gone(service: Service) -> None:
    """Sessions end on the answer, the password is no more, the name stays for who reads the history."""
    owner = await someone(service, OWNER)
    member = await someone(service, organization=owner.organization)
    other = await again(service, member)
    removed = done(await commands(service).remove(owner.caller, member_id=member.id))
    assert removed.enforcement is not None
    for cookie in (member.cookie, other.cookie):
        assert not await goes_on(service, cookie)
    assert await commands(service).sign_in(member.email, SecretText(PASSWORD)) is WRONG
    assert await service.sql("select from passwords where member_id = $1", member.id) == []
    assert len(await service.sql("select from people where member_id = $1 and is_removed", member.id)) == 1
    assert done(await commands(service).remove(owner.caller, member_id=member.id)).position is None
    assert codes(await commands(service).reset_password(member.id)) == ["NOT_FOUND"]
    assert codes(await commands(service).change_role(owner.caller, member_id=member.id, role=ADMIN)) == ["NOT_FOUND"]


async def test_another_organizations_member_does_not_exist(service: Service) -> None:
    """To change or remove one answers exactly as for an id that is nobody's, and changes nothing."""
    owner, stranger = await someone(service, OWNER), await someone(service)
    for member_id in (stranger.id, "mem_01jd0000000000000000000000", "tok_1", "", "mem_\0"):
        change = await commands(service).change_role(owner.caller, member_id=member_id, role=ADMIN)
        removal = await commands(service).remove(owner.caller, member_id=member_id)
        assert codes(change) == codes(removal) == ["NOT_FOUND"]
    assert await goes_on(service, stranger.cookie)


async def test_a_reset_ends_sessions_and_the_old_password(service: Service) -> None:
    """The operator's new one-time password is the only one from then on; the history says who did it."""
    member = await someone(service)
    reset = done(await commands(service).reset_password(member.id))
    assert reset.one_time_password is not None
    assert not await goes_on(service, member.cookie)
    assert await commands(service).sign_in(member.email, SecretText(PASSWORD)) is WRONG
    first = await signed_in(service, member.email, reset.one_time_password.reveal())
    assert first.credential.session.must_change_password
    (row,) = await service.sql(
        "select actor from events where subject = $1 and type = 'PasswordChanged' order by position desc limit 1",
        member.id,
    )
    assert row["actor"] == "operator"
    for nobody in ("mem_01jd0000000000000000000000", "tok_1", "", "\0"):
        assert codes(await commands(service).reset_password(nobody)) == ["NOT_FOUND"]


async def test_a_person_can_be_forgotten(service: Service) -> None:
    """Name and address of a former member are erased; a member's are not, and the history stays."""
    owner = await someone(service, OWNER)
    member = await someone(service, organization=owner.organization)
    assert codes(await commands(service).forget(member.id)) == ["NOT_FOUND"]
    done(await commands(service).remove(owner.caller, member_id=member.id))
    history = await service.decided(owner.organization)
    assert await commands(service).forget(member.id) is None
    assert await service.sql("select from people where member_id = $1", member.id) == []
    assert codes(await commands(service).forget(member.id)) == ["NOT_FOUND"]
    assert await service.decided(owner.organization) == history


async def test_failures_of_a_member_are_one_event(service: Service) -> None:
    """Failed sign-ins are folded, with the addresses they came from; of an unknown address there is no event at all."""
    member = await someone(service)
    own = commands(service)
    for address in ("192.0.2.7", "192.0.2.8", "192.0.2.7"):
        assert await own.sign_in(member.email, SecretText("a wrong password"), address=address) is WRONG
    assert await own.sign_in(new_address(), SecretText(PASSWORD), address="192.0.2.9") is WRONG
    await own.failed.flush(everything=True)
    (row,) = await service.sql(
        "select convert_from(entry, 'utf8')::jsonb -> 'payload' as payload, actor from events"
        " where type = 'SignInFailed' and organization = $1",
        member.organization,
    )
    assert '"count": 3' in row["payload"]
    assert '"ip_addresses": ["192.0.2.7", "192.0.2.8"]' in row["payload"]
    assert row["actor"] == "system"
    assert await service.sql("select from events where convert_from(entry, 'utf8') like '%192.0.2.9%'") == []


async def test_what_a_member_did_is_in_the_history(service: Service) -> None:
    """Who signed in, from where, changed the password and signed out is told by events, none of which has a name."""
    owner = await someone(service, OWNER)
    await commands(service).reauthenticate(owner.caller, SecretText(PASSWORD))
    last = await again(service, owner)
    await commands(service).sign_out(last.caller)
    await commands(service).sign_out((await again(service, owner)).caller, everywhere=True)
    history = await service.decided(owner.organization)
    assert [name for name, subject in history if subject == owner.id] == [
        "MemberAdded",
        "SignedIn",
        "PasswordChanged",
        "SignedIn",
        "SignedIn",
        "SignedOut",
        "SignedIn",
        "SignedOut",
    ]
    entries = await service.sql(
        "select convert_from(entry, 'utf8') as entry from events where organization = $1", owner.organization
    )
    told = " ".join(row["entry"] for row in entries)
    assert "192.0.2.1" in told
    for secret in (owner.email, "Some One", PASSWORD, owner.cookie, last.cookie):
        assert secret not in told


async def test_a_session_that_is_no_more_is_told_from_none(service: Service) -> None:
    """A session whose generation has passed while its row is still there is revoked."""
    member = await someone(service)
    await service.sql("update passwords set generation = generation + 1 where member_id = $1", member.id)
    assert (await verified(service, member.cookie)).failure is Failure.REVOKED
