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
from service.bootstrap import BootstrapError, SecretFile
from service.database import DatabaseError, open_database, prepare
from service.embedded_postgres import EmbeddedPostgresError
from service.keyring import KeyFileError
from service.logs import configure_logs
from service.settings import OPTIONS, Settings, SettingsError, load

EXPECTED = (
    BootstrapError,
    DatabaseError,
    EmbeddedPostgresError,
    KeyFileError,
    LogUnavailableError,
    MigrationError,
    OutcomeUnknownError,
    RebuildError,
)
DATABASE_OPTIONS = ("data_dir", "database_url", "owner_database_url", "log_level", "log_format")
KEY_OPTIONS = ("pepper_file", "kek_file", "secret_prefix")
Command = TypeVar("Command", bound=Callable[..., object])


def settings_options(*names: str) -> Callable[[Command], Command]:
    """Give a command these settings as options, or all of them."""

    def decorate(command: Command) -> Command:
        for option in reversed(OPTIONS):
            if not names or option.name in names:
                meaning = f"{option.help} ({option.expects}) [{option.variable}]"
                command = click.option(option.flag, option.name, help=meaning, metavar="VALUE")(command)
        return command

    return decorate


def run(options: dict[str, Any], work: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    """Read the settings and run a command, turning what is expected to go wrong into one line and an exit code."""
    try:
        settings = load(os.environ, options)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    configure_logs(settings)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work(settings))
    except EXPECTED as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.strerror or error}") from None


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("entri-tokens"), prog_name="entri")
def main() -> None:
    """Issue, rotate, revoke and verify API credentials, and keep their whole history."""


@main.command()
@settings_options()
def serve(**options: str | None) -> None:
    r"""Serve GraphQL on /graphql, gateways on /verify, operators on /livez, /readyz and /metrics.

    \b
    Examples:
      entri serve
      entri serve --port 9090 --data-dir /var/lib/entri
      ENTRI_DATABASE_URL=postgresql://entri@db/entri entri serve --host 0.0.0.0
    """
    run(options, serve_until_told)


async def serve_until_told(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    told = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, told.set)
    path = settings.bootstrap_token_file
    file = None if path is None or path.exists() else SecretFile(path)
    async with serving(settings) as (_, url, first):
        if file is not None:
            file.write(first)
        elif first is not None:
            click.echo(f"bootstrap token: {first.reveal()}")
        click.echo(f"serving {url}/graphql", err=True)
        await told.wait()


@main.command()
@settings_options(*DATABASE_OPTIONS)
def migrate(**options: str | None) -> None:
    r"""Bring the database up to date; prints what was applied. `entri serve` does so by itself.

    \b
    Example:
      entri migrate --database-url postgresql://entri_owner@db/entri
    """

    async def work(settings: Settings) -> None:
        async with open_database(settings) as database:
            applied = await prepare(database)
        click.echo("\n".join(applied) or "nothing to do")

    run(options, work)


@main.command("rebuild")
@click.argument("name", type=click.Choice(list(READ_MODELS)))
@settings_options(*DATABASE_OPTIONS)
def rebuild_command(name: str, **options: str | None) -> None:
    r"""Fold a read model from the log into a new table beside the live one, and switch to it.

    \b
    Example:
      entri rebuild tokens
    """

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


@main.command()
def schema() -> None:
    r"""Print the GraphQL schema.

    \b
    Example:
      entri schema > schema.graphql
    """
    from service.api.schema import make_schema  # noqa: PLC0415 -- only this command needs it

    click.echo(make_schema().as_str())


@main.group()
def admin() -> None:
    """Do what only the operator may: with the database's own credentials, from its host."""


@admin.group()
def organization() -> None:
    """Organizations."""


@organization.command("create")
@click.argument("name")
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def create_organization(name: str, **options: str | None) -> None:
    r"""Create an organization; prints its id.

    \b
    Example:
      entri admin organization create "Acme"
    """

    async def work(settings: Settings) -> None:
        async with open_core(settings) as core:
            click.echo(accepted(await core.organizations.create(name)))

    run(options, work)


@admin.group("token")
def token_group() -> None:
    """Tokens."""


@token_group.command("create")
@click.option("--organization", "organization_id", required=True, help="The organization's id (org_…).")
@click.option("--name", required=True, help="What people call the token.")
@click.option("--scope", "scopes", multiple=True, help="What it may do, such as tokens:read; may be repeated.")
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def create_token(organization_id: str, name: str, scopes: tuple[str, ...], **options: str | None) -> None:
    r"""Issue an API token; prints its secret alone, once.

    \b
    Example:
      entri admin token create --organization org_… --name ci --scope tokens:read --scope tokens:verify
    """

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
