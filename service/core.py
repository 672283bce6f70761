"""What every way of running is built on: the database, the keys, the writer and the commands.

It is put together here for the service and for the commands of operators, which start without GraphQL and a web server.
Must never hold logic of its own.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from events.log import Installation
from events.statement import Pool
from events.writer import LogWriter
from service import vault
from service.bootstrap import bootstrap
from service.database import Database, open_database, prepare
from service.database_clock import DatabaseClock
from service.failed_sign_ins import FailedSignIns
from service.generations import settled
from service.growth import Growth
from service.hashing import HashingPool
from service.host_checkpoint import FILE_NAME, HostCheckpoint
from service.issuing import Issuing
from service.key_files import open_log_key
from service.key_following import KeyFollower
from service.keyring import KeyRing
from service.lease_keeper import CLOCK
from service.member_commands import MemberCommands
from service.member_decisions import MemberDecisions
from service.member_sessions import SessionKeys
from service.metrics import SignInCounts
from service.organization_commands import OrganizationCommands
from service.passwords import LONGEST_WAIT_S, MOST_WAITING, PLACES, Passwords
from service.secret_text import SecretText
from service.settings import Settings
from service.signing import Signer, signing_keys
from service.throttle import Limits as SignInLimits
from service.throttle import Throttle
from service.token_commands import TokenCommands
from service.turnstile import Turnstile
from service.vault import Keys

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What every way of running shares: the database, the writer, and the commands on it."""

    settings: Settings
    database: Database
    pool: Pool
    writer: LogWriter
    growth: Growth
    hashing: HashingPool
    keys: vault.Keys
    installation: Installation
    commands: TokenCommands
    members: MemberCommands
    organizations: OrganizationCommands
    clock: DatabaseClock
    signer: Signer
    host: HostCheckpoint


@asynccontextmanager
async def open_core(settings: Settings) -> AsyncIterator[Core]:
    """Open the database and the vault, migrated and checked, and start the writer."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        for name in await prepare(database):
            log.info("migrated", migration=name)
        pool = await stack.enter_async_context(database.pool(settings.pool_size))
        keys = (await stack.enter_async_context(key_follower(pool, settings))).keys
        signer, host = await open_signer(pool, settings)
        hashing = HashingPool(threads=settings.hash_threads, queue_bound=settings.hash_queue)
        stack.push_async_callback(hashing.close)
        growth = await stack.enter_async_context(Growth(database.connect))
        writer = LogWriter(database.connect, partition_size=settings.partition_size, on_growth=growth.log_grew)
        await stack.enter_async_context(writer)
        clock = DatabaseClock(CLOCK.steady)
        decisions = MemberDecisions(pool=pool, writer=writer, clock=clock, random_bytes=os.urandom)
        members = make_members(settings, keys, decisions)
        stack.push_async_callback(members.passwords.close)
        yield Core(
            settings=settings,
            database=database,
            pool=pool,
            writer=writer,
            growth=growth,
            hashing=hashing,
            keys=keys,
            installation=signer.installation,
            commands=TokenCommands(issuing=Issuing(pool=pool, writer=writer, keys=keys, hashing=hashing, clock=clock)),
            members=members,
            clock=clock,
            organizations=OrganizationCommands(writer=writer, clock=clock, random_bytes=os.urandom),
            signer=signer,
            host=host,
        )


def make_members(settings: Settings, keys: Keys, decisions: MemberDecisions) -> MemberCommands:
    """Put together what the commands on members need."""
    limits = SignInLimits(
        account=settings.sign_in_failures,
        address=settings.sign_in_failures_of_address,
        window=timedelta(seconds=settings.sign_in_window_s),
    )

    def peppers() -> KeyRing:
        return keys.peppers

    return MemberCommands(
        pool=decisions.pool,
        decisions=decisions,
        keys=keys,
        passwords=Passwords(peppers, os.urandom),
        sessions=SessionKeys(peppers, os.urandom),
        throttle=Throttle(decisions.pool, peppers, limits),
        failed=FailedSignIns(decisions.writer, clock=decisions.clock, random_bytes=os.urandom),
        counts=SignInCounts(),
        turnstile=Turnstile(places=PLACES, most_waiting=MOST_WAITING, wait_s=LONGEST_WAIT_S),
    )


def key_files(settings: Settings) -> dict[str, Path]:
    """Say where the keys that live outside the database are, by kind."""
    return {
        "pepper": settings.pepper_file or settings.data_dir / "pepper.key",
        "kek": settings.kek_file or settings.data_dir / "kek.key",
    }


def key_follower(pool: Pool, settings: Settings) -> KeyFollower:
    """Load the keys that live outside the database, or create them on an empty vault, and follow their files."""
    called = f"{settings.node_name or socket.gethostname()} (process {os.getpid()})"
    return KeyFollower(pool, key_files(settings), called=called, prefix=settings.secret_prefix)


async def open_signer(pool: Pool, settings: Settings) -> tuple[Signer, HostCheckpoint]:
    """Load the key of the log, and hold the log against what this host knows of it."""
    path = settings.log_key_file or settings.data_dir / "log.key"
    key = await open_log_key(path, await signing_keys(pool), os.urandom)
    host = HostCheckpoint(settings.data_dir / FILE_NAME, key)
    await asyncio.to_thread(host.load)
    return Signer(pool, key, await settled(pool, host)), host


async def first_token(core: Core) -> SecretText | None:
    """Make the first organization and token on an empty log; answers the secret, unless it is written to a file."""
    return await bootstrap(
        core.pool,
        core.installation,
        organizations=core.organizations,
        commands=core.commands,
        file=core.settings.bootstrap_token_file,
    )
