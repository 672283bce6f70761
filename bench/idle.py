"""What a service that nobody uses takes of the memory."""

import asyncio
from typing import Final

from bench import report
from bench.plan import Plan
from bench.processes import children, proportional_mb, resident_mb
from bench.report import Section, Target, targets
from bench.server import Server
from bench.serving import serving

METHOD: Final = """\
`entri serve` is started on an empty data directory, answers `/readyz`, and is left alone for {idle} s. Resident memory
counts pages that are shared with others too. PostgreSQL's processes share most of theirs, so theirs is proportional:
each shared page counted once."""


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure several starts."""
    resident: list[float] = []
    stored: list[float] = []
    for _ in range(plan.starts):
        with serving(server.directory.parent) as service:
            await asyncio.sleep(plan.idle_s)
            resident.append(resident_mb(service.pid) + sum(resident_mb(child) for child in children(service.pid)))
            stored.append(proportional_mb(service.postgres_pid))
    held = [Target(name="memory of an idle service", values=resident, bound=120, at_least=False, unit="MB")]
    beside = f"Its PostgreSQL takes {report.spread(stored)} MB beside it."
    parts = (METHOD.format(idle=report.number(plan.idle_s)), targets(held), beside)
    return [Section("Idle", parts, report.missed(held))]
