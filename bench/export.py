"""Exporting a long history, and verifying the export offline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench import report
from bench.export_once import Passed, elsewhere, remove
from bench.history import DATABASE, MIX, history
from bench.plan import Plan
from bench.report import Section, Table, Target
from bench.server import Server

METHOD: Final = """\
A log of {events:,} events of one organization ({mix}). It is exported whole into a directory, and the export is
verified, each in a process of its own. Of an export, `server s` are PostgreSQL's processor seconds meanwhile. Memory is
of the process: the most in the first and in the last quarter of the events. The disk's cache is not emptied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An export, what PostgreSQL took of the processors meanwhile, and the verification."""

    exported: Passed
    server_cpu_s: float
    verified: Passed


async def run(server: Server, plan: Plan) -> list[Section]:
    """Export and verify several times, in turn."""
    async with history(server, plan) as (_, long):
        await server.as_superuser("checkpoint")  # what was measured before is not to be written meanwhile
        measured = [await measure(server) for _ in range(min(plan.repetitions, 3))]
    held = targets(measured)
    table = Table(
        ("", "events", "events/s", "seconds", "processor s", "server s", "MB"),
        [
            ["export", *figures([one.exported for one in measured], [one.server_cpu_s for one in measured])],
            ["verify-log", *figures([one.verified for one in measured], None)],
        ],
    )
    method = METHOD.format(events=long.events, mix=MIX)
    return [Section("Export", (method, table, report.targets(held)), report.missed(held))]


async def measure(server: Server) -> Measured:
    """Export and verify once, from a checkpoint on."""
    path = server.directory / "export"
    remove(path)
    await server.as_superuser("checkpoint")
    served = server.cpu_s()
    exported = elsewhere(server, DATABASE, "export", path=path)
    served = server.cpu_s() - served
    verified = elsewhere(server, DATABASE, "verify", path=path)
    remove(path)
    return Measured(exported=exported, server_cpu_s=served, verified=verified)


def targets(measured: Sequence[Measured]) -> list[Target]:
    """Hold what was measured against what is wanted."""
    exported, verified = [one.exported for one in measured], [one.verified for one in measured]
    return [
        at_least("export: events a second", exported, 200_000, lambda one: one.seconds),
        at_least("verify-log: events a second a core", verified, 150_000, lambda one: one.cpu_s),
        flat("export: memory late / early", exported),
        flat("verify-log: memory late / early", verified),
    ]


def at_least(name: str, passed: Sequence[Passed], bound: float, took: Callable[[Passed], float]) -> Target:
    """Hold a rate against the least that will do."""
    return Target(name=name, values=[one.events / took(one) for one in passed], bound=bound, at_least=True, unit="")


def flat(name: str, passed: Sequence[Passed]) -> Target:
    """Hold the memory at the end against that at the beginning."""
    values = [one.peak_mb(0.75, 1) / one.peak_mb(0, 0.25) for one in passed]
    return Target(name=name, values=values, bound=1.2, at_least=False)


def figures(passed: Sequence[Passed], server_cpu_s: Sequence[float] | None) -> list[str]:
    """Write what repetitions came to."""
    early = report.number(max(one.peak_mb(0, 0.25) for one in passed))
    late = report.number(max(one.peak_mb(0.75, 1) for one in passed))
    return [
        f"{passed[0].events:,}",
        report.spread([one.events / one.seconds for one in passed]),
        report.spread([one.seconds for one in passed]),
        report.spread([one.cpu_s for one in passed]),
        report.spread(server_cpu_s) if server_cpu_s is not None else "none",
        f"{early}, {late}",
    ]
