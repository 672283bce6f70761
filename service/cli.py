"""The command line: `entri serve` and what operators need beside it. Must never print a secret unasked.

Exit codes: 0 done, 1 it could not be done, 2 the command or its settings were wrong.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Any, TypeVar

import click
import uvloop

from events.identifiers import prefix_of
from events.migrate import MigrationError
from events.refusals import Refused
from events.tokens import CreateToken, TokenKind
from events.writer import LogUnavailableError, OutcomeUnknownError
from projections.organizations import find_organization
from projections.read_models import READ_MODELS
from projections.rebuild import RebuildError, rebuild
from service.app import open_core, serving
from service.authorization import operator
from service.availability import UNAVAILABLE
from service.bootstrap import BootstrapError
from service.database import DatabaseError, open_database, prepare
from service.embedded_postgres import EmbeddedPostgresError
from service.keyring import KeyFileError
from service.listening import ListenError
from service.logs import configure_logs
from service.settings import OPTIONS, Settings, SettingsError, given, load
from service.slots import WorkersError
from service.supervisor import supervise

EXPECTED = (
    BootstrapError,
    DatabaseError,
    EmbeddedPostgresError,
    KeyFileError,
    ListenError,
    LogUnavailableError,
    MigrationError,
    OutcomeUnknownError,
    RebuildError,
    WorkersError,
)
DATABASE_OPTIONS = ("data_dir", "database_url", "owner_database_url", "log_level", "log_format")
KEY_OPTIONS = ("pepper_file", "kek_file", "secret_prefix")
Command = TypeVar("Command", bound=Callable[..., object])


def settings_options(*names: str) -> Callable[[Command], Command]:
    """Give a command these settings as options, or all of them."""

    def decorate(command: Command) -> Command:
        for option in reversed(OPTIONS):
            if not names or option.name in names:
                default = f"; {option.default_text} if unset" if option.default_text else ""
                meaning = f"{option.help} ({option.expects}{default}) [{option.variable}]"
                command = click.option(option.flag, option.name, help=meaning, metavar="VALUE")(command)
        return command

    return decorate


def examples(*commands: str) -> str:
    """Write examples a line each, as click then leaves them."""
    return "\n".join(("\b", "Examples:", *(f"  {command}" for command in commands)))


def run(options: dict[str, Any], work: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    """Read the settings and run a command, turning what is expected to go wrong into one line and an exit code."""
    try:
        settings = load(os.environ, options)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    configure_logs(settings)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(interruptible(work(settings)))
    except EXPECTED as error:
        raise click.ClickException(str(error)) from None
    except asyncio.CancelledError:
        raise click.Abort from None
    except UNAVAILABLE as error:
        raise click.ClickException(reason_of(error)) from None


def reason_of(error: Exception) -> str:
    """Say what stopped a command: a file that could not be used, or else the database."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return f"the database went away ({type(error).__name__}): try again"


async def interruptible(work: Coroutine[Any, Any, None]) -> None:
    """Do the work; the first signal to stop cancels it, so that what it started is stopped in order."""
    working, told = asyncio.ensure_future(work), tell_signals()
    told.add_done_callback(lambda _: working.cancel())
    await working


def tell_signals() -> asyncio.Future[int]:
    """Answer the first signal to stop from now on, which whoever asked before does not see any more."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()

    def tell(signal_number: int) -> None:
        if not told.done():
            told.set_result(signal_number)

    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal_number != signal.SIGHUP or signal.getsignal(signal_number) != signal.SIG_IGN:  # as nohup has it
            loop.add_signal_handler(signal_number, tell, signal_number)
    return told


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples("entri serve", "entri serve --help", "ENTRI_PORT=9090 entri serve"),
)
@click.version_option(version("entri-tokens"), prog_name="entri")
def main() -> None:
    """Issue, rotate, revoke and verify API credentials, and keep their whole history."""


@main.command(
    epilog=examples(
        "entri serve",
        "entri serve --port 9090 --data-dir /var/lib/entri",
        "ENTRI_DATABASE_URL=postgresql://entri@db/entri entri serve --host 0.0.0.0",
    )
)
@settings_options()
def serve(**options: str | None) -> None:
    """Serve GraphQL on /graphql, gateways on /verify, operators on /livez, /readyz and /metrics."""

    async def work(settings: Settings) -> None:
        try:
            if settings.workers > 1:
                await supervise(settings, {**os.environ, **given(options)})
            else:
                await serve_until_told(settings)
        except asyncio.CancelledError:
            click.echo("stopped before it served", err=True)

    run(options, work)


async def serve_until_told(settings: Settings) -> None:
    """Serve until a signal to stop; let those who route requests here notice when that comes from a supervisor."""
    async with serving(settings) as (entrances, url, first):
        told = tell_signals()
        if first is not None:
            click.echo(f"bootstrap token: {first.reveal()}")
        click.echo(f"serving {url}/graphql", err=True)
        if await told == signal.SIGTERM:
            entrances.draining.set()
            await asyncio.sleep(settings.drain_delay_s)


@main.command(epilog=examples("entri migrate --database-url postgresql://entri_owner@db/entri"))
@settings_options(*DATABASE_OPTIONS)
def migrate(**options: str | None) -> None:
    """Bring the database up to date; prints what was applied. `entri serve` does so by itself."""

    async def work(settings: Settings) -> None:
        async with open_database(settings) as database:
            applied = await prepare(database)
        click.echo("\n".join(applied) or "nothing to do")

    run(options, work)


@main.command("rebuild", epilog=examples("entri rebuild tokens"))
@click.argument("name", type=click.Choice(list(READ_MODELS)))
@settings_options(*DATABASE_OPTIONS)
def rebuild_command(name: str, **options: str | None) -> None:
    """Fold a read model from the log into a new table beside the live one, and switch to it."""

    async def work(settings: Settings) -> None:
        async with open_database(settings) as database:
            await prepare(database)
            connection = await database.connect_as_owner()
            try:
                report = await rebuild(connection, name, on_progress=show_progress)
            finally:
                await connection.close()
        click.echo(f"{name}: {report.rows} rows from {report.events} events in {report.seconds:.1f} s")

    run(options, work)


def show_progress(events: int) -> None:
    """Show on a terminal how many events were folded."""
    if sys.stderr.isatty():
        click.echo(f"\r{events:,} events", err=True, nl=False)


@main.command(epilog=examples("entri schema > schema.graphql"))
def schema() -> None:
    """Print the GraphQL schema."""
    from service.api.schema import make_schema  # noqa: PLC0415 -- only this command needs it

    click.echo(make_schema().as_str())


@main.group(
    epilog=examples(
        'entri admin organization create "Acme"',
        "entri admin token create --organization org_… --name ci --scope tokens:read",
    )
)
def admin() -> None:
    """Do what only the operator may: with the database's own credentials, from its host."""


@admin.group(epilog=examples('entri admin organization create "Acme"'))
def organization() -> None:
    """Make organizations."""


@organization.command("create", epilog=examples('entri admin organization create "Acme"'))
@click.argument("name")
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def create_organization(name: str, **options: str | None) -> None:
    """Create an organization; prints its id."""

    async def work(settings: Settings) -> None:
        async with open_core(settings) as core:
            click.echo(accepted(await core.organizations.create(name)))

    run(options, work)


@admin.group("token", epilog=examples("entri admin token create --organization org_… --name ci --scope tokens:read"))
def token_group() -> None:
    """Make tokens."""


@token_group.command(
    "create",
    epilog=examples(
        "entri admin token create --organization org_… --name ci --scope tokens:read --scope tokens:verify"
    ),
)
@click.option("--organization", "organization_id", required=True, help="The organization's id (org_…).")
@click.option("--name", required=True, help="What people call the token.")
@click.option("--scope", "scopes", multiple=True, help="What it may do, such as tokens:read; may be repeated.")
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def create_token(organization_id: str, name: str, scopes: tuple[str, ...], **options: str | None) -> None:
    """Issue an API token; prints its secret alone, once."""

    async def work(settings: Settings) -> None:
        async with open_core(settings) as core:
            known = prefix_of(organization_id) == "org" and await find_organization(core.pool, organization_id)
            if not known:
                raise click.ClickException("there is no such organization: give the id that its creation printed")
            command = CreateToken(token_id="", kind=TokenKind.API_TOKEN, name=name, hint="", scopes=scopes)
            done = accepted(await core.commands.create(operator(organization_id), command))
            if done.secret is not None:
                click.echo(done.secret.reveal())

    run(options, work)


Result = TypeVar("Result")


def accepted(outcome: Result | Refused) -> Result:
    """Return what was done, or end with why it was refused."""
    if isinstance(outcome, Refused):
        problems = [f"{'.'.join(r.field[1:]) if r.field else 'it'} {r.message}" for r in outcome.refusals]
        raise click.ClickException("; ".join(problems))
    return outcome


if __name__ == "__main__":
    main()
