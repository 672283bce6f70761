"""Callers that each begin again when they were answered, and how long answers took. Must never overlap two runs."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench import report
from bench.server import Server

Call = Callable[[int], Awaitable[float]]
"""Does one thing for a caller (by number) and answers how many seconds it was waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of some seconds of calling."""

    seconds: float
    latencies_s: Sequence[float]
    """In ascending order."""
    client_cpu_s: float
    server_cpu_s: float

    @property
    def rate(self) -> float:
        """How many calls were answered in a second."""
        return len(self.latencies_s) / self.seconds

    def latency_ms(self, share: float) -> float:
        """How long the given share of calls took at most."""
        return percentile(self.latencies_s, share) * 1000

    def cpu_us(self, cpu_s: float) -> float:
        """How much processor time one call took."""
        return cpu_s / len(self.latencies_s) * 1_000_000


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that takes calls, for the given seconds; all contenders take turns."""

    name: str
    run: Callable[[float], Awaitable[Sequence[float]]]


def percentile(ordered: Sequence[float], share: float) -> float:
    """Pick the value that the given share of an ascending sequence does not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def call_for(seconds: float, call: Call, *, callers: int) -> list[float]:
    """Let callers call for some seconds; answers how long each call was waited for."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        while time.perf_counter() < end:
            latencies.append(await call(number))

    async with asyncio.TaskGroup() as tasks:
        for number in range(callers):
            tasks.create_task(caller(number))
    return latencies


async def measure(server: Server, contender: Contender, seconds: float) -> Run:
    """Run a contender from a checkpoint on, so that all find the server alike."""
    await server.as_superuser("checkpoint")
    client, served, began = time.process_time(), server.cpu_s(), time.perf_counter()
    latencies = await contender.run(seconds)
    elapsed = time.perf_counter() - began
    return Run(
        seconds=elapsed,
        latencies_s=sorted(latencies),
        client_cpu_s=time.process_time() - client,
        server_cpu_s=server.cpu_s() - served,
    )


async def take_turns(
    server: Server, contenders: Sequence[Contender], *, seconds: float, repetitions: int
) -> dict[str, list[Run]]:
    """Warm every contender up, then run them one after another, again and again."""
    for contender in contenders:
        await contender.run(min(seconds, 0.3))
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for _ in range(repetitions):
        for contender in contenders:
            runs[contender.name].append(await measure(server, contender, seconds))
    return runs


def table(what: str, runs: dict[str, list[Run]]) -> report.Table:
    """Lay runs out as a table."""
    headers = (what, "a second", "p50 ms", "p99 ms", "client µs", "server µs")
    return report.Table(headers, [[name, *figures(repeated)] for name, repeated in runs.items()])


def figures(runs: Sequence[Run]) -> list[str]:
    """Write what repeated runs of one contender came to."""
    return [
        report.spread([run.rate for run in runs]),
        report.spread([run.latency_ms(0.5) for run in runs]),
        report.spread([run.latency_ms(0.99) for run in runs]),
        report.number(median(run.cpu_us(run.client_cpu_s) for run in runs)),
        report.number(median(run.cpu_us(run.server_cpu_s) for run in runs)),
    ]
