"""`entri migrate` and `entri rebuild`: what an operator does with the database itself."""

import sys

import click

from projections.read_models import READ_MODELS
from projections.rebuild import rebuild
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


@click.command("rebuild", epilog=examples("entri rebuild tokens"))
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
