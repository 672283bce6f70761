"""Services that share one embedded PostgreSQL, as processes of their own. Must never leave one behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.server import Server, postmaster, scratch
from bench.serving import HOST, PATIENCE_S, Service, free_port, is_ready
from service import embedded_postgres


@dataclass(slots=True, kw_only=True)
class Fleet:
    """Running services and the server that they share; owns their processes."""

    server: Server
    """Its database is `entri`."""
    services: list[Service] = field(default_factory=list)
    _processes: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        """Say where the services keep their keys and the cluster."""
        return self.server.directory / "data"

    @property
    def key(self) -> str:
        """Read the first token's secret."""
        return (self.server.directory / "first-token").read_text(encoding="ascii").strip()

    def start(self, *options: str, count: int = 1) -> Sequence[Service]:
        """Start more services: the first by itself, for it may have to migrate, the others together."""
        first = [self._ready(self._launched(options))] if count and not self.services else []
        launched = [self._launched(options) for _ in range(count - len(first))]
        return [*first, *(self._ready(each) for each in launched)]

    def _launched(self, options: Sequence[str]) -> tuple["subprocess.Popen[bytes]", int]:
        place, port = self.server.directory, free_port()
        command = [sys.executable, "-m", "service", "serve", "--host", HOST, "--port", str(port)]
        command += ["--data-dir", str(self.data_dir), "--bootstrap-token-file", str(place / "first-token")]
        command += ["--drain-delay-s", "0", *options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ENTRI_")}
        with (place / f"errors-{port}").open("wb") as written:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=written, env=environment)
        self._processes[process.pid] = process
        return process, port

    def _ready(self, launched: tuple["subprocess.Popen[bytes]", int]) -> Service:
        (process, port), place = launched, self.server.directory
        if not is_ready(process, port, place / "first-token"):
            said = (place / f"errors-{port}").read_text(encoding="utf-8")
            raise SystemExit(f"the service did not start:\n{said}")
        started = Service(
            pid=process.pid, host=HOST, port=port, key=self.key, postgres_pid=postmaster(self.server.cluster)
        )
        self.services.append(started)
        return started

    def kill(self, service: Service) -> None:
        """End a service at once, as a crash does."""
        process = self._processes.pop(service.pid)
        process.kill()
        process.wait(PATIENCE_S)
        self.services.remove(service)

    def stop(self) -> None:
        """End every service in order."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait(PATIENCE_S)


@contextmanager
def fleet(
    directory: Path, *, count: int = 1, options: Sequence[str] = (), preload: str | None = None
) -> Iterator[Fleet]:
    """Run services on an empty data directory until left, with a library preloaded into their server."""
    with scratch(directory) as place:
        running = embedded_postgres.start(place / "data")
        try:
            if preload is not None:
                running = restarted(running, place / "data", preload)
            owner = running.owner_dsn.replace("@/entri?", "@/{}?")
            server = Server(
                superuser_dsn=owner.replace("entri_owner", "postgres"),
                owner_dsn=owner,
                service_dsn=running.service_dsn.replace("@/entri?", "@/{}?"),
                cluster=running.cluster_path,
                directory=place,
            )
            together = Fleet(server=server)
            try:
                together.start(*options, count=count)
                yield together
            finally:
                together.stop()
        finally:
            running.release()


def restarted(
    running: embedded_postgres.EmbeddedPostgres, data_dir: Path, preload: str
) -> embedded_postgres.EmbeddedPostgres:
    """Start a server again with a library preloaded, which only a start can do."""
    with (running.cluster_path / "postgresql.auto.conf").open("a", encoding="ascii") as written:
        written.write(f"shared_preload_libraries = '{preload}'\n")
    running.release()
    return embedded_postgres.start(data_dir)
