"""The report of a run, as Markdown."""

import os
import platform
from collections.abc import Iterable, Sequence

from tests.chaos.figures import share
from tests.chaos.fleet import COUNT, faketime
from tests.chaos.run import Run


def report(ended: Run) -> str:
    """Write everything down."""
    goal, history, figures = ended.goal, ended.history, ended.figures
    statuses, total = history.statuses(), figures.faults.total()
    counts = [
        ("verifications", f"{len(history):,}", f"{goal.verifications:,}"),
        ("of them begun after the answer that ended the key", f"{history.after_restriction():,}", ""),
        ("revocations", f"{figures.kinds['revoked']:,}", f"{goal.revocations:,}"),
        ("faults", f"{total:,}", f"{goal.faults:,}"),
        ("accepted after its end", f"{sum('accepted' in one.what for one in ended.offences)}", "0"),
        ("refused before its end", f"{sum('refused' in one.what for one in ended.offences)}", "0"),
        ("other things that must hold and did not", f"{len(figures.broken)}", "0"),
    ]
    answers = ((str(status or "none"), f"{count:,}") for status, count in sorted(statuses.items()))
    parts = [
        "# Revocation under faults",
        HOW.format(
            seed=ended.seed,
            minutes=ended.seconds / 60,
            processes=COUNT,
            cores=os.cpu_count(),
            machine=platform.machine(),
            python=platform.python_version(),
            clock="" if faketime() else " (left out: libfaketime is not installed)",
        ),
        table(("", "counted", "wanted"), counts),
        table(("answer to a verification", "times"), answers),
        table(("restriction", "times"), ((name, f"{count:,}") for name, count in figures.kinds.most_common())),
        table(("fault", "times"), ((name, f"{count:,}") for name, count in figures.faults.most_common())),
        "Times in milliseconds; the last column is what a machine with nothing else to do is meant to keep.",
        table(("circumstance", "times", "p50", "p99", "most", "meant"), times(ended)),
        listed("Over what is meant", figures.missed()),
        listed("What must not be", ended.problems[:200]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


HOW = """\
`python -m tests.chaos --seed {seed}`: {minutes:.0f} minutes, {processes} processes of `entri serve` on one data
directory and its embedded PostgreSQL, on {cores} cores ({machine}, Python {python}) that also carried the load. Two of
the processes reach PostgreSQL through a proxy; one has a wall clock of its own{clock}. Keys are verified at every
process from before a restriction is sent until after it is answered. A verification that began after that answer must
not be accepted, and one that ended before the restriction was sent must not be refused."""


def times(ended: Run) -> Iterable[tuple[str, ...]]:
    """Write a row for each circumstance."""
    for name, taken in sorted(ended.figures.times_ms.items()):
        bounds = ended.figures.bounds.get(name, [])
        meant = ", ".join(
            f"{f'p{bound.part:.0%}'[:-1] if bound.part < 1 else 'most'} ≤ {bound.ms:.0f}" for bound in bounds
        )
        yield name, f"{len(taken):,}", *(f"{share(taken, part):.1f}" for part in (0.5, 0.99, 1)), meant


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay a table out; numbers to the right."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def listed(title: str, lines: Sequence[str]) -> str:
    """List lines below a title, if there are any."""
    return "" if not lines else "\n".join((f"## {title}\n", *(f"- {line}" for line in lines)))
