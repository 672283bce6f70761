"""Passwords, one-time passwords and cookies in no sink: people live through everything, and then all is searched."""

import re
from traceback import TracebackException

import pytest
import structlog
from prometheus_client import generate_latest

from events.members import MemberRole
from service.authorization import operator
from service.hashing import VerifierError
from service.secret_text import SecretText
from tests.api.conftest import Service
from tests.api.people import Someone, again, commands, done, new_address, signed_in, someone
from tests.api.test_secrets_canary import forms

pytestmark = pytest.mark.asyncio(loop_scope="session")

CANARIES = ("canary of a new password", "canary of a wrong password", "tiny canary")


async def test_no_sink_holds_what_people_know(service: Service) -> None:
    """Logs, metrics, errors, answers and every table are searched for each secret in each form."""
    said: list[str] = []
    with structlog.testing.capture_logs() as lines:
        member = await someone(service, MemberRole.OWNER)
        secrets = [*CANARIES, member.password, member.cookie, *await live(service, member, said)]
        said += map(repr, lines)
    said.append(generate_latest(service.entrances.metrics.registry).decode())
    tables = await service.sql("select tablename from pg_tables where schemaname = 'public'")
    for (table,) in tables:
        for row in await service.sql(f'select t::text as text, to_jsonb(t)::text as json from "{table}" t'):
            said += (row["text"], row["json"])
    for row in await service.sql("select convert_from(entry, 'utf8') as entry from events"):
        said.append(row["entry"])
    text = "\n".join(said).encode()
    assert b"PasswordChanged" in text
    assert member.email.encode() in text
    for secret in secrets:
        assert [form for form in forms(secret) if form in text] == []


async def live(service: Service, member: Someone, said: list[str]) -> list[str]:
    """Do everything that a password or a cookie is needed for, right and wrong; answer what was secret in it."""
    own = commands(service)
    new, wrong, refused = map(SecretText, CANARIES)
    reset = done(await own.reset_password((await someone(service)).id))
    made = done(
        await own.add(operator(member.organization), email=new_address(), name="Canary", role=MemberRole.AUDITOR)
    )
    first, other = await again(service, member), await again(service, member)
    answers = [
        reset,
        made,
        first.entered,
        await own.sign_in(member.email, wrong, address="192.0.2.1"),
        await own.sign_in(new_address(), wrong),
        await own.reauthenticate(first.caller, wrong),
        await own.change_password(first.caller, current=wrong, new=new),
        await own.change_password(first.caller, current=SecretText(member.password), new=refused),
        await own.change_password(first.caller, current=SecretText(member.password), new=new),
        await service.entrances.verifying.member_sessions.verify(other.cookie),
        own,
    ]
    said += map(repr, answers)
    last = await signed_in(service, member.email, CANARIES[0])
    await service.sql("update passwords set verifier = '$argon2id$none' where member_id = $1", member.id)
    with pytest.raises(VerifierError) as broken:
        await own.sign_in(member.email, new)
    within = broken.tb.tb_next  # this function itself knows secrets
    trace = TracebackException(broken.type, broken.value, within, capture_locals=True)
    said += (repr(broken.value), repr(last), *trace.format())
    await own.failed.flush(everything=True)
    assert reset.one_time_password is not None
    assert made.one_time_password is not None
    passwords = [reset.one_time_password.reveal(), made.one_time_password.reveal()]
    assert all(re.fullmatch("[2-9a-z-]{29}", password) for password in passwords)
    return [*passwords, first.cookie, other.cookie, last.cookie.reveal()]
