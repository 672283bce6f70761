"""What tests of the vault stand on: commands and a verifier as a process has them, without serving anything."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from events.refusals import Refused
from events.statement import Pool
from events.token_kinds import TokenKind
from events.tokens import CreateToken, RotateToken
from events.writer import LogWriter
from service.authorization import operator
from service.credential import Verification
from service.credential_reader import CredentialReader
from service.draining import Drain
from service.hashing import HashingPool
from service.issuing import Issuing
from service.keyring import KeyRing
from service.lease import Node, RenewalAnswer, Renewed
from service.lease_keeper import CLOCK
from service.token_commands import TokenCommands
from service.vault import Keys
from service.verified_cache import VerifiedCache
from service.verify import Verifier
from tests.postgres.conftest import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token and its secret."""

    id: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """A process's way to the vault."""

    pool: Pool
    keys: Keys
    commands: TokenCommands
    verifier: Verifier
    node: Node[Verification]
    drain: Drain

    async def create(self, organization: str) -> Issued:
        """Issue a token."""
        command = CreateToken(token_id="", kind=TokenKind.API_TOKEN, name="a token", hint="", scopes=("tokens:read",))
        done = await self.commands.create(operator(organization), command)
        assert not isinstance(done, Refused)
        assert done.secret is not None
        return Issued(id=done.token_id, key=done.secret.reveal())

    async def rotate(self, organization: str, token_id: str, overlap_s: int = 0) -> str:
        """Give a token a new secret."""
        command = RotateToken(token_id=token_id, hint="", overlap_s=overlap_s)
        done = await self.commands.rotate(operator(organization), command)
        assert not isinstance(done, Refused)
        assert done.secret is not None
        return done.secret.reveal()


def lease(node: Node[Verification], epoch: int) -> None:
    """Let a node rely on what it remembers, as of so many changes."""
    node.joined("an incarnation", epoch, "a history")
    answer = RenewalAnswer(is_registered=True, epoch=epoch, history="a history", changes=())
    assert node.renewed(node.begin_renewal(), answer) is Renewed.HELD


def keys_of(peppers: KeyRing, keks: KeyRing) -> Keys:
    """Put keys together as a process does."""
    data = KeyRing({"data": bytes(range(100, 132))})
    return Keys(peppers=peppers, keks=keks, data=data, prefix="entri_", random_bytes=os.urandom)


@asynccontextmanager
async def open_vault(database: Database, keys: Keys | None = None) -> AsyncIterator[Vault]:
    """Put commands and a verifier together; nothing is answered from memory unless a lease is given to the node."""
    ring = KeyRing({"k1": bytes(32)})
    keys = keys or keys_of(ring, ring)
    hashing = HashingPool(threads=1)
    async with (
        database.pool() as pool,
        LogWriter(database.connect, partition_size=10_000) as writer,
        CredentialReader(database.connect, CLOCK.steady) as reader,
        Drain(pool, hashing) as drain,
    ):
        node = Node(VerifiedCache[Verification](), CLOCK, lease_s=3600)
        now = partial(datetime.now, UTC)
        verifier = Verifier(node, reader, keys=keys, hashing=hashing, clock=CLOCK)
        verifier.drain, drain.on_moved = drain, lambda moved: node.remember_too(moved.digest, moved.new_digest)
        yield Vault(
            pool=pool,
            keys=keys,
            commands=TokenCommands(issuing=Issuing(pool=pool, writer=writer, keys=keys, hashing=hashing, clock=now)),
            verifier=verifier,
            node=node,
            drain=drain,
        )
    await hashing.close()
