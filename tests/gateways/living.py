"""A real service as a process of its own that a test may stop, kill and start again on its port."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from tests.cli.processes import Answer, Service, ask, entri, eventually, postmaster_pid
from tests.gateways.running import free_port
from tests.replay.test_outage import end_postmaster, is_ready, nobody_starts

CREATE: Final = """mutation ($scopes: [String!]!) {
  createToken(input: {name: "of a client", scopes: $scopes}) { token { id } secret }
}"""
REVOKE: Final = "mutation ($id: ID!) { revokeToken(input: {id: $id}) { token { id } userErrors { code } } }"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token and its secret."""

    id: str
    key: str


class Living:
    """The service, its first token, and what that token's organization issues."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.port = free_port()
        self._process = Service(data_dir, "--port", self.port)
        line = self._process.out.wait_for("bootstrap token: ")
        assert line is not None
        self._key = line.split()[-1]
        self.organization: str = self.told("{ organization { id } }")["organization"]["id"]

    def told(self, query: str, **variables: object) -> dict[str, Any]:
        """Ask over GraphQL as the first token, again for as long as it is said to try again."""
        body = {"query": query, "variables": variables}
        return eventually(lambda: self._unless_unavailable(body)).data

    def _unless_unavailable(self, body: object) -> Answer | None:
        answer = ask(f"{self._process.url}/graphql", key=self._key, body=body)
        return None if answer.status == HTTPStatus.SERVICE_UNAVAILABLE else answer

    def token(self, *scopes: str) -> Issued:
        """Issue a token."""
        created = self.told(CREATE, scopes=scopes)["createToken"]
        return Issued(id=created["token"]["id"], key=created["secret"])

    def revoke(self, token: Issued) -> None:
        """Revoke a token, and return when that is done."""
        assert self.told(REVOKE, id=token.id)["revokeToken"]["userErrors"] == []

    @cached_property
    def foreign_key(self) -> str:
        """Issue a good key of another organization."""
        organization = self._admin_says("organization", "create", "another")
        return self._admin_says("token", "create", "--organization", organization, "--name", "x", "--scope", "*:*")

    def _admin_says(self, *command: str) -> str:
        done = entri("admin", *command, "--data-dir", self._data_dir)
        assert done.code == 0, done.err
        return done.out.strip()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the process take connections and answer none."""
        self._process.tell(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.tell(signal.SIGCONT)

    @contextmanager
    def killed(self) -> Iterator[None]:
        """Let there be no process, and start another on the same port and data."""
        self._process.tell(signal.SIGKILL)
        self._process.end()
        try:
            yield
        finally:
            self._process = Service(self._data_dir, "--port", self.port)

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """Let PostgreSQL be away, and come back of itself."""
        with nobody_starts(self._data_dir):
            end_postmaster(self._data_dir, signal.SIGQUIT)
            eventually(lambda: postmaster_pid(self._data_dir) is None)
            yield
        eventually(lambda: is_ready(self._process))

    def end(self) -> None:
        """Stop as a supervisor does."""
        self._process.stop()
