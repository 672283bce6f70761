"""`entri serve` from its first start to its end, as real processes."""

import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.processes import (
    Ended,
    Process,
    Service,
    ask,
    create_token,
    entri,
    eventually,
    postmaster_pid,
)
from tests.places import data_directory

FIRST_TOKEN = re.compile(r"bootstrap token: (entri_[0-9A-Za-z]{49})\n")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Name a data directory that is not there yet."""
    with data_directory() as path:
        yield path


@pytest.fixture(scope="module")
def used() -> Iterator[tuple[Path, str]]:
    """Make a data directory by a first start, and the first token."""
    with data_directory() as path:
        with Service(path) as service:
            ended = service.stop()
        assert ended.code == 0, ended.err
        assert postmaster_pid(path) is None
        (token,) = FIRST_TOKEN.fullmatch(ended.out).groups()  # type: ignore[union-attr]  # None fails the test
        yield path, token


def refused(ended: Ended) -> str:
    """Check that a command could not be done, and return the one line that says why."""
    assert (ended.code, ended.out) == (1, ""), ended
    assert "Traceback" not in ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("Error: ")]
    return line


def test_only_the_first_start_prints_a_token(used: tuple[Path, str]) -> None:
    """The second start prints nothing and the first one's token still works; Ctrl-C ends it without a delay."""
    path, token = used
    with Service(path, "--drain-delay-s", 600) as service:
        assert ask(f"{service.url}/verify?scope=anything:at-all", key=token).status == 200
        service.tell(signal.SIGINT)
        ended = service.end()
    assert (ended.code, ended.out) == (0, "")
    assert postmaster_pid(path) is None
    assert token not in ended.err


def test_bootstrap_token_file(data_dir: Path) -> None:
    """The first token goes to a new file, none is overwritten, and a unit that always names the file starts again."""
    file = data_dir.parent / "first"
    file.write_text("mine")
    assert "exists, and no file is overwritten" in refused(
        entri("serve", "--port", 0, "--data-dir", data_dir, "--bootstrap-token-file", file)
    )
    assert file.read_text() == "mine"
    file.unlink()
    variables = {"ENTRI_BOOTSTRAP_TOKEN_FILE": str(file)}
    for _ in range(2):  # the second time the file exists and the log is not empty
        with Service(data_dir, variables=variables) as service:
            token = file.read_text().rstrip("\n")
            assert ask(f"{service.url}/verify", key=token).status == 200
            ended = service.stop()
        assert (ended.code, ended.out) == (0, "")
        assert file.stat().st_mode & 0o777 == 0o600


def test_keys_that_the_vault_needs(used: tuple[Path, str]) -> None:
    """A missing key file and another key under a known id are refused, no new key is made, and nothing goes on."""
    path, _ = used
    missing, foreign = path.parent / "missing", path.parent / "foreign"
    foreign.touch(0o600)
    foreign.write_text(f"k1:{'A' * 43}=\n")
    wrong = (("--pepper-file", missing), ("--kek-file", foreign))
    with ThreadPoolExecutor() as threads:
        running = [threads.submit(entri, "serve", "--port", 0, "--data-dir", path, *option) for option in wrong]
        lines = [refused(future.result()) for future in running]
    assert f"the pepper file {missing} is missing, and the database holds what was written under k1" in lines[0]
    assert f"the key-encryption key file {foreign} holds another key under the id k1" in lines[1]
    assert not missing.exists()
    assert postmaster_pid(path) is None


def test_two_services_share_a_data_directory(used: tuple[Path, str]) -> None:
    """The second joins, both serve, the first one's end disturbs nobody, and the last one out stops PostgreSQL."""
    path, token = used
    with Service(path) as first, Service(path) as second:
        issued = create_token(first.url, token).data["createToken"]["secret"]
        assert ask(f"{second.url}/verify", key=issued).status == 200
        assert first.stop().code == 0
        assert ask(f"{second.url}/readyz").status == 200
        assert create_token(second.url, issued).status == 200
        ended = second.stop()
    assert ended.code == 0
    assert "joined=True" in ended.err
    assert postmaster_pid(path) is None


def test_port_in_use(data_dir: Path) -> None:
    """A port that is taken ends the start in one line, before anything is made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = entri("serve", "--port", port, "--data-dir", data_dir)
    assert ended.err == f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    assert refused(ended)
    assert not data_dir.exists()


def test_what_cannot_be_used_is_told_in_a_line(data_dir: Path) -> None:
    """A data directory that is a file and a database that cannot be reached end the start, the URL not shown."""
    data_dir.touch()
    wrong = (("--data-dir", data_dir), ("--database-url", "postgresql://entri:hush@127.0.0.1:1/entri"))
    with ThreadPoolExecutor() as threads:
        running = [threads.submit(entri, "serve", "--port", 0, *option) for option in wrong]
        lines = [refused(future.result()) for future in running]
    assert f"The data directory {data_dir} is not a directory" in lines[0]
    assert "cannot connect to the database" in lines[1]
    assert "hush" not in lines[1]


def test_told_to_stop_while_it_starts(data_dir: Path) -> None:
    """What a start had begun is ended, be it the cluster's making or PostgreSQL's start; the next start works."""
    for awaited, signal_number in (("postgresql.lock", signal.SIGINT), ("postgresql/postmaster.pid", signal.SIGTERM)):
        with Process("serve", "--port", 0, "--data-dir", data_dir) as process:
            eventually((data_dir / awaited).exists)
            process.tell(signal_number)
            ended = process.end()
        assert (ended.code, "Traceback" in ended.err) == (0, False)
        assert postmaster_pid(data_dir) is None
    assert entri("migrate", "--data-dir", data_dir).code == 0
