"""What a kill -9 loses of usage: the uses since the last flush, which the log then says. Must never lose a decision."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from bench import report
from bench.fleet import Fleet, fleet
from bench.graph import asking
from bench.paced import Pace, keep
from bench.plan import Plan
from bench.report import Section, Table, Target
from bench.server import Server
from events.envelope import Position
from events.log import follow_to_head
from events.usage import TokenUsed, UsageGap

KEYS: Final = 100
USES_A_SECOND: Final = 2_000
CONNECTIONS: Final = 16
WINDOW_S: Final = 1.0
FLUSH_S: Final = 1.0
KILLED_AFTER_S: Final = 3.2
CLIENT_STARTS_IN_S: Final = 0.5
PATIENCE_S: Final = 60.0
DATABASE: Final = "entri"
AGE: Final = "update usage_buffers set seen_at = seen_at - interval '2 minutes'"
METHOD: Final = """\
{uses:,} verifications a second of {keys} keys at a process whose window is {window} s; it is killed (SIGKILL)
after {killed} s or up to a window later. Counted are the good answers that the client got and the uses that the log
then holds. Another process is started on the same data, and the killed one's markers are made older, which else takes a
minute; it writes the gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What was acknowledged, and what the log knows of it."""

    acknowledged: int
    logged: int
    gaps: int

    @property
    def seconds(self) -> float:
        """How many seconds of the load were lost."""
        return max(0, self.acknowledged - self.logged) / USES_A_SECOND


async def run(server: Server, plan: Plan) -> list[Section]:
    """Crash several times."""
    with fleet(server.directory.parent, options=("--usage-window-s", f"{WINDOW_S}")) as together:
        moments = (KILLED_AFTER_S + WINDOW_S * number / plan.crashes for number in range(plan.crashes))
        losses = [await crash(together, after_s=moment) for moment in moments]
    return [section(losses)]


async def crash(together: Fleet, *, after_s: float) -> Loss:
    """Kill the one process under load, start another, and wait until the log says that something was lost."""
    (service,) = together.services
    owner = together.server.owner_dsn.format(DATABASE)
    async with asking(service) as graph:
        issued = await graph.issue(KEYS)
    begin_at_s = time.monotonic() + CLIENT_STARTS_IN_S
    load = Pace(
        ports=[service.port],
        connections=CONNECTIONS,
        keys=[one.secret for one in issued],
        rate=USES_A_SECOND,
        slices=1,
        slice_s=2 * after_s,
        begin_at_s=begin_at_s,
    )
    loading = asyncio.create_task(keep(load, may_fail=True))
    await asyncio.sleep(begin_at_s + after_s - time.monotonic())
    together.kill(service)
    kept = await loading
    async with asyncpg.create_pool(owner, min_size=1, max_size=2) as pool:
        logged, gaps_before = await read_uses(pool, {one.token_id for one in issued})
        await pool.execute(AGE)
        together.start("--usage-window-s", f"{WINDOW_S}")
        gaps = await gaps_after(pool, gaps_before)
    return Loss(acknowledged=kept.good, logged=logged, gaps=gaps)


async def read_uses(pool: "asyncpg.Pool[asyncpg.Record]", tokens: set[str]) -> tuple[int, int]:
    """Count the uses of some tokens in the log, and its gaps."""
    uses = gaps = 0
    async for recorded in follow_to_head(pool, Position(0)):
        if isinstance(recorded.event, TokenUsed) and recorded.event.token_id in tokens:
            uses += recorded.event.count
        gaps += isinstance(recorded.event, UsageGap)
    return uses, gaps


async def gaps_after(pool: "asyncpg.Pool[asyncpg.Record]", before: int) -> int:
    """Wait until there are more gaps than before, and count those; none when it takes too long."""
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at:
        _, gaps = await read_uses(pool, set())
        if gaps > before:
            return gaps - before
        await asyncio.sleep(0.1)
    return 0


def section(losses: Sequence[Loss]) -> Section:
    """Lay everything out."""
    held = [
        Target(
            name="uses lost, as seconds of the load: a window and a flush",
            values=[max(one.seconds for one in losses)],
            bound=WINDOW_S + FLUSH_S,
            at_least=False,
            unit="s",
        ),
        Target(
            name="crashes that the log speaks of, of each",
            values=[float(one.gaps > 0) for one in losses],
            bound=1,
            at_least=True,
            unit="",
        ),
    ]
    rows = [
        ["uses acknowledged", report.spread([one.acknowledged for one in losses])],
        ["of them in the log", report.spread([one.logged for one in losses])],
        ["lost, as seconds of the load", report.spread([one.seconds for one in losses])],
        ["gaps written", report.spread([one.gaps for one in losses])],
    ]
    method = METHOD.format(
        uses=USES_A_SECOND, keys=KEYS, window=report.number(WINDOW_S), killed=report.number(KILLED_AFTER_S)
    )
    table = Table((f"{len(losses)} crashes", ""), rows)
    return Section("What a crash loses of usage", (method, table, report.targets(held)), report.missed(held))
