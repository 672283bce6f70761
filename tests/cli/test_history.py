"""`entri events` and `entri replay` as an operator uses them, beside a running service."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import main
from tests.cli.processes import ENTRI, Process, Service, create_token, entri
from tests.places import data_directory

QUIETLY = ("--log-level", "warning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running service with a short history."""

    url: str
    data_dir: Path
    key: str
    tokens: tuple[str, ...]

    def entri(self, *arguments: object) -> list[str]:
        """Run a command that succeeds quietly, and return its lines."""
        ended = entri(*arguments, "--data-dir", self.data_dir, *QUIETLY)
        assert (ended.code, ended.err) == (0, "")
        return ended.out.splitlines()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """Run a service, and let it issue two tokens."""
    with data_directory() as path, Service(path) as service:
        line = service.out.wait_for("bootstrap token: ")
        assert line is not None
        key = line.split()[-1]
        made = [create_token(service.url, key, name=name).data["createToken"] for name in ("a", "b")]
        yield Running(url=service.url, data_dir=path, key=key, tokens=tuple(str(one["token"]["id"]) for one in made))
        assert service.stop().code == 0


def test_the_history_is_printed_for_people_and_programs(running: Running) -> None:
    """A line an event, plain in a pipe, the same as JSON; the tokens are printed as they were and as they are."""
    told = [json.loads(line) for line in running.entri("events", "--type", "TokenCreated", "--json")]
    assert [one["entry"]["payload"]["name"] for one in told][1:] == ["a", "b"]
    organization, second = told[0]["entry"]["organization"], told[1]["position"]
    chosen = ("--organization", organization, "--token", running.tokens[1], "--after", second, "--limit", 1)
    (line,) = running.entri("events", *chosen)
    assert line.split()[0] == str(told[2]["organization_position"])
    assert line.split()[2:4] == ["TokenCreated", running.tokens[1]]
    then = [json.loads(line) for line in running.entri("replay", "--until", second, "--json")]
    assert [one["id"] for one in then] == sorted(one["entry"]["subject"] for one in told[:2])
    assert [one["scopes"] for one in then][1] == []
    now = running.entri("replay", "--organization", organization)
    assert {line.split()[1] for line in now} >= {one["entry"]["subject"] for one in told}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("events", "--type", "TokenBlessed"), "'TokenCreated', 'TokenUpdated', "),
        (("events", "--token", "entri_hush"), "'--token': this is not the id of a token: tok_ and 26 characters"),
        (("events", "--organization", "tok_hush"), "this is not the id of an organization"),
        (("events", "--after", "-1"), "-1 is not in the range"),
        (("replay", "--until", "hush.5"), "is not a valid integer range"),
    ],
)
def test_what_is_asked_wrongly_is_told(arguments: tuple[str, ...], complaint: str) -> None:
    """What is wrong is said, with what would be right, and an id that may be a key is not quoted."""
    ended = CliRunner().invoke(main, arguments)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert complaint in ended.stderr
    assert "entri_hush" not in ended.stderr


def test_a_position_that_is_not_there_yet_is_told(running: Running) -> None:
    """Beyond the head there is nothing, and the message says where the head is."""
    ended = entri("replay", "--until", 1_000_000, "--data-dir", running.data_dir, *QUIETLY)
    assert (ended.code, ended.out) == (1, "")
    assert re.fullmatch(r"Error: there is no position 1000000: the history ends at \d+\n", ended.err)


def test_following_goes_on_until_told(running: Running) -> None:
    """What happens later is printed too; a signal to stop ends it at once and quietly, with the shell's exit code."""
    with Process("events", "--follow", "--json", "--data-dir", running.data_dir, *QUIETLY) as process:
        assert process.out.wait_for(running.tokens[-1])
        made = create_token(running.url, running.key).data["createToken"]["token"]["id"]
        assert process.out.wait_for(made)
        process.tell(signal.SIGINT)
        ended = process.end()
    assert (ended.code, ended.err) == (130, "")
    positions = [json.loads(line)["position"] for line in ended.out.splitlines()]
    assert positions == list(range(1, len(positions) + 1))


def test_a_reader_that_has_seen_enough_ends_it(running: Running) -> None:
    """`| head -1` ends following quietly and with success, though nothing more happens."""
    command = f"{ENTRI[0]} events --follow --log-level warning --data-dir {running.data_dir} | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
