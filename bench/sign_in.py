"""Signing in: what it takes, whether its time tells an address from none, and what keys wait for meanwhile."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench import report
from bench.callers import percentile
from bench.client import Load, Report, reported, request_text
from bench.fleet import fleet
from bench.graph import Graph, asking
from bench.paced import Kept, Pace, keep
from bench.plan import Plan
from bench.processes import resident_mb
from bench.report import Section, Table, Target
from bench.server import Server
from bench.serving import Service
from service.passwords import COST, PROCESSES

OPTIONS: Final = ("--sign-in-failures", "1000", "--sign-in-failures-of-address", "100000", "--sign-in-window-s", "1")
"""So that nothing is refused ahead of the hash."""
ADD: Final = """\
mutation ($email: String!) {
  addMember(input: {email: $email, name: "A Member", role: MEMBER}) {
    member { id } oneTimePassword userErrors { code }
  }
}"""
REMOVE: Final = "mutation ($id: ID!) { removeMember(input: {id: $id}) { removedMemberId userErrors { code } } }"
SIGN_IN: Final = """\
mutation ($input: SignInInput!) { signIn(input: $input) { viewer { scopes } userErrors { code } } }"""
RIGHT, WRONG, UNKNOWN, REMOVED = "right password", "wrong password", "unknown address", "removed member"
AT_A_TIME: Final = 4
PARALLEL: Final = 200
GOOD_KEYS: Final = 64
GOOD_CONNECTIONS: Final = 32
GOOD_A_SECOND: Final = 1_000
STARTS_IN_S: Final = 0.5
LOOK_EVERY_S: Final = 0.02
MARGIN_MB: Final = 64
"""For what 200 connections and their requests take: hashes take theirs elsewhere."""
METHOD: Final = """\
One process; sign-ins over one connection, one after another, {count} of each kind in each of {repetitions} repetitions,
four of a kind at a time. All but those with the right password are refused, in one form of words."""
METHOD_OF_HASH: Final = """\
The hash alone, in this process: Argon2id with 64 MiB, 3 passes and 4 lanes, which is how long every one of these
sign-ins is for by intent."""
METHOD_OF_LOAD: Final = """\
{good:,} keys a second that were verified before, each timed from when it was due: alone, beside {parallel} clients
who sign in with unknown addresses as fast as they are answered, and beside {hashing} processes that hash the same for
nobody. Two hashes are in flight at most; who finds the queue full is told to come back. Memory is the service's own.
{rounds} rounds of {seconds} s."""
ALONE, MANY, ELSEWHERE = "nothing", f"{PARALLEL} who sign in", "the same hashes elsewhere"
FOR_NOBODY: Final = """\
import os
from service.hashing_worker import NICENESS
from service.passwords import COST
os.nice(NICENESS)
while True:
    COST.hasher.hash(bytes(32))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashing:
    """What one hash takes."""

    ms: float
    cpu_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What good keys waited for, and what was with the service meanwhile."""

    kept: Kept
    most_mb: float
    sign_ins: Report | None

    @property
    def p99_ms(self) -> float:
        """How long 99 of 100 good keys waited at most."""
        return self.kept.slices[0].p99_ms


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure sign-ins one at a time, the hash alone, then many at once beside good keys."""
    with fleet(server.directory.parent, options=OPTIONS) as together:
        (service,) = together.services
        async with asking(service) as graph:
            requests = await sign_ins(graph)
            good = [one.secret for one in await graph.issue(GOOD_KEYS)]
        taken = await one_by_one(service, requests, plan)
        hashing = hash_alone(plan)
        turns = await beside(service, good, plan)
    return [section_of_times(taken, hashing, plan), section_of_load(turns, plan)]


async def sign_ins(graph: Graph) -> Mapping[str, str]:
    """Make members, and write a request for each kind of sign-in."""
    known, removed = [await graph.ask(ADD, {"email": f"{name}@example.com"}) for name in ("known", "removed")]
    await graph.ask(REMOVE, {"id": removed["member"]["id"]})
    right, old = str(known["oneTimePassword"]), str(removed["oneTimePassword"])
    return {
        RIGHT: signing_in(graph.service, "known@example.com", right),
        WRONG: signing_in(graph.service, "known@example.com", "no" + right[2:]),
        UNKNOWN: signing_in(graph.service, "other@example.com", right),
        REMOVED: signing_in(graph.service, "removed@example.com", old),
    }


def signing_in(service: Service, email: str, password: str) -> str:
    """Write the request of a page that signs somebody in."""
    body = json.dumps({"query": SIGN_IN, "variables": {"input": {"email": email, "password": password}}})
    return request_text(service, "/graphql", {"Origin": f"http://{service.host}:{service.port}"}, body)


async def one_by_one(
    service: Service, requests: Mapping[str, str], plan: Plan
) -> Mapping[str, Sequence[Sequence[float]]]:
    """Send each kind alone, a few at a time in turn; answers latencies in seconds, in order, by repetition."""
    taken: dict[str, list[list[float]]] = {name: [] for name in requests}
    for number in range(plan.repetitions + 1):
        latencies_s: dict[str, list[float]] = {name: [] for name in requests}
        for _ in range(max(1, plan.sign_ins // AT_A_TIME)):
            for name, request in requests.items():
                load = load_of(service, [request] * AT_A_TIME, connections=1, seconds=None)
                answered = await asyncio.to_thread(reported, load)
                if answered.failures:
                    raise SystemExit(f"{answered.failures} sign-ins were not answered")
                latencies_s[name] += answered.latencies_s
        if number:  # the first round warms up
            for name, values in latencies_s.items():
                taken[name].append(sorted(values))
    return taken


def load_of(service: Service, requests: Sequence[str], *, connections: int, seconds: float | None) -> Load:
    """Say what to send."""
    return Load(
        host=service.host,
        port=service.port,
        connections=connections,
        requests=requests,
        mark='"userErrors":[',
        seconds=seconds,
    )


def hash_alone(plan: Plan) -> Sequence[Hashing]:
    """Hash in this process, with nothing beside."""
    taken: list[Hashing] = []
    for _ in range(plan.repetitions):
        began, cpu_began = time.perf_counter(), time.process_time()
        for _ in range(plan.sign_ins):
            COST.hasher.hash(b"as long as the digest that is hashed")
        ms = (time.perf_counter() - began) / plan.sign_ins * 1000
        taken.append(Hashing(ms=ms, cpu_ms=(time.process_time() - cpu_began) / plan.sign_ins * 1000))
    return taken


async def beside(service: Service, good: Sequence[str], plan: Plan) -> Mapping[str, Sequence[Turn]]:
    """Send good keys alone, beside many sign-ins and beside what they hash, in turn."""
    turns: dict[str, list[Turn]] = {ALONE: [], MANY: [], ELSEWHERE: []}
    await turn(service, good, plan.flood_s, many=False)
    for _ in range(plan.rounds):
        for what, taken in turns.items():
            with hashing_elsewhere() if what == ELSEWHERE else nullcontext():
                taken.append(await turn(service, good, plan.flood_s, many=what == MANY))
    return turns


@contextmanager
def hashing_elsewhere() -> Iterator[None]:
    """Keep as many processes hashing as the service may have."""
    started = [subprocess.Popen([sys.executable, "-c", FOR_NOBODY]) for _ in range(PROCESSES)]
    try:
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()


async def turn(service: Service, good: Sequence[str], seconds: float, *, many: bool) -> Turn:
    """Send good keys for some seconds."""
    pace = Pace(
        ports=[service.port],
        connections=GOOD_CONNECTIONS,
        keys=good,
        rate=GOOD_A_SECOND,
        slices=1,
        slice_s=seconds,
        begin_at_s=time.monotonic() + STARTS_IN_S,
    )
    requests = [signing_in(service, f"nobody-{number}@example.com", "not a password") for number in range(PARALLEL)]
    load = load_of(service, requests, connections=PARALLEL, seconds=seconds + STARTS_IN_S)
    async with watching(service.pid) as watched, asyncio.TaskGroup() as tasks:
        kept = tasks.create_task(keep(pace))
        sent = tasks.create_task(asyncio.to_thread(reported, load)) if many else None
    return Turn(kept=kept.result(), most_mb=max(watched), sign_ins=None if sent is None else sent.result())


@asynccontextmanager
async def watching(pid: int) -> AsyncIterator[list[float]]:
    """Note how much memory a process takes, again and again, until left."""
    noted = [resident_mb(pid)]

    async def look() -> None:
        while True:
            noted.append(resident_mb(pid))
            await asyncio.sleep(LOOK_EVERY_S)

    task = asyncio.create_task(look())
    try:
        yield noted
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def section_of_times(taken: Mapping[str, Sequence[Sequence[float]]], hashing: Sequence[Hashing], plan: Plan) -> Section:
    """Lay out what one sign-in takes."""
    p50_ms = {name: [percentile(one, 0.5) * 1000 for one in repeated] for name, repeated in taken.items()}
    rows = [[name, report.spread(values)] for name, values in p50_ms.items()]
    held = [Target(name="sign-in, p50", values=p50_ms[RIGHT], bound=150, at_least=False, unit="ms")]
    held += [
        Target(
            name=f"{name} against a wrong password: difference of the p50",
            values=[abs(median(report.ratios(p50_ms[name], p50_ms[WRONG])) - 1) * 100],
            bound=5,
            at_least=False,
            unit="%",
        )
        for name in (UNKNOWN, REMOVED)
    ]
    alone = Table(
        ("the hash alone", "ms", "ms of processor"),
        [["", report.spread([one.ms for one in hashing]), report.spread([one.cpu_ms for one in hashing])]],
    )
    method = METHOD.format(count=plan.sign_ins, repetitions=plan.repetitions)
    parts = (method, Table(("sign-in with", "p50 ms"), rows), METHOD_OF_HASH, alone, report.targets(held))
    return Section("Signing in", parts, report.missed(held))


def section_of_load(turns: Mapping[str, Sequence[Turn]], plan: Plan) -> Section:
    """Lay out what good keys waited for."""
    rows = [
        [
            what,
            report.spread([one.kept.slices[0].p50_ms for one in taken]),
            report.spread([one.p99_ms for one in taken]),
            report.spread([one.most_mb for one in taken]),
            report.spread([one.sign_ins.rate if one.sign_ins else 0 for one in taken]),
            report.spread([one.sign_ins.failures / one.sign_ins.seconds if one.sign_ins else 0 for one in taken]),
        ]
        for what, taken in turns.items()
    ]
    held = [
        Target(
            name=f"p99 of good keys: beside sign-ins / beside {what}",
            values=report.ratios([one.p99_ms for one in turns[MANY]], [one.p99_ms for one in turns[what]]),
            bound=2,
            at_least=False,
        )
        for what in (ALONE, ELSEWHERE)
    ]
    held += [
        Target(
            name="memory on top, beside sign-ins",
            values=[one.most_mb - other.most_mb for one, other in zip(turns[MANY], turns[ALONE], strict=True)],
            bound=MARGIN_MB,
            at_least=False,
            unit="MB",
        ),
    ]
    method = METHOD_OF_LOAD.format(
        good=GOOD_A_SECOND,
        parallel=PARALLEL,
        hashing=PROCESSES,
        rounds=plan.rounds,
        seconds=report.number(plan.flood_s),
    )
    headers = ("beside", "keys p50 ms", "keys p99 ms", "most MB", "sign-ins a second", "told to come back, a second")
    return Section("Keys beside sign-ins", (method, Table(headers, rows), report.targets(held)), report.missed(held))
