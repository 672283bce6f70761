"""`entri export`. Must never write over anything, nor print what it exports."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from events.export import AT_ONCE, Asked
from events.export_format import Manifest
from events.identifiers import prefix_of
from service.availability import UNAVAILABLE
from service.cli.progress import Progress
from service.cli.running import DATABASE_OPTIONS, examples, run, settings_options
from service.core import open_signer
from service.database import open_database, prepare
from service.export_files import open_output
from service.exporting import Exporter
from service.settings import Settings

CONNECTIONS = AT_ONCE + 1
INTERRUPTIONS: tuple[type[BaseException], ...] = (asyncio.CancelledError, *UNAVAILABLE)


@click.command(
    "export",
    epilog=examples(
        "entri export --output log-2026-01",
        "entri export --organization org_… --output acme.ndjson",
        "entri export --from 1000001 --output since-january",
    ),
)
@click.option("--organization", help="Only this organization's history (org_…), by its own positions.")
@click.option("--from", "first", type=click.IntRange(min=1), help="The first position; 1 if not given.")
@click.option("--to", "last", type=click.IntRange(min=1), help="The last position; if not given, the newest.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="A new directory, or one new file where the name ends in .ndjson.",
)
@settings_options(*DATABASE_OPTIONS, "log_key_file")
def export_command(organization: str | None, output: Path, **options: Any) -> None:  # noqa: ANN401 -- click hands in what it read
    """Export the history with all that proves it, for `entri verify-log`. Run again, it goes on where it was."""
    if organization is not None and prefix_of(organization) != "org":
        raise click.UsageError("--organization takes an organization's id, org_ and 26 characters")
    asked = Asked(organization, options.pop("first"), options.pop("last"))
    place = output.absolute()

    async def work(settings: Settings) -> None:
        async with open_database(settings) as database:
            await prepare(database)
            async with database.pool(CONNECTIONS) as pool:
                signer, _ = await open_signer(pool, settings)
                with open_output(place) as opened, resumable(), Progress("exporting") as progress:

                    def show(manifest: Manifest, position: int) -> None:
                        progress.show(manifest.events, position - manifest.first + 1)

                    manifest = await Exporter(signer).export(asked, opened, show)
        click.echo(f"positions {manifest.first} to {manifest.last} of {manifest.origin} are in {output}")

    run(options, work)


@contextmanager
def resumable() -> Iterator[None]:
    """Say how to go on after what is nobody's fault."""
    try:
        yield
    except INTERRUPTIONS:
        click.echo("interrupted: the same command goes on where this one was", err=True)
        raise
