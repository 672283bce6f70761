"""Signing in and out: sessions begin, go on under other ids and end; what is wrong is answered in one way."""

from events.members import MemberRole
from service.secret_text import SecretText
from tests.api.conftest import Service
from tests.api.people import again, codes, commands, done, entered, goes_on, new_address, signed_in, someone, verified


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
