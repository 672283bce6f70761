"""The trees of the log: what growing them takes, whether signing keeps up with appends, and what a proof takes."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Final

from bench import report
from bench.history import History, append_all, history, tokens, usage_appends
from bench.issuing import organizations
from bench.plan import Plan
from bench.report import Section, Table, Target
from bench.server import Server
from events.merkle import HASH_BYTES
from events.statement import Connection, Pool
from events.tiles import TILE_BYTES, WIDTH, Place, pieces, tails
from events.tree_growth import grow
from events.trees import OPERATOR, prove_consistency, prove_inclusion, prove_inclusions, root_at, tree_size
from service.authorization import Principal
from service.core import Core
from service.host_checkpoint import FILE_NAME, HostCheckpoint
from service.tree_keeper import TreeKeeper

DATABASE: Final = "trees"
PROVED: Final = "proved"
AT_ONCE: Final = WIDTH * WIDTH
PAGE: Final = 100
CALLERS: Final = 4
APPENDED: Final = 200_000
PATIENCE_S: Final = 60.0
GROWTH: Final = """\
The trees of a log of {events:,} events of one organization are grown from nothing, in {parts} parts: each event goes
into two trees. A core's rate is events by processor seconds, of this process and PostgreSQL together."""
SIGNING: Final = """\
{events:,} uses are appended as fast as one process can, {callers} batches of 200 at once, in turn with and without the
trees being kept by the same process, on the same log. *Behind* is how many seconds of appends were not signed yet at
the worst moment meanwhile, *signed after* the time from the last append until a signed checkpoint holds everything. The
trees of what was appended without are grown before the next turn, untimed."""
PROOFS: Final = """\
Proofs of a tree of {leaves:,} leaves, for leaves and sizes chosen at random, {samples} of each kind in each of
{repetitions} repetitions: from the question to the hashes, over one connection, tiles in PostgreSQL's memory or the
system's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grew:
    """What one part of the growth took."""

    events: int
    seconds: float
    client_s: float
    server_s: float

    @property
    def a_core(self) -> float:
        """How many events a second of processor time take, both processes together."""
        return self.events / (self.client_s + self.server_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """How fast was appended, and how soon after the last append everything was signed."""

    rate: float
    signed_after_s: float = 0.0
    behind_s: float = 0.0
    """How far the newest checkpoint was behind what was appended, at most."""


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure growth, signing and proofs."""
    async with history(server, plan) as (core, long):
        growth = growth_section(long, await grown(server, core.pool, parts=plan.repetitions))
    return [growth, await signing(server, plan), await proofs(server, plan)]


async def grown(server: Server, pool: Pool, *, parts: int) -> list[Grew]:
    """Grow the trees of the history, which nobody did yet."""
    size, head = await tree_size(pool, OPERATOR), int(await pool.fetchval("select position from log_head"))
    if size == head:
        raise SystemExit("the trees of the history are grown already")
    measured = []
    for part in range(1, parts + 1):
        until, before = head * part // parts, size
        began, client, served = time.perf_counter(), time.process_time(), server.cpu_s()
        while size < until and (one := await grow(pool)) is not None:
            size = one.size
        measured.append(
            Grew(
                events=size - before,
                seconds=time.perf_counter() - began,
                client_s=time.process_time() - client,
                server_s=server.cpu_s() - served,
            )
        )
    return measured


def growth_section(long: History, measured: list[Grew]) -> Section:
    """Lay out what growth took."""
    held = [
        Target(
            name="trees: events a second a core, both processes",
            values=[one.a_core for one in measured],
            bound=100_000,
            at_least=True,
            unit="",
        )
    ]
    micros = [
        report.spread([1e6 * one.client_s / one.events for one in measured]),
        report.spread([1e6 * one.server_s / one.events for one in measured]),
    ]
    rates = report.spread([one.events / one.seconds for one in measured])
    table = Table(("trees", "events a second", "client µs an event", "server µs"), [["both trees", rates, *micros]])
    method = GROWTH.format(events=long.events, parts=len(measured))
    return Section("Growth of the trees", (method, table, report.targets(held)), report.missed(held))


async def signing(server: Server, plan: Plan) -> Section:
    """Append with and without the trees being kept."""
    events = min(APPENDED, plan.history_events)
    await server.create_database(DATABASE)
    kept: list[Appended] = []
    alone: list[Appended] = []
    async with server.core(DATABASE) as core:
        (principal,) = await organizations(core, count=1)
        names = [life[0].token_id for life in tokens(principal, 100)]
        for _ in range(plan.repetitions):
            kept.append(await appended_and_signed(core, principal, names, events=events))
            alone.append(Appended(rate=await appended(core, principal, names, events=events)))
            while await grow(core.pool) is not None:
                pass
    held = [
        Target(
            name="seconds until everything is signed",
            values=[one.signed_after_s for one in kept],
            bound=3,
            at_least=False,
            unit="s",
        ),
        Target(
            name="seconds that checkpoints are behind meanwhile",
            values=[one.behind_s for one in kept],
            bound=3,
            at_least=False,
            unit="s",
        ),
        Target(
            name="append rate with the trees kept / without",
            values=report.ratios([one.rate for one in kept], [one.rate for one in alone]),
            bound=0.8,
            at_least=True,
        ),
    ]
    rows = [
        [
            "kept",
            report.spread([one.rate for one in kept]),
            report.spread([one.behind_s for one in kept]),
            report.spread([one.signed_after_s for one in kept]),
        ],
        ["not kept", report.spread([one.rate for one in alone]), "", ""],
    ]
    table = Table(("trees", "events a second", "behind s", "signed after s"), rows)
    method = SIGNING.format(events=events, callers=CALLERS)
    return Section("Signing beside appends", (method, table, report.targets(held)), report.missed(held))


async def appended(core: Core, principal: Principal, names: list[str], *, events: int) -> float:
    """Append uses; answers how many a second."""
    began = time.perf_counter()
    await append_all(core, usage_appends(principal, names, events), callers=CALLERS)
    return events / (time.perf_counter() - began)


async def appended_and_signed(core: Core, principal: Principal, names: list[str], *, events: int) -> Appended:
    """Append uses while this process keeps the trees, and wait until all is signed."""
    with tempfile.TemporaryDirectory() as place:
        host = HostCheckpoint(Path(place) / FILE_NAME, core.signer.key)
        async with TreeKeeper(core.signer, host) as keeper:
            await all_signed(core, keeper)
            async with behind(core, keeper) as most:
                rate = await appended(core, principal, names, events=events)
            began = time.perf_counter()
            await all_signed(core, keeper)
            signed_after_s = time.perf_counter() - began
            return Appended(rate=rate, signed_after_s=signed_after_s, behind_s=max(most) / rate)


async def all_signed(core: Core, keeper: TreeKeeper) -> None:
    """Wait until a checkpoint holds everything."""
    head = int(await core.pool.fetchval("select position from log_head"))
    async with asyncio.timeout(PATIENCE_S):
        while keeper.signed_size < head:  # noqa: ASYNC110 -- what is waited for tells nobody
            await asyncio.sleep(0.01)


@asynccontextmanager
async def behind(core: Core, keeper: TreeKeeper) -> AsyncIterator[list[int]]:
    """Look again and again how many events are appended and not signed."""
    before = int(await core.pool.fetchval("select position from log_head")) - core.writer.counts.events
    found = [0]

    async def look() -> None:
        while True:
            found.append(before + core.writer.counts.events - keeper.signed_size)
            await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    try:
        yield found
    finally:
        looking.cancel()


async def proofs(server: Server, plan: Plan) -> Section:
    """Make proofs of a large tree."""
    await server.create_database(PROVED)
    size, random, pool_size = plan.proved_leaves, Random(1), 1
    async with server.core(PROVED) as core:
        async with server.connections(PROVED, pool_size) as (owner,):
            await fill(owner, size)
        kinds = kinds_of(core.pool, size, random)
        taken = {name: [await sample(prove, plan) for _ in range(plan.repetitions)] for name, prove in kinds.items()}
    held = [
        Target(name=f"{name}: 99th percentile", values=[p99 for _, p99 in of], bound=5, at_least=False, unit="ms")
        for name, of in taken.items()
        if name in {"inclusion", "consistency"}
    ]
    rows = [[name, report.spread([m for m, _ in of]), report.spread([p for _, p in of])] for name, of in taken.items()]
    table = Table(("proof", "median ms", "99th percentile ms"), rows)
    method = PROOFS.format(leaves=size, samples=plan.proof_samples, repetitions=plan.repetitions)
    return Section("Proofs", (method, table, report.targets(held)), report.missed(held))


def kinds_of(pool: Pool, size: int, random: Random) -> dict[str, Callable[[], Awaitable[object]]]:
    """List what is asked for."""
    return {
        "inclusion": lambda: prove_inclusion(pool, OPERATOR, random.randrange(size), size),
        "inclusion in an earlier tree": lambda: prove_inclusion(pool, OPERATOR, 0, random.randint(1, size)),
        "consistency": lambda: prove_consistency(pool, OPERATOR, random.randint(1, size), size),
        "root of an earlier tree": lambda: root_at(pool, OPERATOR, random.randint(1, size)),
        f"inclusion of {PAGE} in a row": lambda: in_a_row(pool, random.randrange(size - PAGE), size),
    }


async def in_a_row(pool: Pool, first: int, size: int) -> list[list[bytes]]:
    """Prove a page of events, as GraphQL does."""
    return await prove_inclusions(pool, OPERATOR, range(first, first + PAGE), size)


async def sample(prove: Callable[[], Awaitable[object]], plan: Plan) -> tuple[float, float]:
    """Time so many; answers the median and the 99th percentile, in milliseconds."""
    taken = []
    for _ in range(plan.proof_samples):
        began = time.perf_counter()
        await prove()
        taken.append(1000 * (time.perf_counter() - began))
    return median(taken), quantiles(taken, n=100)[98]


async def fill(owner: Connection, size: int) -> None:
    """Copy the tiles of a tree of random leaves into its table."""
    columns = ["tree", "level", "tile", "hashes"]
    await owner.copy_records_to_table("tree_tiles", records=tiles_of(size), columns=columns)
    await owner.execute("update trees set size = $1 where tree = ''", size)
    await owner.execute("analyze tree_tiles")


def tiles_of(size: int) -> Iterator[tuple[str, int, int, bytes]]:
    """Grow a tree, and give each tile once it is full, the others at the end."""
    unfinished: dict[Place, bytes] = {}
    for done in range(0, size, AT_ONCE):
        count = min(AT_ONCE, size - done)
        known = {place: unfinished[place] for place in tails(done, count)}
        for level, tile, _, hashes in pieces(done, os.urandom(count * HASH_BYTES), known):
            whole = unfinished.pop((level, tile), b"") + hashes
            if len(whole) == TILE_BYTES:
                yield OPERATOR, level, tile, whole
            else:
                unfinished[level, tile] = whole
    for (level, tile), hashes in unfinished.items():
        yield OPERATOR, level, tile, hashes
