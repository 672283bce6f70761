"""What good keys wait for while others send junk: keys of the right form that nobody issued, and wrong checksums."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench import report, wrk
from bench.fleet import fleet
from bench.graph import asking
from bench.paced import Kept, Pace, keep
from bench.plan import Plan
from bench.report import Section, Table, Target
from bench.server import Server
from bench.serving import HOST
from bench.wrk import MissingError, shoot, write_keys
from service.secret_format import DEFAULT_PREFIX, generate

GOOD_KEYS: Final = 64
GOOD_CONNECTIONS: Final = 32
GOOD_A_SECOND: Final = 2_000
FLOOD_CONNECTIONS: Final = 32
FLOOD_A_SECOND: Final = 1_000
JUNK: Final = 50_000
CLIENTS_START_IN_S: Final = 0.5
ALONE: Final = "alone"
METHOD: Final = """\
One process; {good:,} requests a second with {keys} warm keys over {good_connections} connections, each timed from when
it was due. Beside it another client sends junk: {flood:,} a second, or over {flood_connections} connections as fast as
it is answered (`wrk`). Unknown keys are of the right form with a right checksum, and each comes once in {junk:,}; a
wrong secret of a token is one of them, as nothing of a secret says whose it is. {rounds} rounds of {seconds} s each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Junk:
    """What is sent beside: its keys, and how many a second; None: as many as are answered."""

    keys: Sequence[str]
    rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the good keys waited for, and how much junk was answered meanwhile."""

    kept: Kept
    junk_rate: float

    @property
    def p50_ms(self) -> float:
        """How long half of the good keys waited at most."""
        return self.kept.slices[0].p50_ms

    @property
    def p99_ms(self) -> float:
        """How long 99 of 100 good keys waited at most."""
        return self.kept.slices[0].p99_ms


class Sender:
    """Sends good keys and junk to one port; owns how far the junk was used up."""

    def __init__(self, port: int, good: Sequence[str], place: Path) -> None:
        self._port = port
        self._good = good
        self._place = place
        self._used = 0

    async def turn(self, junk: Junk | None, seconds: float) -> Turn:
        """Send both for some seconds."""
        good = Pace(
            ports=[self._port],
            connections=GOOD_CONNECTIONS,
            keys=self._good,
            rate=GOOD_A_SECOND,
            slices=1,
            slice_s=seconds,
            begin_at_s=time.monotonic() + CLIENTS_START_IN_S,
        )
        async with asyncio.TaskGroup() as tasks:
            kept = tasks.create_task(keep(good))
            rate = None if junk is None else tasks.create_task(self._flood(junk, good))
        return Turn(kept=kept.result(), junk_rate=0 if rate is None else rate.result())

    async def _flood(self, junk: Junk, good: Pace) -> float:
        seconds = good.slice_s
        keys = [junk.keys[(self._used + number) % len(junk.keys)] for number in range(JUNK)]
        if junk.rate is None:
            file = write_keys(self._place / "junk", keys)
            url = f"http://{HOST}:{self._port}/verify"
            await asyncio.sleep(good.begin_at_s - time.monotonic())
            shot = await shoot(url, file, connections=FLOOD_CONNECTIONS, seconds=seconds)
            self._used += shot.answers
            return shot.rate
        sent = round(junk.rate * seconds)
        self._used += sent
        pace = replace(good, keys=keys[:sent], connections=FLOOD_CONNECTIONS, rate=junk.rate, status=401)
        return (await keep(pace)).good / seconds


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure good keys alone and beside each kind of junk, in turn."""
    try:
        wrk.program()
    except MissingError as missing:
        return [Section("A flood of junk", (f"Not measured: {missing}.",))]
    unknown = [generate(DEFAULT_PREFIX, os.urandom).reveal() for _ in range(JUNK)]
    misread = [f"{key[:-1]}{'A' if key[-1] != 'A' else 'B'}" for key in unknown]
    kinds: dict[str, Junk | None] = {
        ALONE: None,
        f"unknown keys, {FLOOD_A_SECOND:,} a second": Junk(keys=unknown, rate=FLOOD_A_SECOND),
        f"wrong checksums, {FLOOD_A_SECOND:,} a second": Junk(keys=misread, rate=FLOOD_A_SECOND),
        "unknown keys, as many as are answered": Junk(keys=unknown, rate=None),
        "wrong checksums, as many as are answered": Junk(keys=misread, rate=None),
    }
    with fleet(server.directory.parent) as together:
        async with asking(together.services[0]) as graph:
            good = [one.secret for one in await graph.issue(GOOD_KEYS)]
        sender = Sender(together.services[0].port, good, together.server.directory)
        await sender.turn(None, 0.5)
        turns: dict[str, list[Turn]] = {name: [] for name in kinds}
        for _ in range(plan.rounds):
            for name, junk in kinds.items():
                turns[name].append(await sender.turn(junk, plan.flood_s))
    return [section(turns, plan)]


def section(turns: Mapping[str, Sequence[Turn]], plan: Plan) -> Section:
    """Lay everything out."""
    alone = [one.p99_ms for one in turns[ALONE]]
    held = [
        Target(
            name=f"p99 of good keys: {name} / alone",
            values=report.ratios([one.p99_ms for one in taken], alone),
            bound=2,
            at_least=False,
        )
        for name, taken in turns.items()
        if name != ALONE
    ]
    method = METHOD.format(
        good=GOOD_A_SECOND,
        keys=GOOD_KEYS,
        good_connections=GOOD_CONNECTIONS,
        flood=FLOOD_A_SECOND,
        junk=JUNK,
        flood_connections=FLOOD_CONNECTIONS,
        rounds=plan.rounds,
        seconds=report.number(plan.flood_s),
    )
    headers = ("beside the good keys", "good p50 ms", "good p99 ms", "junk answered a second")
    rows = [
        [
            name,
            report.spread([one.p50_ms for one in taken]),
            report.spread([one.p99_ms for one in taken]),
            report.spread([one.junk_rate for one in taken]),
        ]
        for name, taken in turns.items()
    ]
    parts = (method, Table(headers, rows), report.targets(held))
    return Section("A flood of junk", parts, report.missed(held))
