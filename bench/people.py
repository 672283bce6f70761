"""Signing in: what it takes, alone and two hundred at once, and what those who verify keys notice of that."""

import asyncio
import contextlib
import resource
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

from bench import report
from bench.callers import percentile
from bench.plan import Plan
from bench.report import Section, Table, Target
from bench.rungs import issue
from bench.server import Server
from bench.verifying import entrances_of
from events.members import MemberRole
from events.refusals import Refused
from service.entrances import Entrances
from service.hashing import HashingOverloadError
from service.member_commands import Entered, MemberCommands
from service.passwords import MOST_WAITING, THREADS
from service.secret_text import SecretText
from service.throttle import Limits, Throttle

DATABASE: Final = "people"
EMAIL: Final = "grace@example.com"
WRONG: Final = SecretText("a password that is wrong")
AT_ONCE: Final = 200
TRIES: Final = 20
QUIET_S: Final = 2.0
MIB: Final = 1024 * 1024
METHOD: Final = """\
The commands as the service has them, on a database of their own, with passwords at their full cost; {tries} sign-ins of
each kind in turn, one at a time, in each of {rounds} rounds. The throttle counts but does not refuse."""
FLOOD: Final = """\
{at_once} sign-ins at once: {threads} are hashed, {waiting} wait, the rest are refused with 503. Meanwhile one caller
verifies a warm key again and again; each time is a whole turn of the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round came to."""

    right_ms: float
    wrong_ms: float
    unknown_ms: float
    refused: int
    most_in_flight: int
    grown_mib: float
    quiet_p99_us: float
    busy_p99_us: float


class Watch:
    """Looks at the pool and at this process's memory; owns the most that it saw."""

    def __init__(self, members: MemberCommands) -> None:
        self._members = members
        self.in_flight = 0
        self.bytes = 0

    async def look(self) -> None:
        """Look every few milliseconds, until cancelled."""
        while True:
            self.in_flight = max(self.in_flight, self._members.passwords.in_flight)
            self.bytes = max(self.bytes, resident_bytes())
            await asyncio.sleep(0.005)


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure sign-ins."""
    await server.create_database(DATABASE)
    async with server.core(DATABASE) as core, entrances_of(core) as entrances:
        (key,) = await issue(core, 1)
        limits = Limits(account=1_000_000, address=1_000_000)
        throttle = Throttle(core.pool, lambda: core.keys.peppers, limits)
        members = replace(entrances.services.members, throttle=throttle)
        password = await first_password(members)
        rounds = [await measure(members, password, entrances, key=key) for _ in range(plan.rounds)]
    return [section(rounds)]


async def first_password(members: MemberCommands) -> SecretText:
    """Make a member, whose one-time password is as good as any. Raises SystemExit."""
    organization = await members.pool.fetchval("select id from organizations limit 1")
    made = await members.create(organization, email=EMAIL, name="Grace", role=MemberRole.OWNER)
    if isinstance(made, Refused) or made.one_time_password is None:
        raise SystemExit("the member was refused")
    return made.one_time_password


async def measure(members: MemberCommands, password: SecretText, entrances: Entrances, *, key: str) -> Round:
    """Measure each kind of sign-in, and then many at once."""
    taken: dict[str, list[float]] = {"right": [], "wrong": [], "unknown": []}
    for _ in range(TRIES):
        for kind, email, given in (
            ("right", EMAIL, password),
            ("wrong", EMAIL, WRONG),
            ("unknown", "nobody@example.com", WRONG),
        ):
            began = time.perf_counter()
            outcome = await members.sign_in(email, given)
            taken[kind].append((time.perf_counter() - began) * 1000)
            if isinstance(outcome, Entered) is not (kind == "right"):
                raise SystemExit(f"a sign-in that was {kind} ended otherwise")
    quiet = await turns(entrances, key, asyncio.create_task(asyncio.sleep(QUIET_S)))
    watch, before = Watch(members), resident_bytes()
    watching = asyncio.create_task(watch.look())
    flood = asyncio.create_task(at_once(members))
    busy = await turns(entrances, key, flood)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    return Round(
        right_ms=median(taken["right"]),
        wrong_ms=median(taken["wrong"]),
        unknown_ms=median(taken["unknown"]),
        refused=await flood,
        most_in_flight=watch.in_flight,
        grown_mib=(watch.bytes - before) / MIB,
        quiet_p99_us=percentile(quiet, 0.99) * 1e6,
        busy_p99_us=percentile(busy, 0.99) * 1e6,
    )


async def at_once(members: MemberCommands) -> int:
    """Sign in many times at once; answers how many were refused because too many wait."""
    outcomes = await asyncio.gather(
        *(members.sign_in(f"nobody{n}@example.com", WRONG, address="192.0.2.1") for n in range(AT_ONCE)),
        return_exceptions=True,
    )
    return sum(isinstance(outcome, HashingOverloadError) for outcome in outcomes)


async def turns(entrances: Entrances, key: str, until: "asyncio.Task[object] | asyncio.Task[int]") -> list[float]:
    """Verify a warm key, a turn of the loop each, until a task is done; answers how long each took, ascending."""
    verify, taken = entrances.services.verifier.verify, array("d")  # small, since memory is measured beside it
    while not until.done():
        began = time.perf_counter()
        if (await verify(key)).failure is not None:
            raise SystemExit("a good key was refused")
        await asyncio.sleep(0)
        taken.append(time.perf_counter() - began)
    return sorted(taken)


def resident_bytes() -> int:
    """Read how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def section(rounds: Sequence[Round]) -> Section:
    """Lay everything out."""
    right, wrong, unknown = ([getattr(one, name) for one in rounds] for name in ("right_ms", "wrong_ms", "unknown_ms"))
    apart = [abs(one.unknown_ms / one.wrong_ms - 1) * 100 for one in rounds]
    slower = [one.busy_p99_us / one.quiet_p99_us for one in rounds]
    held = [
        Target(name="a sign-in, p50", values=right, bound=150, at_least=False, unit="ms"),
        Target(
            name="an unknown address against a wrong password", values=apart, bound=5, at_least=False, unit="% apart"
        ),
        Target(name="p99 of a warm key while many sign in", values=slower, bound=2, at_least=False),
    ]
    alone = Table(
        ("a sign-in", "p50 ms"),
        [
            ["right", report.spread(right)],
            ["a wrong password", report.spread(wrong)],
            ["an unknown address", report.spread(unknown)],
        ],
    )
    many = Table(
        (f"{AT_ONCE} sign-ins at once", ""),
        [
            ["refused at once", report.spread([one.refused for one in rounds])],
            ["most hashed or waiting", report.spread([one.most_in_flight for one in rounds])],
            ["memory grown by, MiB", report.spread([one.grown_mib for one in rounds])],
            ["p99 of a warm key before, µs", report.spread([one.quiet_p99_us for one in rounds])],
            ["p99 of a warm key meanwhile, µs", report.spread([one.busy_p99_us for one in rounds])],
        ],
    )
    method = METHOD.format(tries=TRIES, rounds=len(rounds))
    flood = FLOOD.format(at_once=AT_ONCE, threads=THREADS, waiting=MOST_WAITING)
    return Section("Sign-in", (method, alone, flood, many, report.targets(held)), report.missed(held))
