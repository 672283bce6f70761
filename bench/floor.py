"""How near the append is to its floor: the same rows, indexes and lock, written by one statement that asks nothing.

Batches are decided and laid out before the clock runs, and sent one after another over one connection, so nothing but
the writing is measured. Must never be held to a target: it says what is attainable with what a command has to write.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from statistics import median
from typing import Final

from bench import report
from bench.callers import Contender, Run, measure
from bench.issuing import issue, organizations
from bench.peers.bare_insert import bare_insert
from bench.plan import Plan
from bench.report import Section, Table
from bench.server import Server
from events.batch import lay_out
from events.statement import Connection, load
from events.writer import APPEND
from service.authorization import Principal

SAME_ROWS: Final = load("bench.peers", "same_rows")
SIZES: Final = (1, 16, 32, 96, 256)
ORGANIZATIONS: Final = 32
LEAST_BATCHES: Final = 10
MOST_BATCHES: Final = 300
PLANS_FOR_INDEXES: Final = (
    "plan_cache_mode = force_generic_plan",
    "enable_seqscan = off",
    "enable_bitmapscan = off",
    "enable_hashjoin = off",
    "enable_mergejoin = off",
)
"""As append_events sets them for itself."""
METHOD: Final = """\
Batches of new tokens, laid out before, are sent one after another over one connection: no deciding, no queue, no
overlap. *The floor* is one statement that writes the same rows to the same tables under the same lock, and checks
neither event ids nor versions nor actors; *the append* is `append_events`. `server µs` and `client µs` are processor
time a command. One bare row, likewise alone, takes {bare}."""

Arguments = tuple[object, ...]
Sent = tuple[str, Arguments]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of writing batches, over a connection to a database of its own."""

    name: str
    connection: Connection
    sent: Callable[[Arguments], Sent]
    """The statement and its arguments, of a batch laid out."""


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure both ways with batches of each size, taking turns."""
    names = ("floor_floor", "floor_append")
    for name in names:
        await server.create_database(name, settings=PLANS_FOR_INDEXES)
    async with server.core(names[0]) as core, server.core(names[1]) as other:
        principals = [await organizations(each, count=ORGANIZATIONS) for each in (core, other)]
    async with server.connections(names[0], 1) as (one,), server.connections(names[1], 1) as (two,):
        ways = (Way(name="the floor", connection=one, sent=floor), Way(name="the append", connection=two, sent=append))
        bare = await bare_insert([one], entry_bytes=len(issue(principals[0][0]).event.entry))
        bares, runs = [], {(size, way.name): list[Run]() for size in SIZES for way in ways}
        for way, issuers in zip(ways, principals, strict=True):
            await contender(way, issuers, 1, plan).run(0)
        for _ in range(plan.repetitions):
            bares.append(await measure(server, bare, plan.floor_s))
            for size in SIZES:
                for way, issuers in zip(ways, principals, strict=True):
                    runs[size, way.name].append(await measure(server, contender(way, issuers, size, plan), 0))
    took = f"{report.spread([one.latency_ms(0.5) for one in bares])} ms"
    return [Section("Appends: the floor", (METHOD.format(bare=took), table(runs)))]


def floor(arguments: Arguments) -> Sent:
    """Write with the one statement."""
    events, _, organization_ids, counts, _, rows, _ = arguments
    new_tokens, secrets = rows if isinstance(rows, list) else ("[]", "[]")
    return SAME_ROWS.text, (events, organization_ids, counts, new_tokens, secrets)


def append(arguments: Arguments) -> Sent:
    """Write with the log's own function."""
    return APPEND.text, arguments


def contender(way: Way, issuers: Sequence[Principal], size: int, plan: Plan) -> Contender:
    """Lay batches out, so many that all sizes have about as many commands, and make them a contender."""
    turns = (issuers[number % len(issuers)] for number in count())
    batches = [
        way.sent(lay_out([issue(principal).append(principal) for principal in islice(turns, size)]).arguments)
        for _ in range(min(MOST_BATCHES, max(LEAST_BATCHES, plan.floor_commands // size)))
    ]

    async def send(_: float) -> list[float]:
        latencies = []
        for statement, arguments in batches:
            began = time.perf_counter()
            await way.connection.fetch(statement, *arguments)
            latencies.append(time.perf_counter() - began)
        return latencies

    return Contender(way.name, send)


def table(runs: dict[tuple[int, str], list[Run]]) -> Table:
    """Lay the runs out, one row a size and way."""
    headers = ("batches", "commands a second", "batch p50 ms", "server µs", "client µs")
    return Table(headers, [[f"of {size}, {name}", *figures(repeated, size)] for (size, name), repeated in runs.items()])


def figures(runs: Sequence[Run], size: int) -> list[str]:
    """Write what batches of one size came to."""
    return [
        report.spread([run.rate * size for run in runs]),
        report.spread([run.latency_ms(0.5) for run in runs]),
        report.number(median(run.cpu_us(run.server_cpu_s) / size for run in runs)),
        report.number(median(run.cpu_us(run.client_cpu_s) / size for run in runs)),
    ]
