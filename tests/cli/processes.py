"""The command line as real processes, and plain HTTP to them. Must never leave one running."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self, TypeVar

REPOSITORY: Final = Path(__file__).parents[2]
ENTRI: Final = (str(Path(sys.executable).parent / "entri"),)
MODULE: Final = (sys.executable, "-m", "service")
PATIENCE_S: Final = 60.0

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended, and all that it said."""

    code: int
    out: str
    err: str


class Lines:
    """The lines of a pipe, read by a thread so that their writer never waits."""

    def __init__(self, pipe: IO[str]) -> None:
        self._lines: list[str] = []
        self._has_ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def wait_for(self, what: str) -> str | None:
        """Wait for a line that holds a text; None when the pipe ended without one."""
        return next(iter(self.wait_for_all(what, count=1)), None)

    def wait_for_all(self, what: str, *, count: int) -> list[str]:
        """Wait for that many lines that hold a text, and return all there are; fewer when the pipe ended."""

        def found() -> list[str]:
            return [line for line in self._lines if what in line]

        with self._changed:
            enough = self._changed.wait_for(lambda: len(found()) >= count or self._has_ended, PATIENCE_S)
            assert enough, f"{what}: {self._lines}"
            return found()

    def text(self) -> str:
        """Wait for the end, and return everything."""
        self._thread.join(PATIENCE_S)
        return "".join(self._lines)


class Process:
    """One `entri` that runs, killed when the block around it ends before it does."""

    def __init__(
        self, *arguments: object, variables: Mapping[str, str] | None = None, program: tuple[str, ...] = ENTRI
    ) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ENTRI_")}
        self._process = subprocess.Popen(
            [*program, *map(str, arguments)],
            env={**inherited, **(variables or {})},
            cwd=REPOSITORY,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.out, self.err = Lines(self._process.stdout), Lines(self._process.stderr)

    def __enter__(self) -> Self:
        """Let the block use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it if it still runs, as kindly as possible."""
        if self._process.poll() is None:
            self.tell(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
            self.end()

    @property
    def pid(self) -> int:
        """Tell its process id."""
        return self._process.pid

    def tell(self, signal_number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(signal_number)

    def end(self) -> Ended:
        """Wait until it has ended."""
        code = self._process.wait(PATIENCE_S)
        return Ended(code=code, out=self.out.text(), err=self.err.text())


class Service(Process):
    """A running `entri serve` on a port of its own choice, which has begun to serve."""

    def __init__(self, data_dir: Path, *arguments: object, variables: Mapping[str, str] | None = None) -> None:
        super().__init__(
            *("serve", "--port", 0, "--data-dir", data_dir, "--drain-delay-s", 0, *arguments), variables=variables
        )
        line = self.err.wait_for("serving http://")
        assert line is not None, self.end()
        self.url = line.split()[1].removesuffix("/graphql")

    def stop(self) -> Ended:
        """Stop it as a supervisor does."""
        self.tell(signal.SIGTERM)
        return self.end()


def entri(*arguments: object, variables: Mapping[str, str] | None = None) -> Ended:
    """Run a command to its end."""
    with Process(*arguments, variables=variables) as process:
        return process.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back over HTTP, and after how long."""

    status: int
    headers: Mapping[str, str]
    text: str
    seconds: float

    @property
    def data(self) -> dict[str, Any]:
        """The data of a GraphQL answer without errors."""
        body: dict[str, Any] = json.loads(self.text)
        assert "errors" not in body, self.text
        data: dict[str, Any] = body["data"]
        return data


def ask(url: str, *, key: str | None = None, body: object = None) -> Answer:
    """Get a URL or post JSON to it."""
    headers = {"Accept": "application/graphql-response+json", "Content-Type": "application/json"}
    headers |= {"X-API-Key": key} if key else {}
    content = None if body is None else json.dumps(body).encode()
    began = time.monotonic()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, content, headers), timeout=20) as response:
            status, found, text = response.status, dict(response.headers), response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            status, found, text = error.code, dict(error.headers), error.read().decode()
    return Answer(status=status, headers=found, text=text, seconds=time.monotonic() - began)


def create_token(url: str, key: str, *, name: str = "a token") -> Answer:
    """Ask for a token over GraphQL."""
    query = "mutation($name: String!) { createToken(input: {name: $name}) { token { id } secret position } }"
    return ask(f"{url}/graphql", key=key, body={"query": query, "variables": {"name": name}})


def eventually(probe: Callable[[], Found | None]) -> Found:
    """Ask until there is an answer."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not (found := probe()):
        assert time.monotonic() < give_up_at, "it did not come to pass"
        time.sleep(0.01)
    return found


def is_running(pid: int) -> bool:
    """Tell whether a process is there and has not ended; one that nobody has reaped yet has."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def postmaster_pid(data_dir: Path) -> int | None:
    """Read which process serves a data directory, None when none does."""
    with suppress(FileNotFoundError, IndexError):
        return int((data_dir / "postgresql" / "postmaster.pid").read_text().splitlines()[0])
    return None
