"""Rebuilding read models from a long history."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench import report
from bench.history import DATABASE, MIX, History, history
from bench.plan import Plan
from bench.rebuild_once import Rebuilt, rebuild_elsewhere
from bench.report import Section, Table, Target
from bench.server import Server

MODELS: Final = ("tokens", "token_last_used")
METHOD: Final = """\
A log of {events:,} events of one organization ({mix}). A rebuild reads what its read model cares for, folds it, copies
the rows into a new table, indexes that, and switches; it runs in a process of its own. A core's rate is events by
processor seconds: of that process alone, and of it and PostgreSQL together. Memory is of that process: the most in the
first and in the last quarter of the events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A rebuild, and what PostgreSQL took of the processors meanwhile."""

    rebuilt: Rebuilt
    server_cpu_s: float


async def run(server: Server, plan: Plan) -> list[Section]:
    """Rebuild each read model several times, in turn."""
    async with history(server, plan) as (_, long):
        measured: dict[str, list[Measured]] = {name: [] for name in MODELS}
        for _ in range(min(plan.repetitions, 3)):
            for name in MODELS:
                measured[name].append(await measure(server, name))
    held = [target for name in MODELS for target in targets(name, measured[name])]
    table = Table(
        ("read model", "events", "seconds", "client s", "server s", "a core, client", "a core, both", "MB"),
        [[name, *figures(measured[name])] for name in MODELS],
    )
    filled = f"The writer appended that history, many events at once, at {report.number(rate(long))} events a second."
    method = METHOD.format(events=long.events, mix=MIX)
    parts = (method, table, report.targets(held), filled)
    return [Section("Rebuild", parts, report.missed(held))]


async def measure(server: Server, name: str) -> Measured:
    """Rebuild one read model, from a checkpoint on."""
    await server.as_superuser("checkpoint")
    served = server.cpu_s()
    rebuilt = rebuild_elsewhere(server, DATABASE, name)
    return Measured(rebuilt=rebuilt, server_cpu_s=server.cpu_s() - served)


def targets(name: str, measured: Sequence[Measured]) -> list[Target]:
    """Hold a read model's rebuilds against what is wanted."""
    return [
        Target(
            name=f"{name}: events a second a core, both processes",
            values=[one.rebuilt.events / (one.rebuilt.cpu_s + one.server_cpu_s) for one in measured],
            bound=50_000,
            at_least=True,
            unit="",
        ),
        Target(
            name=f"{name}: memory late / early",
            values=[one.rebuilt.peak_mb(0.75, 1) / one.rebuilt.peak_mb(0, 0.25) for one in measured],
            bound=1.2,
            at_least=False,
        ),
    ]


def figures(measured: Sequence[Measured]) -> list[str]:
    """Write what repeated rebuilds came to."""
    rebuilt = [one.rebuilt for one in measured]
    early = report.number(max(one.peak_mb(0, 0.25) for one in rebuilt))
    late = report.number(max(one.peak_mb(0.75, 1) for one in rebuilt))
    return [
        f"{rebuilt[0].events:,}",
        report.spread([one.seconds for one in rebuilt]),
        report.spread([one.cpu_s for one in rebuilt]),
        report.spread([one.server_cpu_s for one in measured]),
        report.spread([one.events / one.cpu_s for one in rebuilt]),
        report.spread([one.rebuilt.events / (one.rebuilt.cpu_s + one.server_cpu_s) for one in measured]),
        f"{early}, {late}",
    ]


def rate(long: History) -> float:
    """How many events a second were appended."""
    return long.events / long.seconds
