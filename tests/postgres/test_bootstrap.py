"""The first organization and the first token: on an empty log, once."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from events.identifiers import derived_id
from events.log import Installation, read_head, read_installation
from events.statement import Pool
from events.writer import LogWriter
from service.bootstrap import BootstrapError, bootstrap
from service.credential import Verification
from service.credential_reader import CredentialReader
from service.hashing import HashingPool
from service.issuing import Issuing
from service.keyring import KeyRing
from service.lease import Node
from service.lease_keeper import CLOCK
from service.organization_commands import OrganizationCommands
from service.secret_text import SecretText
from service.token_commands import TokenCommands
from service.vault import Keys
from service.verified_cache import VerifiedCache
from service.verify import Verifier
from tests.postgres.conftest import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A service that is about to begin."""

    pool: Pool
    installation: Installation
    organizations: OrganizationCommands
    commands: TokenCommands
    verifier: Verifier

    async def first(self, file: Path | None = None) -> SecretText | None:
        """Make what a first start makes."""
        organizations, commands = self.organizations, self.commands
        return await bootstrap(self.pool, self.installation, organizations=organizations, commands=commands, file=file)


@asynccontextmanager
async def starting(database: Database) -> AsyncIterator[Start]:
    """Put together what a start needs."""
    ring = KeyRing({"k1": bytes(32)})
    keys = Keys(peppers=ring, keks=ring, data=ring, prefix="entri_", random_bytes=os.urandom)
    hashing = HashingPool(threads=1)
    now = partial(datetime.now, UTC)
    async with (
        database.pool() as pool,
        LogWriter(database.connect) as writer,
        CredentialReader(database.connect, CLOCK.steady) as reader,
    ):
        node = Node(VerifiedCache[Verification](), CLOCK, lease_s=2)
        yield Start(
            pool=pool,
            installation=await read_installation(pool),
            organizations=OrganizationCommands(writer=writer, clock=now, random_bytes=os.urandom),
            commands=TokenCommands(issuing=Issuing(pool=pool, writer=writer, keys=keys, hashing=hashing, clock=now)),
            verifier=Verifier(node, reader, keys=keys, hashing=hashing, clock=CLOCK),
        )
    await hashing.close()


async def test_once(database: Database) -> None:
    """An empty log gets one organization and one token that may do everything; a second start makes nothing."""
    async with starting(database) as start:
        secret = await start.first()
        assert secret is not None
        credential = (await start.verifier.verify(secret.reveal())).credential
        assert credential is not None
        assert credential.scopes == ("*:*",)
        assert await start.first() is None
        assert await read_head(start.pool) == 2


async def test_a_first_start_that_was_cut_short_is_finished(database: Database) -> None:
    """Where only the organization was made, the next start makes the token, in that organization."""
    async with starting(database) as start:
        ids = {
            "organization_id": derived_id("org", start.installation.id, "first"),
            "event_id": derived_id("evt", start.installation.id, "first organization"),
        }
        await start.organizations.create("Default", **ids)
        secret = await start.first()
        assert secret is not None
        credential = (await start.verifier.verify(secret.reveal())).credential
        assert credential is not None
        assert credential.organization == ids["organization_id"]
        assert await read_head(start.pool) == 2


async def test_an_operators_organization_is_no_empty_log(database: Database) -> None:
    """Where the operator has made an organization already, no token is made that was not asked for."""
    async with starting(database) as start:
        await start.organizations.create("Acme")
        assert await start.first() is None
        assert await read_head(start.pool) == 1


async def test_a_file_is_new_and_the_owners(database: Database, tmp_path: Path) -> None:
    """The secret is written to a file that was not there; one that cannot be made leaves the log empty."""
    async with starting(database) as start:
        for path in (tmp_path, tmp_path / "no" / "folder"):
            with pytest.raises(BootstrapError, match="the bootstrap token file"):
                await start.first(path)
        assert await read_head(start.pool) == 0
        file = tmp_path / "first"
        assert await start.first(file) is None
        assert file.stat().st_mode & 0o777 == 0o600
        assert (await start.verifier.verify(file.read_text().removesuffix("\n"))).failure is None
        assert await start.first(file) is None


async def test_a_file_is_gone_when_there_is_no_secret(database: Database, tmp_path: Path) -> None:
    """When the token cannot be made the file is removed again, so that the next start is not refused for it."""
    async with starting(database) as start:
        await start.commands.issuing.hashing.close()
        with pytest.raises(Exception, match="the hashing pool is closed"):
            await start.first(tmp_path / "first")
        assert not (tmp_path / "first").exists()
