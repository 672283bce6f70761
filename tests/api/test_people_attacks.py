"""Who has the database has no credential: not by reading it, nor by writing it. Nor does who asks very often."""

import asyncio
import hmac
import os
import resource
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from events.members import MemberRole
from service.authorization import operator
from service.credential import Failure
from service.hashing import Cost, HashingOverloadError, VerifierError
from service.keyring import KeyRing
from service.member_commands import WRONG, Entered
from service.member_sessions import SessionKeys
from service.passwords import MOST_WAITING, PLACES, PROCESSES, Passwords, kept_of
from service.secret_text import SecretText
from service.throttle import Limits, RateLimitedError, Throttle
from service.turnstile import Turnstile
from tests.api.conftest import Service
from tests.api.people import PASSWORD, again, commands, done, goes_on, new_address, someone, verified

pytestmark = pytest.mark.asyncio(loop_scope="session")

TABLES = ("people", "passwords", "member_sessions", "sign_in_attempts")
HUNGRY = Cost(
    hasher=PasswordHasher(time_cost=1, memory_cost=65_536, parallelism=4),
    most_memory_kib=131_072,
    most_passes=6,
    most_lanes=8,
)
"""As much memory as a password takes, for a third of the time."""


def forms(value: object) -> Iterator[str]:
    """Write a value of the database in the ways in which it could be presented."""
    if isinstance(value, bytes):
        yield value.hex()
        yield value.hex()[:43]
    yield str(value)


async def test_a_stolen_database_signs_nobody_in(service: Service) -> None:
    """Nothing that the tables hold is a cookie or a password, in any form; nor under another pepper."""
    member = await someone(service, MemberRole.OWNER)
    rows = {table: await service.sql(f"select * from {table}") for table in TABLES}
    values = {form for table in TABLES for row in rows[table] for value in row.values() for form in forms(value)}
    assert not values & {member.cookie, member.password}
    for value in values:
        assert (await verified(service, value)).failure in {Failure.MALFORMED, Failure.UNKNOWN}
    (row,) = [row for row in rows["passwords"] if row["member_id"] == member.id]
    passwords = commands(service).passwords
    for value in row.values():
        assert not await passwords.matches(SecretText(str(value)), kept_of(row))
    guessed = KeyRing({pepper_id: bytes(32) for pepper_id in service.entrances.core.keys.peppers.ids})
    stolen = Passwords(lambda: guessed, os.urandom)
    assert not await stolen.matches(SecretText(member.password), kept_of(row))
    await stolen.close()
    digests = SessionKeys(lambda: guessed, os.urandom).digests(member.cookie)
    assert not {bytes(row["digest"]) for row in rows["member_sessions"]} & set(digests)


COLUMNS: Mapping[str, str] = {
    "member_id": "(select id from members where id <> member_id and role = 'OWNER' limit 1)",
    "organization": "(select id from organizations where id <> organization limit 1)",
    "id": "'ses_01jd0000000000000000000000'",
    "generation": "generation + 1",
    "started_at": "started_at + interval '1 microsecond'",
    "authenticated_at": "authenticated_at + interval '1 microsecond'",
    "proof": "sha256(proof)",
}


@pytest.mark.parametrize("column", COLUMNS)
async def test_an_altered_session_is_none(service: Service, column: str) -> None:
    """Whichever column is altered, the cookie that was good is unknown: nobody's, and nobody else's."""
    await someone(service, MemberRole.OWNER)
    member = await someone(service)
    session_id = member.entered.credential.session.id
    await service.sql(f"update member_sessions set {column} = {COLUMNS[column]} where id = $1", session_id)
    assert (await verified(service, member.cookie)).failure is Failure.UNKNOWN


async def test_a_planted_session_is_none(service: Service) -> None:
    """A row that was copied, swapped or made up gives its maker no session of anybody."""
    victim, thief = await someone(service, MemberRole.OWNER), await someone(service)
    for of, digest_of in ((victim, thief), (thief, victim)):
        await service.sql(
            "insert into member_sessions select 'ses_' || md5(random()::text), sha256(d.digest), s.member_id,"
            " s.organization, s.generation, s.started_at, s.authenticated_at, s.last_seen_at, s.proof"
            " from member_sessions s, member_sessions d where s.id = $1 and d.id = $2",
            of.entered.credential.session.id,
            digest_of.entered.credential.session.id,
        )
    made_up, pepper = "B" * 43, bytes(32)
    await service.sql(
        "insert into member_sessions select 'ses_made_up', $2, s.member_id, s.organization, s.generation, s.started_at,"
        " s.authenticated_at, s.last_seen_at, $3 from member_sessions s where s.id = $1",
        victim.entered.credential.session.id,
        hmac.digest(pepper, made_up.encode(), "sha256"),
        bytes(32),
    )
    assert (await verified(service, made_up)).failure is Failure.UNKNOWN
    digest = "select digest from member_sessions where id = $1"
    (own,) = await service.sql(digest, thief.entered.credential.session.id)
    await service.sql("delete from member_sessions where id = $1", thief.entered.credential.session.id)
    await service.sql(
        "update member_sessions set digest = $2 where id = $1", victim.entered.credential.session.id, own["digest"]
    )
    assert (await verified(service, thief.cookie)).failure is Failure.UNKNOWN
    await service.sql("delete from member_sessions where id like 'ses_made%'")


async def test_a_planted_password_is_none(service: Service) -> None:
    """Neither a verifier of one's own, nor one made without the pepper, nor one of a former password signs in."""
    victim, thief = await someone(service, MemberRole.OWNER), await someone(service)
    (own,) = await service.sql("select verifier from passwords where member_id = $1", thief.id)
    plain = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(thief.password)
    for verifier in (own["verifier"], plain):
        await service.sql("update passwords set verifier = $2 where member_id = $1", victim.id, verifier)
        assert await commands(service).sign_in(victim.email, SecretText(thief.password)) is WRONG
    await service.sql("update passwords set verifier = '$argon2id$none' where member_id = $1", victim.id)
    with pytest.raises(VerifierError):
        await commands(service).sign_in(victim.email, SecretText(thief.password))
    await service.sql("delete from passwords where member_id = $1", victim.id)
    assert await commands(service).sign_in(victim.email, SecretText(victim.password)) is WRONG


@pytest.mark.parametrize(
    "alteration",
    ["must_change = false, expires_at = null", "expires_at = null", "expires_at = now() + interval '1 year'"],
)
async def test_a_one_time_password_cannot_be_made_to_last(service: Service, alteration: str) -> None:
    """Who lifts its conditions in the database makes it worthless."""
    organization, email = await service.organization(), new_address()
    made = done(await commands(service).create(organization, email=email, name="Grace", role=MemberRole.OWNER))
    assert made.one_time_password is not None
    await service.sql(f"update passwords set {alteration} where member_id = $1", made.member_id)
    assert await commands(service).sign_in(email, made.one_time_password) is WRONG


async def test_an_address_that_was_moved_signs_in_its_owner(service: Service) -> None:
    """Who writes another's address beside their own account signs in as themselves; nobody removed comes back."""
    victim, thief = await someone(service, MemberRole.OWNER), await someone(service)
    await service.sql("update people set email_key = 'moved' where member_id = $1", victim.id)
    await service.sql("update people set email_key = $2 where member_id = $1", thief.id, victim.email)
    entered = await commands(service).sign_in(victim.email, SecretText(thief.password))
    assert isinstance(entered, Entered)
    assert entered.credential.member_id == thief.id
    done(await commands(service).remove(operator(thief.organization), member_id=thief.id))
    await service.sql("update people set is_removed = false where member_id = $1", thief.id)
    assert await commands(service).sign_in(victim.email, SecretText(thief.password)) is WRONG


async def test_a_dump_of_attempts_lets_nobody_in(service: Service) -> None:
    """Emptying the counts gives more tries and nothing else."""
    member = await someone(service)
    await service.sql("delete from sign_in_attempts")
    assert await commands(service).sign_in(member.email, SecretText("a wrong password")) is WRONG


async def test_guessing_is_stopped_before_it_is_hashed(service: Service) -> None:
    """After the limit the right password is refused too, known address or not, until the time has passed."""
    member = await someone(service)
    limits = Limits(account=3, address=100, window=timedelta(minutes=15))
    own = commands(service)
    own = replace(own, throttle=Throttle(own.pool, lambda: service.entrances.core.keys.peppers, limits))
    for email in (member.email, new_address()):
        for _ in range(3):
            assert await own.sign_in(email, SecretText("a wrong password"), address="192.0.2.44") is WRONG
        with pytest.raises(RateLimitedError) as refused:
            await own.sign_in(email, SecretText(PASSWORD), address="192.0.2.44")
        assert 240 <= refused.value.retry_after_s <= 300  # less what hashing took so far
    await service.sql("update sign_in_attempts set due_at = due_at - interval '15 minutes'")
    assert await goes_on(service, (await again(service, member)).cookie)


async def test_two_hundred_at_once(service: Service) -> None:
    """Two processes hash, a bounded number wait, the rest are told to come again; this one's memory stays as it is."""
    own = commands(service)
    passwords = Passwords(lambda: service.entrances.core.keys.peppers, os.urandom, cost=HUNGRY)
    limits = Limits(account=1_000, address=100_000)
    own = replace(
        own,
        passwords=passwords,
        throttle=Throttle(own.pool, lambda: service.entrances.core.keys.peppers, limits),
        turnstile=Turnstile(places=PLACES, most_waiting=MOST_WAITING, wait_s=300),  # however busy the machine is
    )
    before, most, others = resident_kib(), [0, 0], children()
    ended = asyncio.Event()

    async def watch() -> None:
        while not ended.is_set():
            most[:] = max(most[0], passwords.in_flight), max(most[1], resident_kib())
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    outcomes = await asyncio.gather(
        *(own.sign_in(new_address(), SecretText(PASSWORD), address=f"192.0.2.{n}") for n in range(200)),
        return_exceptions=True,
    )
    ended.set()
    await watching
    assert len(children() - others) <= PROCESSES
    await passwords.close()
    assert children() <= others
    overloaded = sum(isinstance(outcome, HashingOverloadError) for outcome in outcomes)
    assert sum(outcome is WRONG for outcome in outcomes) == 200 - overloaded
    assert 200 - overloaded >= MOST_WAITING
    assert most[0] <= PLACES
    assert most[1] - before < 32_768
    assert passwords.in_flight == 0


def children() -> set[str]:
    """List the processes that this one has started."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def resident_kib() -> int:
    """Read how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024
