"""`python -m bench`: prints how fast the service is, and against what; a whole run writes RESULTS.md."""

import argparse
import asyncio
import re
import shlex
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import uvloop

from bench import (
    appends,
    counters,
    crash,
    create,
    export,
    flood,
    floor,
    gateway,
    idle,
    machine,
    memory,
    pages,
    rebuild,
    revocation,
    rungs,
    sign_in,
    streams,
    trees,
    usage,
    verify,
)
from bench.plan import FULL, QUICK, Plan
from bench.report import Section
from bench.server import Server, directory_on_disk, running
from service.logs import configure_logs

Benchmark = Callable[[Server, Plan], Awaitable[Sequence[Section]]]
BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    "appends": appends.run,
    "floor": floor.run,
    "create": create.run,
    "rebuild": rebuild.run,
    "pages": pages.run,
    "idle": idle.run,
    "verify": verify.run,
    "gateway": gateway.run,
    "counters": counters.run,
    "rungs": rungs.run,
    "flood": flood.run,
    "revocation": revocation.run,
    "memory": memory.run,
    "usage": usage.run,
    "crash": crash.run,
    "trees": trees.run,
    "export": export.run,
    "streams": streams.run,
    "sign_in": sign_in.run,
}
RESULTS: Final = Path(__file__).parent / "RESULTS.md"


def main() -> int:
    """Run what was asked for."""
    options = arguments()
    chosen = options.benchmarks or list(BENCHMARKS)
    with running(options.dir) as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        text, missed = runner.run(measure(server, QUICK if options.quick else FULL, chosen))
    if set(chosen) == set(BENCHMARKS) and not options.quick:
        RESULTS.write_text(with_faults(text), encoding="utf-8")
        print(f"written to {RESULTS.parent.name}/{RESULTS.name}", file=sys.stderr)
    return 1 if missed and options.strict else 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "benchmarks", nargs="*", choices=[[], *BENCHMARKS], metavar="benchmark", help=", ".join(BENCHMARKS)
    )
    parser.add_argument(
        "--quick", action="store_true", help="two minutes instead of a quarter of an hour: to try it, not to quote it"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target was missed")
    parser.add_argument("--dir", type=Path, default=directory_on_disk(), help="where the server keeps its data")
    return parser.parse_args()


async def measure(server: Server, plan: Plan, chosen: Sequence[str]) -> tuple[str, list[str]]:
    """Run benchmarks and print each as it ends; answers everything printed, and the targets missed."""
    configure_logs(server.settings("postgres"))
    began = time.perf_counter()
    printed: list[str] = []
    missed: list[str] = []
    say(printed, heading(), await machine.describe(server))
    for name in chosen:
        print(f"… {name}", file=sys.stderr)
        for section in await BENCHMARKS[name](server, plan):
            say(printed, section.markdown())
            missed += section.missed
    say(printed, verdict(missed), f"All of it took {time.perf_counter() - began:.0f} s.")
    return "\n\n".join(printed) + "\n", missed


def say(printed: list[str], *texts: str) -> None:
    """Print paragraphs and remember them."""
    for text in texts:
        print(text, end="\n\n", flush=True)
        printed.append(text)


def heading() -> str:
    """Say what this is and how it was made."""
    command = shlex.join(("python", "-m", "bench", *sys.argv[1:]))
    at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"# Results\n\nMade by `{command}` on {at}. How to read it: README.md beside this file."


def with_faults(text: str) -> str:
    """Add the newest report of `make chaos`, which takes too long to be made anew each time, as a section."""
    faults = RESULTS.with_name("CHAOS.md")
    if not faults.exists():
        return text
    return f"{text}\n{re.sub('^#', '##', faults.read_text(encoding='utf-8'), flags=re.MULTILINE)}"


def verdict(missed: Sequence[str]) -> str:
    """Say whether the targets were met."""
    if not missed:
        return "## Targets\n\nNone was missed."
    return "## Targets\n\nMissed:\n\n" + "\n".join(f"- {name}" for name in missed)


if __name__ == "__main__":
    sys.exit(main())
