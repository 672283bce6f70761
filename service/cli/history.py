"""`entri events` and `entri replay`: the history for people, from the host. Must never change anything."""

import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Final

import click
import orjson

from events.archive import archived_ranges, archived_usage
from events.identifiers import prefix_of
from events.log import BEYOND, Following, kinds_of, read_end
from events.registry import TYPES, utc_text
from events.statement import Pool
from projections.past import Place, rows_at
from projections.token_row import TOKENS
from service.cli.event_lines import Line, json_line, line_for_people, written
from service.cli.following import Reading, follow
from service.cli.output import Output, until_told
from service.cli.running import DATABASE_OPTIONS, examples, run, settings_options
from service.database import Database, open_database, prepare
from service.settings import Settings

STDOUT: Final = 1
Check = Callable[[click.Context, click.Parameter, Any], Any]


def ids_of(prefix: str, noun: str) -> Check:
    """Check that what is given are ids of a noun. What is wrong is not quoted: it may be a key, pasted by mistake."""

    def check(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:  # noqa: ANN401 -- click's own
        for identifier in value if isinstance(value, tuple) else (value,):
            if identifier is not None and prefix_of(identifier) != prefix:
                raise click.BadParameter(f"this is not the id of {noun}: {prefix}_ and 26 characters")
        return value

    return check


ORGANIZATION: Final = click.option(
    "--organization",
    metavar="ORG_ID",
    callback=ids_of("org", "an organization"),
    help="Only this organization's history, by its own positions.",
)
AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")


@click.command(
    "events",
    epilog=examples(
        "entri events --limit 20",
        "entri events --after 1000 --type TokenRevoked --type TokenRotated --json",
        "entri events --organization org_… --token tok_… --follow",
    ),
)
@ORGANIZATION
@click.option(
    "--after",
    "position",
    type=click.IntRange(0, BEYOND - 1),
    default=0,
    metavar="POSITION",
    help="Begin after this position; 0, the beginning, if unset.",
)
@click.option("--follow", is_flag=True, help="Go on as events come, until stopped.")
@click.option(
    "--type",
    "types",
    type=click.Choice(list(TYPES)),
    multiple=True,
    metavar="TYPE",
    help="Only events of this type, such as TokenRevoked; may be repeated.",
)
@click.option(
    "--token",
    "subjects",
    multiple=True,
    metavar="TOKEN_ID",
    callback=ids_of("tok", "a token"),
    help="Only events about this token; may be repeated.",
)
@click.option("--limit", "left", type=click.IntRange(1), metavar="N", help="End after so many events.")
@AS_JSON
@settings_options(*DATABASE_OPTIONS)
def events_command(**given: Any) -> None:  # noqa: ANN401 -- click's own
    """Print the log, oldest first, as an operator may: of all organizations.

    Ends with 0 when everything is printed or nobody reads it, with 130 or 143 when it is interrupted or terminated.
    """
    following = Following(
        organization=given.pop("organization"),
        types=given.pop("types") or None,
        subjects=given.pop("subjects") or None,
    )
    as_json, is_followed = given.pop("as_json"), given.pop("follow")
    position, left = given.pop("position"), given.pop("left")

    async def work(database: Database, output: Output) -> None:
        async with database.pool(1) as pool:
            await check_organization(pool, following.organization)
            await tell_of_archive(pool, following, position)
            line = json_line if as_json else human_line(following, output)
            reading = Reading(pool=pool, following=following, line=line, output=output, position=position, left=left)
            await reading.to_the_end()
            if is_followed:
                await follow(reading, database.connect)

    show(given, work)


async def tell_of_archive(pool: Pool, following: Following, position: int) -> None:
    """Say on standard error up to where usage is not in the log any more, if what is printed begins before."""
    if not kinds_of(following.types)[1]:
        return
    if following.organization is None:
        end = max([each.to_position - 1 for each in await archived_ranges(pool)], default=0)
    else:
        end = await archived_usage(pool, following.organization)
    if position < end:
        click.echo(f"usage up to position {end} was archived: its events are in the archive's files only", err=True)


def human_line(following: Following, output: Output) -> Line:
    """Choose how events are written for people: in colours on a terminal, unless they ask for none (no-color.org)."""
    has_colours = output.is_terminal and not os.environ.get("NO_COLOR")
    return line_for_people(of_one_organization=following.organization is not None, has_colours=has_colours)


Work = Callable[[Database, Output], Any]


def show(options: dict[str, Any], work: Work) -> None:
    """Run a command that prints much, and end with its exit code."""
    code = 0

    async def reading(settings: Settings) -> None:
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(open_database(settings))
            await prepare(database)
            await work(database, Output(STDOUT))

    async def stoppable(settings: Settings) -> None:
        nonlocal code
        code = await until_told(reading(settings))

    run(options, stoppable)
    sys.exit(code)


async def check_organization(pool: Pool, organization: str | None) -> None:
    """End plainly where there is no such organization."""
    if organization is not None and await read_end(pool, Following(organization=organization)) == 0:
        raise click.ClickException("there is no such organization: give the id that its creation printed")


@click.command(
    "replay",
    epilog=examples(
        "entri replay --until 1000",
        "entri replay --organization org_… --until 20 --json",
    ),
)
@click.option(
    "--until",
    type=click.IntRange(0, BEYOND - 1),
    metavar="POSITION",
    help="As of this position: of the log, or of the organization's history; the newest if unset.",
)
@ORGANIZATION
@AS_JSON
@settings_options(*DATABASE_OPTIONS)
def replay(**given: Any) -> None:  # noqa: ANN401 -- click's own
    """Print the tokens as they were, folded from the log, by organization and id.

    What is printed are the rows that the table of tokens had at that position, not those it has now.
    """
    organization, until, as_json = given.pop("organization"), given.pop("until"), given.pop("as_json")

    async def work(database: Database, output: Output) -> None:
        following = Following(organization=organization)
        async with database.pool(1) as pool:
            await check_organization(pool, organization)
            end = await read_end(pool, following)
        if until is not None and until > end:
            raise click.ClickException(f"there is no position {until}: the history ends at {end}")
        place = Place(organization=organization, position=end if until is None else until)
        line = token_json_line if as_json else token_line
        # Each page walks the index, whatever is known of the table.
        connection = await database.connect(enable_sort="off", enable_seqscan="off")
        try:
            async for rows in rows_at(connection, TOKENS, place):
                await output.write(b"".join([line(row) for row in rows]))
        finally:
            connection.terminate()

    show(given, work)


def token_json_line(row: tuple[object, ...]) -> bytes:
    """Write a row of the table of tokens as one line of JSON, by column."""
    values = zip(TOKENS.columns, map(plain, row), strict=True)
    return orjson.dumps(dict(values), option=orjson.OPT_APPEND_NEWLINE)


def token_line(row: tuple[object, ...]) -> bytes:
    """Write a row of the table of tokens for people: the token, then every column that holds something."""
    values = dict(zip(TOKENS.columns, map(plain, row), strict=True))
    start = f"{values.pop('organization'):<30}  {values.pop('id'):<30}  {values.pop('kind'):<13}"
    rest = [f"{column}={written(value)}" for column, value in values.items() if value is not None]
    return f"{start}  {' '.join(rest)}\n".encode()


def plain(value: object) -> object:
    """Write instants as the log does."""
    return utc_text(value) if isinstance(value, datetime) else list(value) if isinstance(value, tuple) else value
