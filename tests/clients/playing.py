"""Run one client against the service, and do what it asks for: restart or kill the service, or let itself stand still.

A client writes lines of JSON: `{"ask": …}`, which a line to it answers, and `{"scenario": …, "passed": …}`. Whatever
else it writes is kept for who reads why it failed.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any, Final, Self

from tests.cli.processes import Service, ask, entri

BURST: Final = 28
"""How many requests fill the connection of a client that stands still: 30 tokens each, 3 KiB of scopes a token."""
LONGEST_S: Final = 900.0
"""How long a client may take in all."""
_SCOPES: Final = [f"{'s' * 55}{number}:read" for number in range(10, 58)]
_CREATE: Final = "mutation Many($input: CreateTokenInput!) {{ {} }}".format(
    " ".join(f"t{number}: createToken(input: $input) {{ position }}" for number in range(30))
)


class Running:
    """The service on a port and a data directory that stay while it is restarted."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._service = Service(data_dir)

    def __enter__(self) -> Self:
        """Let the block use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._service.__exit__()

    @property
    def url(self) -> str:
        """Tell where it is."""
        return self._service.url

    def restart(self, how: signal.Signals) -> None:
        """End it with a signal, and start it again in the same place."""
        port = self.url.rpartition(":")[2]
        self._service.tell(how)
        ended = self._service.end()
        assert ended.code == (-how if how is signal.SIGKILL else 0), ended
        self._service = Service(self._data_dir, "--port", port)

    def export(self, path: Path, *options: str) -> None:
        """Export the history, of one organization or the whole log."""
        done = entri("export", "--output", path, *options, variables={"ENTRI_DATA_DIR": str(self._data_dir)})
        assert not done.code, done

    def new_key(self, organization: str) -> str:
        """Make an organization and a key of it that may do everything."""
        variables = {"ENTRI_DATA_DIR": str(self._data_dir)}
        made = entri("admin", "organization", "create", organization, variables=variables)
        command = ("admin", "token", "create", "--organization", made.out.strip(), "--name", "owner")
        token = entri(*command, "--scope", "*:*", variables=variables)
        assert not token.code, token
        return token.out.strip()


@dataclass(slots=True)
class Played:
    """How a client did: its scenarios with why they failed, and what it wrote beside that."""

    why: dict[str, str | None] = field(default_factory=dict)
    output: str = ""
    code: int = 0

    @property
    def line(self) -> str:
        """Say in a line how each scenario went."""
        return "  ".join(f"{scenario} {'FAILED' if why else 'ok'}" for scenario, why in self.why.items())

    @property
    def problem(self) -> str | None:
        """Say all that is known of what went wrong; None when nothing did."""
        if self.why and not any(self.why.values()) and self.code == 0:
            return None
        whys = [f"{scenario}: {why}" for scenario, why in self.why.items() if why]
        return "\n".join([*whys, self.output, f"it ended with {self.code}"])


def play(command: Sequence[str], folder: Path, service: Running, key: str, **variables: str) -> Played:
    """Run a client to its end."""
    environment = {**os.environ, "SERVICE_URL": service.url, "SERVICE_KEY": key, **variables}
    played = Played()
    with subprocess.Popen(
        command, cwd=folder, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as client:  # fmt: skip
        assert client.stdin is not None
        assert client.stdout is not None
        watchdog = Timer(LONGEST_S, client.kill)
        watchdog.start()
        try:
            for line in client.stdout:
                message = _message(line)
                if message is None:
                    played.output += line
                elif "ask" in message:
                    _answer(message["ask"], service, client, key=key)
                    client.stdin.write("done\n")
                    client.stdin.flush()
                else:
                    played.why[message["scenario"]] = message.get("why")
            played.code = client.wait()
        finally:
            watchdog.cancel()
            client.kill()
    return played


def _message(line: str) -> Mapping[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and message.keys() & {"ask", "scenario"} else None


def _answer(asked: str, service: Running, client: subprocess.Popen[str], *, key: str) -> None:
    if asked == "restart":
        service.restart(signal.SIGTERM)
    elif asked == "kill":
        service.restart(signal.SIGKILL)
    elif asked == "stall":
        client.send_signal(signal.SIGSTOP)
        try:
            _write_much(service.url, key)
        finally:
            client.send_signal(signal.SIGCONT)


def _write_much(url: str, key: str) -> None:
    """Make more events than the buffers between the service and a client hold."""
    variables = {"input": {"name": "one of many", "scopes": _SCOPES}}
    for _ in range(BURST):
        made = ask(f"{url}/graphql", key=key, body={"query": _CREATE, "variables": variables}).data
        assert all(each["position"] for each in made.values()), "nothing was written"
