"""The service as users run it: `entri serve` in a process of its own with its own PostgreSQL. Must never outlive us."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import processes
from bench.server import cluster_of, postmaster, scratch

PATIENCE_S: Final = 60
HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Service:
    """A running service and the first token it made."""

    pid: int
    host: str
    port: int
    key: str
    postgres_pid: int

    def cpu_s(self) -> float:
        """Read the processor seconds that the service has used so far, PostgreSQL apart."""
        return sum(processes.stat_times(self.pid, with_ended_children=False)) / processes.TICKS_A_SECOND

    def postgres_cpu_s(self) -> float:
        """Read the processor seconds that its PostgreSQL has used so far."""
        return processes.cpu_s(self.postgres_pid)


@contextmanager
def serving(directory: Path) -> Iterator[Service]:
    """Serve from an empty data directory until left."""
    with scratch(directory) as place:
        data_dir, key_file, errors = place / "data", place / "first-token", place / "errors"
        port = free_port()
        command = [sys.executable, "-m", "service", "serve", "--host", HOST, "--port", str(port)]
        command += ["--data-dir", str(data_dir), "--bootstrap-token-file", str(key_file)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ENTRI_")}
        with errors.open("wb") as written:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=written, env=environment)
        try:
            if not is_ready(process, port, key_file):
                raise SystemExit(f"the service did not start:\n{errors.read_text(encoding='utf-8')}")
            yield Service(
                pid=process.pid,
                host=HOST,
                port=port,
                key=key_file.read_text(encoding="ascii").strip(),
                postgres_pid=postmaster(cluster_of(data_dir)),
            )
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server((HOST, 0)) as listening:
        return int(listening.getsockname()[1])


def is_ready(process: "subprocess.Popen[bytes]", port: int, key_file: Path) -> bool:
    """Wait until the service is ready and its first token is there; not so when it ends or takes too long."""
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=PATIENCE_S).close()
            if key_file.stat().st_size:
                return True
        time.sleep(0.02)
    return False
