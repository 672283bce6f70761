"""`/verify` of warm keys under wrk, against a bare aiohttp handler with the same answer, and against Better Auth."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import parse_qs, urlsplit

from bench import report, wrk
from bench.fleet import Fleet, fleet
from bench.graph import Graph, asking
from bench.peers import better_auth
from bench.plan import Plan
from bench.processes import TICKS_A_SECOND, stat_times
from bench.report import Section, Table, Target
from bench.server import Server
from bench.serving import HOST
from bench.wrk import MissingError, Shot, shoot, write_keys

CONNECTIONS: Final = 64
KEYS: Final = 64
ENTRI: Final = "entri, one process"
BARE: Final = "a bare aiohttp handler"
RIVAL: Final = "Better Auth"
METHOD: Final = """\
{wrk}, one thread, {connections} connections, {keys} keys in turn; whoever is measured is one process, and nothing is
bound to a processor. All take turns in each of {rounds} rounds of {seconds} s. The bare handler answers with the
headers and values of the service's answer, from aiohttp {aiohttp} on the same event loop."""
RIVAL_METHOD: Final = """\
{versions}:
behind Node's own HTTP server, on the same PostgreSQL with {pool} connections. Its settings are its defaults, but that
the rate limit of its keys (10 a day) is off. It reads and writes a key's row for each request."""

Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who answers `/verify`, and keys that are good there."""

    pid: int
    url: str
    keys: Path

    def cpu_s(self) -> float:
        """Read the processor seconds used so far."""
        return sum(stat_times(self.pid, with_ended_children=False)) / TICKS_A_SECOND


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn came to."""

    shot: Shot
    cpu_us: float


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure all that can be had."""
    try:
        wrk.program()
    except MissingError as missing:
        return [Section("/verify under wrk", (f"Not measured: {missing}.",))]
    with ExitStack() as stack:
        together = stack.enter_context(fleet(server.directory.parent))
        async with asking(together.services[0]) as graph:
            contenders = await entrants(stack, graph, together)
        try:
            contenders[RIVAL] = await rival(stack, together)
            said = RIVAL_METHOD.format(versions=better_auth.versions(), pool=better_auth.POOL)
        except MissingError as missing:
            said = f"Not measured: {missing}."
        turns = await take_turns(contenders, plan)
    return [section(turns, plan, said)]


async def entrants(stack: ExitStack, graph: Graph, together: Fleet) -> dict[str, Contender]:
    """Make the service's keys warm, and start the bare handler with its answer."""
    service, place = graph.service, together.server.directory
    issued = await graph.issue(KEYS)
    keys = write_keys(place / "keys", [one.secret for one in issued])
    url = f"http://{HOST}:{service.port}/verify"
    answered = await headers_of(graph, url, issued[0].secret)
    bare = bare_handler({name: value for name, value in answered.items() if name != "Date"})
    stack.callback(ended, bare)
    bare_url = f"http://{HOST}:{port_of(bare)}/verify"
    same = await headers_of(graph, bare_url, issued[0].secret)
    if same | {"Date": ""} != answered | {"Date": ""}:
        raise SystemExit("the bare handler does not answer as the service does")
    return {ENTRI: Contender(service.pid, url, keys), BARE: Contender(bare.pid, bare_url, keys)}


def bare_handler(headers: Headers) -> "subprocess.Popen[str]":
    """Start the bare handler."""
    command = (sys.executable, "-m", "bench.peers.bare_handler")
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdin is not None
    with started.stdin as told:
        told.write(json.dumps(headers))
    return started


async def headers_of(graph: Graph, url: str, secret: str) -> Headers:
    """Ask once, and answer the headers. Raises SystemExit when the key is not good."""
    async with graph.session.get(url, headers={"X-API-Key": secret}) as response:
        if response.status != 200 or await response.read():
            raise SystemExit("a good key was not answered with 200 and nothing else")
        return dict(response.headers)


async def rival(stack: ExitStack, together: Fleet) -> Contender:
    """Start Better Auth on a database of its own. Raises MissingError."""
    place = better_auth.installed()
    await together.server.create_database(better_auth.DATABASE)
    address = parse_qs(urlsplit(together.server.owner_dsn).query)
    database = {"PGHOST": address["host"][0], "PGPORT": address["port"][0], "PGUSER": "entri_owner"}
    keys = together.server.directory / "better-auth-keys"
    started = better_auth.start(place, keys, count=KEYS, database=database | {"PGDATABASE": better_auth.DATABASE})
    stack.callback(ended, started)
    return Contender(started.pid, f"http://{HOST}:{port_of(started)}/verify", keys)


def port_of(process: "subprocess.Popen[str]") -> int:
    """Wait until a server has said where it listens."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a server that is compared with did not start (exit code {process.wait()})")
    return int(line)


def ended(process: "subprocess.Popen[str]") -> None:
    """End a process that keeps nothing."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


async def take_turns(contenders: Mapping[str, Contender], plan: Plan) -> dict[str, list[Turn]]:
    """Warm everybody up, then measure one after another, again and again."""
    for contender in contenders.values():
        await turn(contender, 1)
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for _ in range(plan.rounds):
        for name, contender in contenders.items():
            turns[name].append(await turn(contender, plan.gateway_s))
    return turns


async def turn(contender: Contender, seconds: float) -> Turn:
    """Load one for some seconds. Raises SystemExit when a key was refused."""
    before = contender.cpu_s()
    shot = await shoot(contender.url, contender.keys, connections=CONNECTIONS, seconds=seconds)
    if shot.refusals:
        raise SystemExit(f"{shot.refusals} of {shot.answers} good keys were refused")
    return Turn(shot, (contender.cpu_s() - before) / shot.answers * 1e6)


def section(turns: Mapping[str, Sequence[Turn]], plan: Plan, rival_said: str) -> Section:
    """Lay everything out."""
    rates = {name: [one.shot.rate for one in taken] for name, taken in turns.items()}
    held = [target(rates, BARE, 0.75)]
    if RIVAL in rates:
        held.append(target(rates, RIVAL, 25))
    method = METHOD.format(
        wrk=wrk.version(),
        connections=CONNECTIONS,
        keys=KEYS,
        rounds=plan.rounds,
        seconds=report.number(plan.gateway_s),
        aiohttp=version("aiohttp"),
    )
    headers = ("who answers", "a second", "p50 ms", "p99 ms", "its processor time, µs")
    rows = [[name, *figures(taken)] for name, taken in turns.items()]
    return Section(
        "/verify under wrk", (method, rival_said, Table(headers, rows), report.targets(held)), report.missed(held)
    )


def target(rates: Mapping[str, Sequence[float]], to: str, bound: float) -> Target:
    """Hold the service's rate against another's of the same round."""
    values = report.ratios(rates[ENTRI], rates[to])
    return Target(name=f"rate: {ENTRI} / {to}", values=values, bound=bound, at_least=True)


def figures(taken: Sequence[Turn]) -> list[str]:
    """Write what repeated turns came to."""
    return [
        report.spread([one.shot.rate for one in taken]),
        report.spread([one.shot.p50_ms for one in taken]),
        report.spread([one.shot.p99_ms for one in taken]),
        report.number(median(one.cpu_us for one in taken)),
    ]
