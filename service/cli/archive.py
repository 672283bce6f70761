"""`entri archive`: old usage leaves the log for files. Must never go ahead without having said what it will do."""

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from events.archive import ArchivedRange
from events.log import read_head
from service.archiving import Plan, archive, drop, make_plan, only_archiver, open_directory
from service.cli.running import DATABASE_OPTIONS, examples, run, settings_options
from service.database import open_database, prepare
from service.settings import Settings

if TYPE_CHECKING:
    from events.statement import Connection

DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
POSITION: Final = re.compile(r"[1-9]\d{0,17}", re.ASCII)


class Before(click.ParamType[datetime | int]):
    """An instant, a day (its first instant in UTC), or a position of the whole log."""

    name = "instant or position"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime | int:
        """Read what was given."""
        text = str(value)
        if POSITION.fullmatch(text):
            return int(text)
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            instant = None
        if instant is not None and instant.tzinfo is None and DAY.fullmatch(text):
            instant = instant.replace(tzinfo=UTC)
        if instant is None or instant.tzinfo is None:
            self.fail(
                "this is neither an instant with its offset (2026-01-31T00:00:00Z), nor a day in UTC (2026-01-31), "
                "nor a position of the log (a number from 1)",
                param,
                ctx,
            )
        return instant


@click.command(
    "archive",
    epilog=examples(
        "entri archive --usage --before 2026-01-01 --output /var/backups/entri",
        "entri archive --usage --before 2026-01-01 --output /var/backups/entri --drop --yes",
    ),
)
@click.option("--usage", is_flag=True, help="Archive usage, the only kind of event that may be; needed.")
@click.option("--before", type=Before(), required=True, help="Only what was recorded before.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The directory that the files go to; made if missing.",
)
@click.option("--drop", "drops", is_flag=True, help="Drop the detached tables too, also those of earlier runs.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options(*DATABASE_OPTIONS)
def archive_command(
    *, usage: bool, before: datetime | int, output: Path, drops: bool, yes: bool, **options: str | None
) -> None:
    """Write old usage to files, verify them, and take its whole partitions out of the log.

    Decisions stay in the log for ever, and so do the proofs of everything.
    """
    if not usage:
        raise click.UsageError("say what to archive: --usage (decisions stay in the log for ever)")

    async def work(settings: Settings) -> None:
        async with open_database(settings) as database:
            await prepare(database)
            connection = await database.connect_as_owner()
            try:
                async with only_archiver(connection):
                    plan = await make_plan(connection, before, drops=drops)
                    if await is_wanted(connection, plan, yes=yes):
                        await carry_out(connection, plan, output, drops=drops)
            finally:
                await connection.close()

    run(options, work)


async def is_wanted(connection: "Connection", plan: Plan, *, yes: bool) -> bool:
    """Say what there is to do, and ask whether to do it."""
    for each in plan.archive:
        partition = each.partition
        click.echo(
            f"archive {partition.name}: positions {partition.from_position} to {partition.to_position - 1}, "
            f"{each.events:,} events of {each.entry_bytes:,} bytes, "
            f"up to {partition.last_recorded_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        )
    for archived in plan.drop:
        click.echo(f"drop {archived.detached_table}: {archived.events:,} events, in {archived.file}")
    if plan.is_empty:
        head = await read_head(connection)
        click.echo(f"nothing to do: no whole partition of usage lies before that (the log is at position {head})")
        return False
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to ask: add --yes to do this")
    return click.confirm("Do this?")


async def carry_out(connection: "Connection", plan: Plan, output: Path, *, drops: bool) -> None:
    """Archive partition after partition, oldest first, and drop what may be dropped."""
    open_directory(output)
    if plan.drop:
        await drop(connection, plan.drop, output)
        say_dropped(plan.drop)
    for each in plan.archive:
        positions = each.partition.to_position - each.partition.from_position
        with click.progressbar(length=2 * positions, label=each.partition.name, file=sys.stderr) as bar:
            archived = await archive(connection, each.partition, output, on_progress=bar.update)
        click.echo(f"archived {each.partition.name}: {archived.events:,} events, in {output / archived.file}")
        if drops:
            await drop(connection, [archived], output)
            say_dropped([archived])


def say_dropped(archived: Sequence[ArchivedRange]) -> None:
    """Say which tables are gone."""
    for each in archived:
        click.echo(f"dropped {each.detached_table}")
