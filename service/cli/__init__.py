"""The command line: `entri serve` and what operators need beside it. Must never print a secret unasked."""

from importlib.metadata import version

import click

from service.cli.admin import admin
from service.cli.archive import archive_command
from service.cli.database import migrate, rebuild_command
from service.cli.log import log
from service.cli.running import examples
from service.cli.schema import schema
from service.cli.serve import serve


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples("entri serve", "entri serve --help", "ENTRI_PORT=9090 entri serve"),
)
@click.version_option(version("entri-tokens"), prog_name="entri")
def main() -> None:
    """Issue, rotate, revoke and verify API credentials, and keep their whole history."""


for command in (serve, migrate, rebuild_command, archive_command, log, schema, admin):
    main.add_command(command)
