"""Subscriptions: how fast a history is replayed, what following it costs, and whether a slow client slows others."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Final

from bench import report
from bench.fleet import fleet
from bench.graph import Graph, asking
from bench.history import DATABASE, MIX, history
from bench.plan import Plan
from bench.processes import TICKS_A_SECOND, resident_mb, stat_times
from bench.report import Section, Table, Target
from bench.server import Server
from bench.serving import HOST, PATIENCE_S, Service, free_port, is_ready
from bench.subscribers import Crowd, Received
from events.refusals import Refused
from events.token_kinds import TokenKind
from events.tokens import CreateToken
from service.authorization import operator
from service.core import Core

SLIM: Final = "position type subjectId"
TIMED: Final = "position type subjectId recordedAt"
LARGE: Final = f"{TIMED} {' '.join(f'e{number}: entry' for number in range(6))}"
"""Several kilobytes an event: enough to fill what is kept for a client that does not read."""
FULL: Final = "id position type occurredAt recordedAt subjectId stream version entry leafHash payload"
RESOLVED: Final = "position type actor { id displayName } ... on TokenEvent { token { name status } }"
EVENTS_A_SECOND: Final = 20
LAGS: Final = ("entri_read_model_lag", "entri_log_tree_lag")
LOOK_EVERY_S: Final = 0.2
REPLAY: Final = """\
One WebSocket subscriber of `entri serve`, which runs on its own, from the first of {events:,} events to the last;
{mix}. Every position is checked. Each selection in each of {rounds} rounds; the second over a quarter of the events,
the last, whose fields are looked up, over {part:,}."""
FOLLOW: Final = """\
{subscribers:,} WebSocket subscribers of one process, which another process drives with {rate} events a second for
{seconds} s: tokens issued over GraphQL. The time is from when the log took the event (`recordedAt`, before its commit)
to when the client had it. What a delivery costs is the service's processor time, less that of the same events with one
subscriber, by deliveries. {rounds} rounds."""
ALONE: Final = "One subscriber, {events} events one after another in a quiet system."
STALLED: Final = """\
*Large* events are of {size} KB, so that what is kept for a client is full before the end. Once more with one subscriber
that does not read from its first event on until all have come. It must get every event afterwards, and the others must
not notice: ratio of their p99 to that without, in the same round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A crowd's run, and what it cost the service."""

    received: Received
    cpu_s: float
    grown_mb: float


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure replay, then following."""
    return [await replay(server, plan), await following(server, plan)]


async def replay(server: Server, plan: Plan) -> Section:
    """Replay the long history to one subscriber."""
    part = plan.history_events // 20
    asked = {SLIM: plan.history_events, FULL: plan.history_events // 4, RESOLVED: part}
    rates: dict[str, list[float]] = {fields: [] for fields in asked}
    costs: dict[str, list[float]] = {fields: [] for fields in asked}
    grown: list[float] = []
    async with history(server, plan) as (core, made):
        key = await reader(core, made.organization)
    with serving_history(server, key) as service:
        for _ in range(plan.replays):
            for fields, events in asked.items():
                crowd = Crowd(port=service.port, key=key, subscribers=1, fields=fields, begin="0", events=events)
                measured = await measure(service, crowd)
                rates[fields].append(events / measured.received.seconds)
                costs[fields].append(measured.cpu_s / events * 1e6)
                grown.append(measured.grown_mb)
    rows = [[f"`{fields}`", report.spread(rates[fields]), report.spread(costs[fields])] for fields in asked]
    held = [
        Target(name="replay, few fields", values=rates[SLIM], bound=30_000, at_least=True, unit="/s"),
        Target(name="replay, all fields", values=rates[FULL], bound=10_000, at_least=True, unit="/s"),
        Target(name="memory grown by a replay", values=grown, bound=32, at_least=False, unit="MB"),
    ]
    method = REPLAY.format(events=plan.history_events, mix=MIX, rounds=plan.replays, part=part)
    table = Table(("of each event", "events a second", "us of the service an event"), rows)
    return Section("Replay to a subscriber", (method, table, report.targets(held)), report.missed(held))


async def following(server: Server, plan: Plan) -> Section:
    """Follow with one, with many, and with many of which one does not read."""
    events = round(EVENTS_A_SECOND * plan.follow_s)
    alone, one, many, large, stalled = [list[Measured]() for _ in range(5)]
    with fleet(server.directory.parent, count=1) as together:
        service = together.services[0]
        async with asking(service) as graph:
            lone = Crowd(port=service.port, key=service.key, subscribers=1, fields=TIMED, begin=None, events=events)
            crowd = replace(lone, subscribers=plan.subscribers)
            heavy = replace(crowd, fields=LARGE)
            await follow(graph, replace(lone, events=5))
            for _ in range(plan.replays):
                alone.append(await follow(graph, lone, rate=0))
                one.append(await follow(graph, lone))
                many.append(await follow(graph, crowd))
                large.append(await follow(graph, heavy))
                stalled.append(await follow(graph, replace(heavy, stalls_s=plan.follow_s)))
    deliveries = events * (plan.subscribers - 1)
    cost = [(more.cpu_s - less.cpu_s) / deliveries * 1e6 for more, less in zip(many, one, strict=True)]
    late = [found.received.p99_ms for found in many]
    slowed = report.ratios([found.received.p99_ms for found in stalled], [found.received.p99_ms for found in large])
    held = [
        Target(name="one, quiet, p50", values=[a.received.p50_ms for a in alone], bound=10, at_least=False, unit="ms"),
        Target(name=f"{plan.subscribers:,}, p99", values=late, bound=250, at_least=False, unit="ms"),
        Target(name="a delivery", values=cost, bound=15, at_least=False, unit="us"),
        Target(name="p99 of the others / without a stall", values=slowed, bound=1.3, at_least=False),
        Target(name="memory grown", values=[s.grown_mb for s in stalled], bound=32, at_least=False, unit="MB"),
    ]
    names = ("one, each when the last was there", "one", f"{plan.subscribers:,}", "large", "large, one stalled")
    rows = [row(name, found) for name, found in zip(names, (alone, one, many, large, stalled), strict=True)]
    caught_up = report.spread([found.received.stalled_s * 1000 for found in stalled])
    method = FOLLOW.format(
        subscribers=plan.subscribers, rate=EVENTS_A_SECOND, seconds=report.number(plan.follow_s), rounds=plan.replays
    )
    parts = (
        method,
        STALLED.format(size=report.number(stalled[0].received.event_bytes / 1000)),
        Table(("subscribers", "p50 ms", "p99 ms", "most ms", "service, s of CPU"), rows),
        f"The one that stalled had everything {caught_up} ms after it read again.",
        report.targets(held),
    )
    return Section("Following", parts, report.missed(held))


def row(name: str, found: Sequence[Measured]) -> list[str]:
    """Lay a kind of crowd out."""
    figures: list[Callable[[Measured], float]] = [
        lambda one: one.received.p50_ms,
        lambda one: one.received.p99_ms,
        lambda one: one.received.most_ms,
        lambda one: one.cpu_s,
    ]
    return [name, *(report.spread([figure(one) for one in found]) for figure in figures)]


async def follow(graph: Graph, crowd: Crowd, *, rate: int = EVENTS_A_SECOND) -> Measured:
    """Let a crowd follow from now on while tokens are issued; at rate 0 each when the last was answered."""

    async def drive() -> None:
        began = time.perf_counter()
        for number in range(crowd.events):
            if rate:
                await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            await graph.issue(1)

    return await measure(graph.service, replace(crowd, begin=await graph.head()), drive)


async def measure(service: Service, crowd: Crowd, drive: Callable[[], Awaitable[None]] | None = None) -> Measured:
    """Run a crowd in a process of its own. Raises SystemExit when it did not get everything."""
    command = (sys.executable, "-m", "bench.subscribers")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise TypeError("the pipes were asked for")
    process.stdin.write(json.dumps(asdict(crowd)).encode() + b"\n")
    if await process.stdout.readline() != b"subscribed\n":
        raise SystemExit(f"the subscribers failed:\n{(await process.stderr.read()).decode()}")
    cpu_s, memory_mb = cpu_of(service.pid), resident_mb(service.pid)
    if drive is not None:
        await drive()
    answer = await process.stdout.readline()
    grown_mb = resident_mb(service.pid) - memory_mb
    cpu_s = cpu_of(service.pid) - cpu_s
    if await process.wait() != 0:
        raise SystemExit(f"the subscribers failed:\n{(await process.stderr.read()).decode()}")
    return Measured(received=Received(**json.loads(answer)), cpu_s=cpu_s, grown_mb=grown_mb)


def cpu_of(pid: int) -> float:
    """Read the processor seconds that a process has used so far."""
    return sum(stat_times(pid, with_ended_children=False)) / TICKS_A_SECOND


async def reader(core: Core, organization: str) -> str:
    """Issue a token that may read the history."""
    command = CreateToken(
        token_id="", kind=TokenKind.API_TOKEN, name="reader", hint="", scopes=("events:read", "tokens:read")
    )
    done = await core.commands.create(operator(organization), command)
    if isinstance(done, Refused) or done.secret is None:
        raise TypeError(f"refused: {done}")
    return done.secret.reveal()


@contextmanager
def serving_history(server: Server, key: str) -> Iterator[Service]:
    """Serve the database of the long history from a process of its own."""
    place, port = server.directory / DATABASE, free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENTRI_")}
    environment |= {
        "ENTRI_DATABASE_URL": server.service_dsn.format(DATABASE),
        "ENTRI_OWNER_DATABASE_URL": server.owner_dsn.format(DATABASE),
    }
    command = [sys.executable, "-m", "service", "serve", "--host", HOST, "--port", str(port), "--data-dir", str(place)]
    (place / "key").write_text(key, encoding="ascii")
    with (place / "errors").open("wb") as written:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=written, env=environment)
    try:
        if not is_ready(process, port, place / "key"):
            raise SystemExit(f"the service did not start:\n{(place / 'errors').read_text(encoding='utf-8')}")
        settle(port)
        yield Service(pid=process.pid, host=HOST, port=port, key=key, postgres_pid=server.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def settle(port: int) -> None:
    """Wait until nothing follows the log any more: read models and trees are at its head."""
    while True:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=PATIENCE_S) as answer:
            lines = answer.read().decode().splitlines()
        lags = [line for line in lines if line.startswith(LAGS)]
        if len(lags) >= len(LAGS) and all(line.endswith(" 0.0") for line in lags):
            return
        time.sleep(LOOK_EVERY_S)
