"""The command line: `entri serve` and what operators need beside it. Must never print a secret unasked.

A command's module is loaded when the command is asked for: an auditor's `entri verify-log` starts without the service.
"""

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from importlib.metadata import version

import click

from service.cli.examples import examples


class OnDemand(MutableMapping[str, click.Command]):
    """Commands by name, each of them in a module of its own until somebody looks at it."""

    def __init__(self, places: dict[str, str]) -> None:
        self._places = places
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        """Load a command."""
        if name not in self._loaded:
            module, _, attribute = self._places[name].partition(":")
            self._loaded[name] = getattr(import_module(f"service.cli.{module}"), attribute)
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        """Take a command that is loaded."""
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        """Forget a command."""
        self._places.pop(name, None)
        self._loaded.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        """Name the commands, in the order of the reference."""
        return iter(dict.fromkeys((*self._places, *self._loaded)))

    def __len__(self) -> int:
        """Count the commands."""
        return len(list(iter(self)))


COMMANDS = OnDemand(
    {
        "serve": "serve:serve",
        "migrate": "database:migrate",
        "rebuild": "database:rebuild_command",
        "archive": "archive:archive_command",
        "events": "history:events_command",
        "replay": "history:replay",
        "export": "export:export_command",
        "verify-log": "verify_log:verify_log",
        "log": "log:log",
        "schema": "schema:schema",
        "admin": "admin:admin",
        "keys": "keys:keys",
    }
)


@click.group(
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples("entri serve", "entri serve --help", "ENTRI_PORT=9090 entri serve"),
)
@click.version_option(version("entri-tokens"), prog_name="entri")
def main() -> None:
    """Issue, rotate, revoke and verify API credentials, and keep their whole history."""
