"""An HTTP client that costs little: it sends prepared bytes and looks at a status and a mark. Must never run alone.

`python -m bench.client` is a process of its own, so that its work does not delay the answers it times; it reads a
`Load` as JSON from standard input and writes a `Report` as JSON. Each connection sends its next request when it was
answered. It knows no more of HTTP/1.1 than the service's answers need: a status line, `Content-Length`, keep-alive.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final, cast

import uvloop

from bench.serving import Service

PATIENCE_S: Final = 120
LENGTH: Final = b"content-length:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send, over how many connections, and for how long."""

    host: str
    port: int
    connections: int
    requests: Sequence[str]
    """Sent in turn; from the start again while there is time."""
    mark: str
    """What the body of a good answer contains."""
    seconds: float | None
    """None: each request is sent once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of it."""

    seconds: float
    latencies_s: Sequence[float]
    """Of good answers, in ascending order."""
    failures: int
    cpu_s: float

    @property
    def rate(self) -> float:
        """How many good answers came in a second."""
        return len(self.latencies_s) / self.seconds


class Connection(asyncio.Protocol):
    """One connection: owns what was received of the answer that it waits for."""

    def __init__(self, requests: Iterator[bytes], mark: bytes, until: float) -> None:
        self.latencies_s: list[float] = []
        self.failures = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._mark = mark
        self._until = until
        self._received = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is none by name
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take in a part of the answer; when it is whole, send the next request."""
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < length_of(head):
            return
        if head.startswith(b"HTTP/1.1 200") and self._mark in body:
            self.latencies_s.append(time.perf_counter() - self._sent_at)
        else:
            self.failures += 1
        self._received = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; an answer that was still waited for is a failure."""
        if not self.ended.done():
            self.failures += exc is not None
            self.ended.set_result(None)

    def _send(self) -> None:
        request = next(self._requests, None) if time.perf_counter() < self._until else None
        if request is None:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


def length_of(head: bytes) -> int:
    """Read how long an answer's body is."""
    lowered = head.lower()
    start = lowered.find(LENGTH)
    return 0 if start < 0 else int(lowered[start + len(LENGTH) :].split(b"\r\n", 1)[0])


async def send(load: Load) -> Report:
    """Send the load and report."""
    encoded = [request.encode() for request in load.requests]
    requests = iter(encoded) if load.seconds is None else itertools.cycle(encoded)
    until = float("inf") if load.seconds is None else time.perf_counter() + load.seconds
    cpu_s, began = time.process_time(), time.perf_counter()
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Connection(requests, load.mark.encode(), until), load.host, load.port)
        for _ in range(load.connections)
    ]
    connections = [connection for _, connection in opened]
    await asyncio.gather(*(connection.ended for connection in connections))
    return Report(
        seconds=time.perf_counter() - began,
        latencies_s=sorted(latency for connection in connections for latency in connection.latencies_s),
        failures=sum(connection.failures for connection in connections),
        cpu_s=time.process_time() - cpu_s,
    )


def request_text(service: Service, target: str, headers: dict[str, str], body: str | None = None) -> str:
    """Write one request: a POST of JSON where it has a body, else a GET."""
    lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1", f"Host: {service.host}:{service.port}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"]
    return "\r\n".join((*lines, "", body or ""))


def reported(load: Load) -> Report:
    """Send a load from a process of its own, whatever the answers are. Raises SystemExit when the client failed."""
    command = (sys.executable, "-m", "bench.client")
    ended = subprocess.run(
        command, input=json.dumps(asdict(load)), capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    if ended.returncode != 0:
        raise SystemExit(f"the client failed:\n{ended.stderr}")
    return Report(**json.loads(ended.stdout))


def send_from_another_process(load: Load) -> Report:
    """Send a load from a process of its own. Raises SystemExit when any answer was not good."""
    report = reported(load)
    if report.failures or not report.latencies_s:
        raise SystemExit(f"{report.failures} answers were not good, {len(report.latencies_s)} were")
    return report


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(send(Load(**json.load(sys.stdin)))))))
