"""Durable appends through the log's writer, against others that write to the same server."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from bench import report
from bench.callers import Contender, Run, call_for, table, take_turns
from bench.issuing import issue, organizations
from bench.peers.bare_insert import bare_insert
from bench.peers.eventsourcing_recorder import eventsourcing_recorder
from bench.peers.plain_rows import plain_rows
from bench.plan import Plan
from bench.report import Section, Target, ratios
from bench.server import Server
from events.batch import Appended
from service.authorization import Principal
from service.core import Core

CONNECTIONS: Final = 32
ALONE, SOME, MANY = "the log, 1 caller", "the log, 32 callers", "the log, 256 callers"
FEW: Final = 2
RECORDERS: Final = tuple(f"eventsourcing, {threads} threads" for threads in (FEW, CONNECTIONS))
PLAIN: Final = f"plain rows, {CONNECTIONS} connections"
BARE: Final = "one bare row, 1 connection"
BARES: Final = f"one bare row, {CONNECTIONS} connections"
Runs = Mapping[str, Sequence[Run]]
FLUSH_OF_1_MS: Final = ("commit_delay = 1000", "commit_siblings = 0")

METHOD: Final = """\
Every contender decides and encodes a `createToken` for each call (all but its Argon2 hash), then waits until it is
durable. The log checks the stream's version, the event id and the acting token, and writes the event with its leaf
hash, the row of `tokens` and the row of the vault. Latency is from the call of the writer (or of the driver) to its
answer. Each contender runs from a checkpoint on, in a database of its own on the same server; all take turns.
`client µs` and `server µs` are processor time a call."""
METHOD_OF_FLUSH: Final = """\
`commit_delay = 1000` and `commit_siblings = 0`: whoever flushes the write-ahead log sleeps a millisecond before, as if
the disk took that much longer; commits that come meanwhile share the flush. It holds for every contender."""


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure with the disk's own flush, then with one that takes a millisecond longer."""
    return [await as_is(server, plan), await with_slow_flush(server, plan)]


async def as_is(server: Server, plan: Plan) -> Section:
    """Measure with the disk's own flush."""
    async with contenders(server, "asis", ()) as (entered, building_us):
        runs = await take_turns(server, entered, seconds=plan.append_s, repetitions=plan.repetitions)
    held = as_is_targets(runs)
    cost = f"Deciding and encoding takes {report.number(building_us)} µs of the client's time a call, whoever writes."
    parts = (METHOD, table("contender", runs), cost, report.targets(held))
    return Section("Appends", parts, report.missed(held))


def as_is_targets(runs: Runs) -> list[Target]:
    """Hold the log against its peers: of the recorder's two numbers of threads, against the faster."""
    return [
        *(faster(runs, log, RECORDERS, at_least=20) for log in (SOME, MANY)),
        *(faster(runs, log, (PLAIN,), at_least=2) for log in (SOME, MANY)),
        slower(runs, SOME, share=0.99, at_most=10),
        slower(runs, MANY, share=0.99, at_most=40),
        slower(runs, ALONE, share=0.5, at_most=1.5),
    ]


def faster(runs: Runs, log: str, peers: Sequence[str], *, at_least: float) -> Target:
    """Hold the log's rate against that of its fastest peer in each repetition."""
    best = [max(rates) for rates in zip(*([run.rate for run in runs[peer]] for peer in peers), strict=True)]
    name = f"rate: {log} / {' or '.join(peers)}"
    return Target(name=name, values=ratios([run.rate for run in runs[log]], best), bound=at_least, at_least=True)


def slower(runs: Runs, log: str, *, share: float, at_most: float) -> Target:
    """Hold the log's latency against that of one bare commit."""
    mine, bare = ([run.latency_ms(share) for run in runs[name]] for name in (log, BARE))
    name = f"p{share * 100:.0f}: {log} / {BARE}"
    return Target(name=name, values=ratios(mine, bare), bound=at_most, at_least=False)


async def with_slow_flush(server: Server, plan: Plan) -> Section:
    """Measure with an artificial flush of a millisecond."""
    async with contenders(server, "slow", FLUSH_OF_1_MS) as (entered, _):
        runs = await take_turns(server, entered, seconds=plan.flush_s, repetitions=plan.repetitions)
    held = [faster(runs, log, (BARE,), at_least=10) for log in (SOME, MANY)]
    parts = (METHOD_OF_FLUSH, table("contender", runs), report.targets(held))
    return Section("Appends with an artificial flush of 1 ms", parts, report.missed(held))


@asynccontextmanager
async def contenders(
    server: Server, prefix: str, settings: Sequence[str]
) -> AsyncIterator[tuple[list[Contender], float]]:
    """Open all contenders, each with a database of its own; and how many microseconds a command takes to build."""
    log_database, peers, recorder = (f"{prefix}_{name}" for name in ("log", "peers", "recorder"))
    for name in (log_database, peers, recorder):
        await server.create_database(name, settings=settings)
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(server.core(log_database))
        principals = await organizations(core, count=CONNECTIONS)
        async with server.core(peers):
            pass  # the same tables with the same indexes
        opened = await stack.enter_async_context(server.connections(peers, CONNECTIONS))
        recorder_database = eventsourcing_recorder(server, recorder, principals, threads=(FEW, CONNECTIONS))
        size = len(issue(principals[0]).event.entry)
        entered = [
            *log(core, principals),
            *stack.enter_context(recorder_database),
            await plain_rows(opened, principals),
            await bare_insert(opened[:1], entry_bytes=size),
            await bare_insert(opened, entry_bytes=size),
        ]
        yield entered, building_us(principals[0])


def log(core: Core, principals: Sequence[Principal]) -> list[Contender]:
    """Append through the log's writer, with one caller, some, and many."""

    async def append(number: int) -> float:
        principal = principals[number % len(principals)]
        command = issue(principal).append(principal)
        began = time.perf_counter()
        outcome = await core.writer.append(command)
        waited = time.perf_counter() - began
        if not isinstance(outcome, Appended):
            raise TypeError(f"not appended: {outcome}")
        return waited

    def of(callers: int) -> Contender:
        name = f"the log, {callers} caller{'s' * (callers > 1)}"
        return Contender(name, lambda seconds: call_for(seconds, append, callers=callers))

    return [of(1), of(32), of(256)]


def building_us(principal: Principal, *, count: int = 2000) -> float:
    """Measure what a command costs before anybody writes it."""
    began = time.process_time()
    for _ in range(count):
        issue(principal).append(principal)
    return (time.process_time() - began) / count * 1_000_000
