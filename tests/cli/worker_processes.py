"""`entri serve --workers 2` as a real process, and who its workers are."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.cli.processes import Service

READY: Final = re.compile(r"worker_ready +pid=(\d+) worker=(\d+)")
IDLE_S: Final = 2


class Workers(Service):
    """A service with two workers."""

    def __init__(self, data_dir: Path, *arguments: object, variables: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        super().__init__(data_dir, "--workers", 2, "--header-timeout-s", IDLE_S, *arguments, variables=variables)
        self._starts = 2

    def pids(self, *, more_starts: int = 0) -> tuple[int, int]:
        """Wait for that many more starts of a worker, and tell who is in the two slots now."""
        self._starts += more_starts
        pids = {}
        for line in self.err.wait_for_all("worker_ready", count=self._starts):
            (pid, worker) = READY.search(line).groups()  # type: ignore[union-attr]  # None fails the test
            pids[int(worker)] = int(pid)
        return pids[0], pids[1]

    def token(self) -> str:
        """Read the first token, which a first start prints."""
        line = self.out.wait_for("bootstrap token: ")
        assert line is not None
        return line.split()[-1]
