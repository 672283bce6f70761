"""Secrets shown again: to a member who has just entered the password, where they were kept, with an event each."""

import pytest
import structlog

from events.applications import SecretPolicy
from events.members import MemberRole
from service.authorization import FRESH_FOR
from tests.api.browsers import from_page
from tests.api.conftest import IssuedApplication, Service
from tests.api.documents import REVEAL, do
from tests.api.members import ADDRESS, codes, member, revealed, seals
from tests.api.people import someone

pytestmark = pytest.mark.asyncio(loop_scope="session")

REAUTHENTICATE = ["REAUTHENTICATION_REQUIRED"]


async def recoverable(service: Service, *scopes: str) -> IssuedApplication:
    """Make an application whose secret is kept."""
    return await service.application(*scopes, secret_policy=SecretPolicy.RECOVERABLE)


async def test_a_secret_that_was_kept_is_shown_again(service: Service) -> None:
    """To a member who has just entered the password, as often as asked for, each time with an event before it."""
    application = await recoverable(service, "a:b")
    owner = await member(service, application.organization)
    for reason in ("lost the laptop", None):
        given = {} if reason is None else {"reason": reason}
        assert await revealed(owner, application.token_id, **given) == {"secret": application.key, "userErrors": []}
    admin = await service.token("events:read", organization=application.organization)
    document = (
        '{ events(filter: {types: ["TokenRevealed"]}) { nodes { subjectId ipAddress actor { id kind } '
        "... on TokenRevealed { reason tokenId } } } }"
    )
    shown = (await service.gql(admin.key, document)).data["events"]["nodes"]
    assert [event["reason"] for event in shown] == [None, "lost the laptop"]
    for event in shown:
        assert event["subjectId"] == event["tokenId"] == application.token_id
        assert (event["ipAddress"], event["actor"]["kind"]) == (ADDRESS, "MEMBER")


async def test_only_a_member_with_a_fresh_password_is_shown_a_secret(service: Service) -> None:
    """Tokens never, members with an old password not now, members without the scope not at all; nothing is appended."""
    application = await recoverable(service)
    organization, given = application.organization, {"input": {"id": application.token_id}}
    admin = await service.token("*:*", organization=organization)
    stale = await member(service, organization, entered_s=FRESH_FOR.total_seconds() + 30)
    others = [await member(service, organization, role) for role in (MemberRole.MEMBER, MemberRole.AUDITOR)]
    before = await service.decided(organization)
    assert (await service.gql(admin.key, REVEAL, given)).codes == REAUTHENTICATE
    assert codes(await stale.execute(REVEAL, given)) == REAUTHENTICATE
    for other in others:
        assert codes(await other.execute(REVEAL, given)) == ["FORBIDDEN"]
    assert await service.decided(organization) == before


async def test_a_page_is_shown_a_secret(service: Service) -> None:
    """The same over HTTP, with the cookie of a member who has just signed in."""
    application = await recoverable(service)
    owner = await someone(service, MemberRole.OWNER, organization=application.organization)
    answer = await from_page(service, owner, REVEAL, input={"id": application.token_id})
    assert answer.data["revealSecret"] == {"secret": application.key, "userErrors": []}
    assert ("TokenRevealed", application.token_id) in await service.decided(application.organization)


async def test_a_secret_is_not_shown_to_who_may_do_less(service: Service) -> None:
    """An administrator is not handed a secret that may change owners; those of relying services are no matter."""
    mighty, plain = await recoverable(service, "*:*"), await recoverable(service, "projects:*", "applications:write")
    admin = await member(service, mighty.organization, MemberRole.ADMIN)
    refused = await revealed(admin, mighty.token_id)
    assert refused == {"secret": None, "userErrors": [{"code": "SCOPE_NOT_HELD", "field": ["input", "id"]}]}
    assert (await revealed(await member(service, mighty.organization), mighty.token_id))["secret"] == mighty.key
    clerk = await member(service, plain.organization, MemberRole.ADMIN)
    assert (await revealed(clerk, plain.token_id))["secret"] == plain.key


async def test_what_was_not_kept_cannot_be_shown(service: Service) -> None:
    """A secret shown once, an API token, an API secret and what does not exist are refused, each with its code."""
    organization = await service.organization()
    once = await service.application(organization=organization)
    token = await service.token(organization=organization)
    elsewhere = await recoverable(service)
    owner = await member(service, organization)
    before = await service.decided(organization, elsewhere.organization)
    for token_id, code in (
        (once.token_id, "NOT_RECOVERABLE"),
        (token.id, "NOT_RECOVERABLE"),
        (elsewhere.token_id, "NOT_FOUND"),
        (once.id, "NOT_FOUND"),
        ("nonsense\0", "NOT_FOUND"),
    ):
        refused = await revealed(owner, token_id)
        assert refused == {"secret": None, "userErrors": [{"code": code, "field": ["input", "id"]}]}
    refused = await revealed(owner, once.token_id, reason="x" * 501)
    assert refused["userErrors"] == [{"code": "INVALID", "field": ["input", "reason"]}]
    assert await service.decided(organization, elsewhere.organization) == before


async def test_turning_to_show_once_destroys_what_was_kept(service: Service) -> None:
    """At once, and not back with the policy: the next rotation is kept again, and keeps itself alone."""
    application = await recoverable(service)
    admin = await service.token("*:*", organization=application.organization)
    owner = await member(service, application.organization)

    async def turn(policy: str) -> None:
        assert (await do(service, admin, "updateApplication", id=application.id, secretPolicy=policy))["position"]

    assert await seals(service, application.token_id) == [0]
    await turn("SHOW_ONCE")
    assert await seals(service, application.token_id) == []
    assert (await revealed(owner, application.token_id))["userErrors"][0]["code"] == "NOT_RECOVERABLE"
    await turn("RECOVERABLE")
    assert (await revealed(owner, application.token_id))["userErrors"][0]["code"] == "NOT_RECOVERABLE"
    rotated = await do(service, admin, "rotateToken", id=application.token_id, overlapSeconds=60)
    assert await seals(service, application.token_id) == [1]
    assert (await revealed(owner, application.token_id))["secret"] == rotated["secret"]
    await do(service, admin, "updateApplication", id=application.id, name="renamed")
    assert await seals(service, application.token_id) == [1]
    again = await do(service, admin, "rotateToken", id=application.token_id)
    assert await seals(service, application.token_id) == [2]
    assert (await revealed(owner, application.token_id))["secret"] == again["secret"]


async def test_a_seal_that_was_tampered_with_shows_nothing(running: Service) -> None:
    """One moved from another application or cut short is refused and named in the log; no event says it was shown."""
    mine, other = await recoverable(running), await recoverable(running)
    owner = await member(running, mine.organization)
    before = await running.decided(mine.organization)
    swap = (
        "update vault_seals s set nonce = o.nonce, ciphertext = o.ciphertext from vault_seals o "
        "where s.token_id = $1 and o.token_id = $2"
    )
    cut = "update vault_seals set ciphertext = substr(ciphertext, 1, 20) where token_id = $1"
    for statement, arguments in ((swap, (mine.token_id, other.token_id)), (cut, (mine.token_id,))):
        await running.sql(statement, *arguments)
        with structlog.testing.capture_logs() as lines:
            answer = await owner.execute(REVEAL, {"input": {"id": mine.token_id}})
        assert codes(answer) == ["INTERNAL"]
        [line] = [line for line in lines if line["log_level"] == "error"]
        assert mine.token_id in str(line["exc_info"])
    assert await running.decided(mine.organization) == before
