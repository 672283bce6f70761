"""How every command runs: its settings, its end, and what is told of what went wrong. Must never print a secret.

Exit codes: 0 done, 1 it could not be done, 2 the command or its settings were wrong.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click
import uvloop

from events.archive import ArchiveError
from events.export_format import ExportError
from events.migrate import MigrationError
from events.refusals import Refused
from events.writer import LogUnavailableError, OutcomeUnknownError
from projections.past import PastError
from projections.rebuild import RebuildError
from service.availability import UNAVAILABLE
from service.bootstrap import BootstrapError
from service.cli.examples import examples
from service.database import DatabaseError
from service.embedded_postgres import EmbeddedPostgresError
from service.host_checkpoint import HostCheckpointError
from service.key_rotation import RotationError
from service.keyring import KeyFileError
from service.logs import configure_logs
from service.settings import OPTIONS, Settings, SettingsError, load
from service.signing import NotSignedError
from service.slots import WorkersError
from service.sockets import ListenError

__all__ = ["DATABASE_OPTIONS", "KEY_OPTIONS", "accepted", "examples", "run", "settings_options", "tell_signals"]

EXPECTED = (
    ArchiveError,
    BootstrapError,
    DatabaseError,
    EmbeddedPostgresError,
    ExportError,
    HostCheckpointError,
    KeyFileError,
    ListenError,
    LogUnavailableError,
    MigrationError,
    NotSignedError,
    OutcomeUnknownError,
    PastError,
    RebuildError,
    RotationError,
    WorkersError,
)
DATABASE_OPTIONS = ("data_dir", "database_url", "owner_database_url", "log_level", "log_format")
KEY_OPTIONS = ("pepper_file", "kek_file", "log_key_file", "secret_prefix")
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


Result = TypeVar("Result")


def accepted(outcome: Result | Refused) -> Result:
    """Return what was done, or end with why it was refused."""
    if isinstance(outcome, Refused):
        problems = [f"{'.'.join(r.field[1:]) if r.field else 'it'} {r.message}" for r in outcome.refusals]
        raise click.ClickException("; ".join(problems))
    return outcome
