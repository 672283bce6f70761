"""Applications in the database: their seals go with their secrets, and what commands wrote is what a rebuild makes."""

import asyncio
from dataclasses import dataclass

import pytest

from events import applications
from events.applications import Environment, RevealSecret, SecretPolicy
from events.members import MemberRole
from events.refusals import RefusalCode, Refused
from events.token_kinds import TokenKind
from events.tokens import CreateToken, EndRotationOverlap, RotateToken, UpdateToken
from projections.rebuild import rebuild
from service.application_commands import ApplicationCommands
from service.authorization import (
    Caller,
    MemberSession,
    ReauthenticationRequiredError,
    member_principal,
    operator,
    token_principal,
)
from service.issuing import Done
from service.secret_text import SecretText
from tests.postgres.conftest import Database
from tests.postgres.vaults import Vault, open_vault

ORGANIZATION = "org_1"
ROWS = {
    "tokens": "select * from tokens order by id",
    "applications": "select * from applications order by id",
}


SIGN_IN = (
    "insert into members values ('mem_1', 'org_1', 'OWNER', now(), 'SYSTEM', 'operator', null)",
    "insert into passwords values ('mem_1', 'org_1', 1, '$argon2id$x', 'k1', false, null, now())",
    "insert into member_sessions select 'ses_1', d, 'mem_1', 'org_1', 1, now(), now(), now(), d from sha256('x') d",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A vault and the commands on applications."""

    vault: Vault
    commands: ApplicationCommands

    async def application(self, policy: SecretPolicy = SecretPolicy.RECOVERABLE) -> tuple[str, str, str]:
        """Make an application; answer its id, its client secret's and the secret."""
        command = applications.CreateApplication(
            application_id="",
            name="billing",
            environment=Environment.PRODUCTION,
            secret_policy=policy,
            token_id="",
            hint="",
            scopes=("a:b",),
        )
        done = await self.commands.create(operator(ORGANIZATION), command)
        assert isinstance(done, Done)
        assert done.secret is not None
        return done.application_id or "", done.token_id, done.secret.reveal()

    async def rotate(self, token_id: str, overlap_s: int = 0) -> str:
        """Give a token a new secret."""
        return await self.vault.rotate(ORGANIZATION, token_id, overlap_s)

    async def turn(self, application_id: str, policy: SecretPolicy) -> None:
        """Change whether the secret is kept."""
        command = applications.UpdateApplication(application_id=application_id, secret_policy=policy)
        assert isinstance(await self.commands.update(operator(ORGANIZATION), command), Done)

    async def delete(self, application_id: str) -> None:
        """Remove an application."""
        command = applications.DeleteApplication(application_id=application_id, confirmation="billing")
        assert isinstance(await self.commands.delete(self.owner, command), Done)

    async def reveal(self, token_id: str) -> SecretText | Refused:
        """Show a secret again."""
        return await self.commands.reveal(self.owner, RevealSecret(token_id=token_id))

    @property
    def owner(self) -> Caller:
        """Act as a member who has just entered the password."""
        session = MemberSession(
            id="ses_1",
            role=MemberRole.OWNER,
            authenticated_at=self.vault.commands.clock(),
            must_change_password=False,
        )
        return Caller(principal=member_principal("mem_1", ORGANIZATION, session))

    async def sign_in(self, database: Database) -> None:
        """Plant the rows that the log's guard asks of a session; nobody verifies them here."""
        async with database.owner() as owner:
            for statement in SIGN_IN:
                await owner.execute(statement)

    async def seals(self) -> list[tuple[str, int]]:
        """List what is kept."""
        rows = await self.vault.pool.fetch("select token_id, generation from vault_seals order by 1, 2")
        return [(row["token_id"], row["generation"]) for row in rows]


async def desk(vault: Vault, database: Database) -> Desk:
    """Put the commands on applications together, with a member who has signed in."""
    at = Desk(vault=vault, commands=ApplicationCommands(issuing=vault.commands.issuing))
    await at.sign_in(database)
    return at


async def test_seals_go_with_their_secrets(database: Database) -> None:
    """A seal is there from the issue of a secret that is kept until the secret or the policy ends, in every order."""
    async with open_vault(database) as vault:
        at = await desk(vault, database)
        kept, token_id, first = await at.application()
        _, once, _ = await at.application(SecretPolicy.SHOW_ONCE)
        assert await at.seals() == [(token_id, 0)]
        shown = await at.reveal(token_id)
        assert isinstance(shown, SecretText)
        assert shown.reveal() == first
        second = await at.rotate(token_id, overlap_s=60)
        await at.rotate(once)
        assert await at.seals() == [(token_id, 1)]
        await at.turn(kept, SecretPolicy.SHOW_ONCE)
        assert await at.seals() == []
        assert (await vault.verifier.verify(second)).failure is None, "only what is kept is destroyed"
        await at.turn(kept, SecretPolicy.RECOVERABLE)
        assert isinstance(await at.reveal(token_id), Refused)
        await at.rotate(token_id)
        assert await at.seals() == [(token_id, 2)]
        await at.delete(kept)
        assert await at.seals() == []
        again = await at.reveal(token_id)
        assert isinstance(again, Refused)
        assert again.refusals[0].code == RefusalCode.TOKEN_NOT_ACTIVE


async def test_a_secret_whose_seal_is_gone_is_not_recoverable(database: Database) -> None:
    """Where the row was deleted the answer says that nothing was kept, and the history that nothing was shown."""
    async with open_vault(database) as vault, database.owner() as owner:
        at = await desk(vault, database)
        _, token_id, _ = await at.application()
        await owner.execute("delete from vault_seals")
        refused = await at.reveal(token_id)
        assert isinstance(refused, Refused)
        assert refused.refusals[0].code == RefusalCode.NOT_RECOVERABLE
        assert await vault.pool.fetchval("select count(*) from events where type = 'TokenRevealed'") == 0


async def test_what_is_shown_is_what_the_event_is_about(database: Database) -> None:
    """Revelations and rotations that race: each secret shown was the current one where its event is in the stream."""
    async with open_vault(database) as vault:
        at = await desk(vault, database)
        application_id, token_id, first = await at.application()
        secrets = [first]

        async def rotations() -> None:
            secrets.extend([await at.rotate(token_id) for _ in range(10)])

        async def revelations() -> list[str]:
            shown = [await at.reveal(token_id) for _ in range(20)]
            return [one.reveal() for one in shown if isinstance(one, SecretText)]

        _, *shown = await asyncio.gather(rotations(), revelations(), revelations())
        statement = "select type from events where entry like $1 order by position"
        pattern = f'%"stream":"application-{application_id}"%'.encode()
        types = [row["type"] for row in await vault.pool.fetch(statement, pattern)]
        current, expected = 0, []
        for name in types:
            current += name == "TokenRotated"
            expected += [secrets[current]] if name == "TokenRevealed" else []
        assert sorted(expected) == sorted(secret for one in shown for secret in one)
        assert expected


async def test_no_token_and_no_operator_sees_a_secret(database: Database) -> None:
    """Whoever has no password to enter is refused before anything is read."""
    async with open_vault(database) as vault:
        at = await desk(vault, database)
        _, token_id, _ = await at.application()
        for principal in (operator(ORGANIZATION).principal, token_principal("tok_1", ORGANIZATION, ("*:*",))):
            with pytest.raises(ReauthenticationRequiredError):
                await at.commands.reveal(Caller(principal=principal), RevealSecret(token_id=token_id))


async def test_a_rebuild_makes_what_commands_wrote(database: Database) -> None:
    """After a life of every kind of token the tables that appends wrote are those that the log gives."""
    async with open_vault(database) as vault, database.owner() as owner:
        at, caller = await desk(vault, database), operator(ORGANIZATION)
        kept, token_id, _ = await at.application()
        gone, _, _ = await at.application(SecretPolicy.SHOW_ONCE)
        await at.rotate(token_id, overlap_s=60)
        await at.turn(kept, SecretPolicy.SHOW_ONCE)
        await at.delete(gone)
        await vault.commands.change(caller, UpdateToken(token_id=token_id, name="renamed"))
        await vault.commands.change(caller, EndRotationOverlap(token_id=token_id))
        for number in range(4):
            command = CreateToken(token_id="", kind=TokenKind.API_SECRET, name=f"{number}", hint="", scopes=())
            await vault.commands.create(caller, command)
        await vault.commands.complete_rotation(ORGANIZATION, token_id, generation=1)
        await vault.create(ORGANIZATION)
        for name, statement in ROWS.items():
            rows = await owner.fetch(statement)
            assert len(rows) == {"tokens": 6, "applications": 2}[name]
            await rebuild(owner, name)
            assert await owner.fetch(statement) == rows


@pytest.mark.parametrize("overlap_s", [0, 60])
async def test_rotations_that_race_are_one_after_the_other(database: Database, overlap_s: int) -> None:
    """Every winner has a generation of its own, the last one's secret works, and that one is kept."""
    async with open_vault(database) as vault:
        at = await desk(vault, database)
        _, token_id, _ = await at.application()
        command = RotateToken(token_id=token_id, hint="", overlap_s=overlap_s)
        outcomes = await asyncio.gather(*(vault.commands.rotate(operator(ORGANIZATION), command) for _ in range(12)))
        won = [one for one in outcomes if isinstance(one, Done)]
        conflicts = [one.refusals[0].code for one in outcomes if isinstance(one, Refused)]
        assert set(conflicts) <= {RefusalCode.CONFLICT}
        assert await at.seals() == [(token_id, len(won))]
        works = [(await vault.verifier.verify(one.secret.reveal())).failure is None for one in won if one.secret]
        assert sum(works) == (2 if overlap_s else 1)
