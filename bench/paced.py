"""A client that keeps to a rate: what is due is sent then, answered or not. Must never run beside what it times.

`python -m bench.paced` is a process of its own that reads a `Pace` as JSON and writes a `Kept`. A request that finds
every connection busy waits for one, and that counts as its latency: a service that stalls cannot slow its clients down
and so hide it. This file imports nothing of the service, so that a client is there at once and costs little.
"""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, cast

import uvloop

HOST: Final = "127.0.0.1"
TICK_S: Final = 0.001
PATIENCE_S: Final = 5.0
LENGTH: Final = b"content-length:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many requests a second, to which ports of this machine, with which keys in turn."""

    ports: Sequence[int]
    connections: int
    keys: Sequence[str]
    rate: float
    slices: int
    """Into so many parts of equal length the run is cut."""
    slice_s: float
    status: int = 200
    begin_at_s: float = 0.0
    """When the first is due, by the machine's monotonic clock, so that several clients can begin together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What came of a part of a run: of the requests that were due in it."""

    answers: int
    p50_ms: float
    p99_ms: float
    most_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What came of it."""

    slices: Sequence[Slice]
    good: int
    failures: int
    """Answers with another status."""
    unanswered: int
    cpu_s: float


class Runner:
    """Owns the connections and what is due."""

    def __init__(self, pace: Pace) -> None:
        self.idle: deque[Connection] = deque()
        self.latencies_s: list[list[float]] = [[] for _ in range(pace.slices)]
        self.good = self.failures = self.open = 0
        self._due: deque[float] = deque()
        self._pace = pace
        self._requests = [request_of(key) for key in pace.keys]
        self._sent = 0
        self._began = 0.0

    async def run(self) -> Kept:
        """Keep the pace to the end, then wait for what is still unanswered."""
        pace = self._pace
        await self._connect()
        await asyncio.sleep(max(0.0, pace.begin_at_s - time.monotonic()))
        self._began = time.perf_counter()
        whole = round(pace.rate * pace.slice_s * pace.slices)
        made = 0
        while made < whole and self.open:
            now = time.perf_counter()
            wanted = min(whole, int((now - self._began) * pace.rate))
            self._due.extend([now] * (wanted - made))
            made = wanted
            self.send()
            await asyncio.sleep(TICK_S)
        until = time.perf_counter() + PATIENCE_S
        while self.good + self.failures < made and self.open and time.perf_counter() < until:  # noqa: ASYNC110 -- nothing tells
            await asyncio.sleep(TICK_S)
        return Kept(
            slices=[slice_of(sorted(latencies)) for latencies in self.latencies_s if latencies],
            good=self.good,
            failures=self.failures,
            unanswered=made - self.good - self.failures,
            cpu_s=time.process_time(),
        )

    async def _connect(self) -> None:
        loop, ports = asyncio.get_running_loop(), self._pace.ports
        for number in range(self._pace.connections):
            await loop.create_connection(lambda: Connection(self), HOST, ports[number % len(ports)])

    def send(self) -> None:
        """Give what is due to connections that are idle."""
        while self._due and self.idle:
            self.idle.popleft().send(self._requests[self._sent % len(self._requests)], self._due.popleft())
            self._sent += 1

    def answered(self, head: bytes, due_at: float) -> None:
        """Take an answer down."""
        if head.startswith(b"HTTP/1.1 %d" % self._pace.status):
            self.good += 1
            part = min(self._pace.slices - 1, int((due_at - self._began) / self._pace.slice_s))
            self.latencies_s[part].append(time.perf_counter() - due_at)
        else:
            self.failures += 1


class Connection(asyncio.Protocol):
    """One connection: owns what was received of the answer that it waits for."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._received = b""
        self._due_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be there for a request."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is none by name
        self._runner.open += 1
        self._runner.idle.append(self)

    def send(self, request: bytes, due_at: float) -> None:
        """Send a request that was due then."""
        self._due_at = due_at
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take in a part of the answer; when it is whole, be there for the next."""
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if separator and len(body) >= length_of(head):
            self._received = b""
            self._runner.answered(head, self._due_at)
            self._runner.idle.append(self)
            self._runner.send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- how it ended does not matter
        """Be gone."""
        self._runner.open -= 1
        if self in self._runner.idle:
            self._runner.idle.remove(self)


def request_of(key: str) -> bytes:
    """Write the request that verifies a key."""
    return f"GET /verify HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {key}\r\n\r\n".encode()


def length_of(head: bytes) -> int:
    """Read how long an answer's body is."""
    lowered = head.lower()
    start = lowered.find(LENGTH)
    return 0 if start < 0 else int(lowered[start + len(LENGTH) :].split(b"\r\n", 1)[0])


def slice_of(ordered_s: Sequence[float]) -> Slice:
    """Sum up latencies in ascending order."""
    return Slice(
        answers=len(ordered_s),
        p50_ms=ordered_s[len(ordered_s) // 2] * 1000,
        p99_ms=ordered_s[len(ordered_s) * 99 // 100] * 1000,
        most_ms=ordered_s[-1] * 1000,
    )


async def keep(pace: Pace, *, may_fail: bool = False) -> Kept:
    """Keep a pace from another process. Raises SystemExit when an answer was wrong or did not come and may not fail."""
    command = (sys.executable, "-m", "bench.paced")
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        told, _ = await running.communicate(json.dumps(asdict(pace)).encode())
    except asyncio.CancelledError:
        running.kill()
        await running.wait()
        raise
    if running.returncode != 0:
        raise SystemExit("the client failed")
    kept = json.loads(told)
    report = Kept(**kept | {"slices": [Slice(**one) for one in kept["slices"]]})
    if not may_fail and (report.failures or report.unanswered or not report.good):
        raise SystemExit(f"{report.failures} answers were not {pace.status}, {report.unanswered} requests got none")
    return report


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as main:
        print(json.dumps(asdict(main.run(Runner(Pace(**json.load(sys.stdin))).run()))))
