"""`entri keys`: the keys that live outside the database, seen and replaced while in use. Must never print one."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import click

from events.statement import Pool
from service.cli.running import DATABASE_OPTIONS, KEY_OPTIONS, examples, run, settings_options
from service.core import Core, key_files, key_follower, open_core
from service.database import Database, open_database, prepare
from service.enforcement import Enforcer
from service.key_following import KINDS, KeyFollower
from service.key_rotation import Rotation, begin, reseal_everything, switch
from service.key_usage import Holder, KeyOnRecord, count_uses, find_holders, find_keys
from service.lease_keeper import CLOCK
from service.retiring import Retired, count_dependents, end_passwords, retire
from service.settings import Settings

TITLES: Final = {"pepper": "peppers", "kek": "key-encryption keys"}
ONE_OF: Final = {
    "secrets": "secret",
    "passwords": "password",
    "seals": "seal",
    "replays": "replay",
    "data keys": "data key",
}
POOL_SIZE: Final = 4
TELL_EVERY_S: Final = 1.0
WAIT: Final = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 86_400),
    default=60.0,
    show_default=True,
    help="Seconds for all processes.",
)


@click.group(epilog=examples("entri keys status", "entri keys rotate kek", "entri keys rotate pepper"))
def keys() -> None:
    """See and replace the keys that live outside the database, while they are in use."""


@keys.command(epilog=examples("entri keys status"))
@settings_options(*DATABASE_OPTIONS)
def status(**options: str | None) -> None:
    """Print which keys there are, what is under each, and which processes can read them."""

    async def work(settings: Settings) -> None:
        async with pool_of(settings) as (_, pool):
            click.echo("\n".join(await status_lines(pool)))

    run(options, work)


async def status_lines(pool: Pool) -> list[str]:
    """Say what there is to know of keys."""
    on_record, holders, uses = await find_keys(pool), await find_holders(pool), await count_uses(pool)
    known = {name for holder in holders for name in holder.readable} | uses.keys()
    lines: list[str] = []
    for kind in KINDS:
        lines.append(TITLES[kind])
        for key in (key for key in on_record if key.kind == kind and (key.is_permitted or key.name in known)):
            writers = sum(key.name in holder.writes for holder in holders)
            lines.append(f"  {key.id}: {standing(key, writers)}; {counted(uses.get(key.name, {}))}")
    lines.append("processes")
    for holder in holders:
        lacking = [key.name for key in on_record if key.name in lacked(holder, holders, on_record)]
        lines.append(f"  {holder.name}: {'lacks ' + ', '.join(lacking) if lacking else 'can read all'}")
    return lines if holders else [*lines, "  none"]


def standing(key: KeyOnRecord, writers: int) -> str:
    """Say what a key is used for."""
    if writers:
        return f"{writers} {'process writes' if writers == 1 else 'processes write'} under it"
    if key.is_superseded:
        return "superseded"
    return "read" if key.is_permitted else "not read by every process yet"


def counted(uses: dict[str, int]) -> str:
    """Say how much is under a key."""
    return ", ".join(f"{n:,} {ONE_OF[what] if n == 1 else what}" for what, n in uses.items()) or "nothing is under it"


def lacked(holder: Holder, holders: Sequence[Holder], on_record: Sequence[KeyOnRecord]) -> frozenset[str]:
    """Name the keys that a process should be able to read: those that are permitted, and those that others have."""
    known = {name for other in holders for name in other.readable}
    return frozenset(key.name for key in on_record if key.is_permitted or key.name in known) - holder.readable


@keys.group(epilog=examples("entri keys rotate kek", "entri keys rotate pepper"))
def rotate() -> None:
    """Put a new key into use. One that was interrupted is gone on with when it is run again."""


@rotate.command("kek", epilog=examples("entri keys rotate kek", "entri keys rotate kek --wait 600"))
@WAIT
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def rotate_kek(wait_s: float, **options: str | None) -> None:
    """Seal everything under a new key-encryption key, while it is in use; then the older ones are not needed."""

    async def work(settings: Settings) -> None:
        async with rotating(settings, "kek") as (rotation, follower):
            await switch(rotation, follower, wait_s=wait_s, tell=tell)
            values = await reseal_everything(rotation, follower, on_progress=Count("sealed anew").add)
            tell(f"sealed {values:,} values anew")
            click.echo(f"everything is sealed under {rotation.key_id}. {needless(rotation, follower)}")

    run(options, work)


@rotate.command("pepper", epilog=examples("entri keys rotate pepper"))
@WAIT
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def rotate_pepper(wait_s: float, **options: str | None) -> None:
    """Digest new secrets under a new pepper; what is under older ones moves as it is presented."""

    async def work(settings: Settings) -> None:
        async with rotating(settings, "pepper") as (rotation, follower):
            await switch(rotation, follower, wait_s=wait_s, tell=tell)
            click.echo(
                f"new secrets are under {rotation.key_id}. What is left under older peppers moves as it is used:"
            )
            for line in await status_lines(rotation.pool):
                if line == TITLES["kek"]:
                    break
                click.echo(line)

    run(options, work)


@keys.group("retire", epilog=examples("entri keys retire pepper k1"))
def retire_group() -> None:
    """Do without an older key."""


@retire_group.command("pepper", epilog=examples("entri keys retire pepper k1", "entri keys retire pepper k1 --force"))
@click.argument("pepper_id", metavar="ID")
@click.option(
    "--force", is_flag=True, help="Revoke tokens, reset client secrets and end passwords that are still under it."
)
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def retire_pepper(pepper_id: str, *, force: bool, **options: str | None) -> None:
    """Say whether a pepper is still needed; with --force, end what needs it."""

    async def work(settings: Settings) -> None:
        async with open_core(settings) as core, Enforcer(core.database.connect, CLOCK.steady) as enforcer:
            if force:
                await refuse_unknown_or_writing(core.pool, pepper_id)
                commands = core.commands.enforced_by(enforcer)
                retired = await retire(core.pool, commands, pepper_id, on_progress=Count("tokens done").add)
                say_retired(retired, await end_passwords(core.pool, core.members.enforced_by(enforcer), pepper_id))
            await say_whether_needed(core, pepper_id)

    run(options, work)


async def refuse_unknown_or_writing(pool: Pool, pepper_id: str) -> None:
    """Refuse to retire what is no pepper of ours, and the one that processes write under."""
    name = f"pepper/{pepper_id}"
    if all(key.name != name for key in await find_keys(pool)):
        raise click.ClickException(f"no pepper {pepper_id} is on record: entri keys status lists them")
    if writing := [holder.name for holder in await find_holders(pool) if name in holder.writes]:
        raise click.ClickException(
            f"secrets are still digested under {pepper_id}, by {', '.join(writing)}: first run entri keys rotate pepper"
        )


async def say_whether_needed(core: Core, pepper_id: str) -> None:
    """Say that the line of a pepper may go, or what keeps it."""
    await refuse_unknown_or_writing(core.pool, pepper_id)
    path = key_files(core.settings)["pepper"]
    would = await count_dependents(core.pool, pepper_id)
    passwords = (await count_uses(core.pool)).get(f"pepper/{pepper_id}", {}).get("passwords", 0)
    parts = [
        f"{verb} {counted_as(number, one)}"
        for verb, number, one in (
            ("revoke", would.revoked, "token"),
            ("reset", would.reset, "client secret"),
            ("end", would.overlaps_ended, "overlap"),
        )
        if number
    ]
    if parts:
        raise click.ClickException(
            f"{pepper_id} is still needed: --force would {' and '.join(parts)}; nothing was changed"
        )
    if passwords:
        raise click.ClickException(
            f"{pepper_id} is still needed by {counted_as(passwords, 'password')} of members who have not signed in "
            "since: they sign in, or get a new password from you; --force ends them; nothing was changed"
        )
    click.echo(f"{pepper_id} is not needed any more: take its line out of {path}, on every host")


def say_retired(retired: Retired, members: Sequence[str]) -> None:
    """Say what was done by force."""
    click.echo(f"revoked {counted_as(retired.revoked, 'token')}, ended {counted_as(retired.overlaps_ended, 'overlap')}")
    if retired.reset:
        click.echo(
            f"reset {counted_as(len(retired.reset), 'client secret')}: nobody has the new one until its owner resets it"
        )
        click.echo("\n".join(retired.reset))
    if members:
        click.echo(f"ended {counted_as(len(members), 'password')}: entri admin member reset-password, for each of")
        click.echo("\n".join(members))
    if retired.refused:
        raise click.ClickException("\n".join(("some could not be changed:", *retired.refused)))


def counted_as(number: int, one: str) -> str:
    """Write a number of things."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def needless(rotation: Rotation, follower: KeyFollower) -> str:
    """Say which lines may go."""
    older = [key_id for key_id in follower.keys.keks.ids if key_id != rotation.key_id]
    if not older:
        return ""
    are, its_line = ("is", "its line") if len(older) == 1 else ("are", "their lines")
    return f"{', '.join(older)} {are} not needed any more: take {its_line} out of {rotation.path}, on every host"


@asynccontextmanager
async def pool_of(settings: Settings) -> AsyncIterator[tuple[Database, Pool]]:
    """Open the database, without any key."""
    async with open_database(settings) as database:
        await prepare(database)
        async with database.pool(POOL_SIZE) as pool:
            yield database, pool


@asynccontextmanager
async def rotating(settings: Settings, kind: str) -> AsyncIterator[tuple[Rotation, KeyFollower]]:
    """Begin a rotation, the only one at a time, and hold the keys as every process does."""
    async with pool_of(settings) as (database, pool):
        lock = await database.connect()
        try:
            rotation = await begin(pool, lock, kind, key_files(settings)[kind], tell=tell)
            async with key_follower(pool, settings) as follower:
                yield rotation, follower
        finally:
            await lock.close()


def tell(text: str) -> None:
    """Say how far it is."""
    click.echo(text, err=True)


class Count:
    """Says once a second how many are done."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = 0
        self._told_s = time.monotonic()

    def add(self, more: int) -> None:
        """Count some more as done."""
        self._done += more
        if time.monotonic() >= self._told_s + TELL_EVERY_S:
            self._told_s = time.monotonic()
            tell(f"{self._done:,} {self._what}")
