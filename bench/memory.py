"""How much memory the keys take that are verified without the database."""

from typing import Final

from bench import report
from bench.memory_once import hold_elsewhere
from bench.plan import Plan
from bench.report import Section, Target
from bench.server import Server

TIMES: Final = 2
METHOD: Final = """\
A verified cache filled with {count:,} keys in a process of its own: three scopes each, a hundred tokens an
organization, half of them with an expiry, from rows as the driver decodes them. *Resident* is what the
process grew by."""


async def run(server: Server, plan: Plan) -> list[Section]:
    """Fill a cache a few times."""
    dsn = server.superuser_dsn.format("postgres")
    held = [hold_elsewhere(dsn, plan.entries) for _ in range(TIMES)]
    targets = [
        Target(
            name="bytes a warm key, resident",
            values=[one.resident_bytes for one in held],
            bound=700,
            at_least=False,
            unit="bytes",
        )
    ]
    beside = (
        f"By the sizes of its objects a key takes {report.spread([one.counted_bytes for one in held])} bytes, "
        f"the tables that find it apart. "
        f"Finding one among all takes {report.spread([one.found_us for one in held])} µs."
    )
    parts = (METHOD.format(count=plan.entries), report.targets(targets), beside)
    return [Section("Warm keys in memory", parts, report.missed(targets))]
