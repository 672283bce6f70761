"""`entri migrate` and `entri rebuild`: what an operator does with the database itself."""

import sys

import click

from events.statement import Connection
from projections.read_models import READ_MODELS
from projections.rebuild import drop_leftovers, rebuild
from service.cli.rebuild_progress import RebuildProgress
from service.cli.running import DATABASE_OPTIONS, examples, run, settings_options
from service.database import open_database, prepare
from service.settings import Settings


@click.command(epilog=examples("entri migrate --database-url postgresql://entri_owner@db/entri"))
@settings_options(*DATABASE_OPTIONS)
def migrate(**options: str | None) -> None:
    """Bring the database up to date; prints what was applied. `entri serve` does so by itself."""

    async def work(settings: Settings) -> None:
        async with open_database(settings) as database:
            applied = await prepare(database)
        click.echo("\n".join(applied) or "nothing to do")

    run(options, work)


@click.command("rebuild", epilog=examples("entri rebuild tokens", "entri rebuild tokens --drop-old"))
@click.argument("name", type=click.Choice(list(READ_MODELS)))
@click.option("--restart", is_flag=True, help="Start anew where an unfinished rebuild could be gone on with.")
@click.option(
    "--drop-old", is_flag=True, help="Rebuild nothing: drop the table before the last switch, and unfinished ones."
)
@settings_options(*DATABASE_OPTIONS)
def rebuild_command(name: str, *, restart: bool, drop_old: bool, **options: str | None) -> None:
    """Fold a read model from the log into a new table beside the live one, and switch to it.

    A rebuild that was stopped is gone on with.
    """
    if restart and drop_old:
        raise click.UsageError("--restart and --drop-old are two different things: give one of them")

    async def work(settings: Settings) -> None:
        async with open_database(settings) as database:
            await prepare(database)
            connection = await database.connect_as_owner()
            try:
                done = await (dropped(connection, name) if drop_old else rebuilt(connection, name, restart=restart))
            finally:
                await connection.close()
        click.echo(f"{name}: {done}")

    run(options, work)


async def rebuilt(connection: Connection, name: str, *, restart: bool) -> str:
    """Rebuild a read model, show how far it is, and say what was done."""
    progress = RebuildProgress(name, write=write_error, is_terminal=sys.stderr.isatty())
    try:
        report = await rebuild(connection, name, restart=restart, on_progress=progress)
    finally:
        progress.end()
    done = f"{report.rows} rows from {report.events} events in {report.seconds:.1f} s"
    before = f", {report.resumed} of them folded before" if report.resumed else ""
    return f"{done}{before}; others waited {report.locked_s * 1000:.0f} ms for the switch"


async def dropped(connection: Connection, name: str) -> str:
    """Drop what rebuilds left, and say what that was."""
    tables = await drop_leftovers(connection, name)
    return f"dropped {', '.join(tables)}" if tables else "there is nothing to drop"


def write_error(text: str) -> None:
    """Write to standard error as it is."""
    click.echo(text, err=True, nl=False)
