"""What a run measured: faults, times by circumstance, and what held. Must never lose that something did not hold."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a figure is meant to be on a machine that has nothing else to do."""

    ms: float
    part: float
    """Of how many times it is said: 0.5 of half of them, 1 of all."""


@dataclass(slots=True)
class Figures:
    """The figures of a run."""

    faults: Counter[str] = field(default_factory=Counter)
    times_ms: "defaultdict[str, list[float]]" = field(default_factory=lambda: defaultdict(list))
    bounds: dict[str, list[Bound]] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    """Restrictions by what they were."""
    broken: list[str] = field(default_factory=list)
    """What has to hold however busy the machine is, and did not."""

    def fault(self, name: str) -> None:
        """Count a fault."""
        self.faults[name] += 1

    def took(self, name: str, ms: float, *bounds: Bound) -> None:
        """Note a time."""
        self.times_ms[name].append(ms)
        if bounds:
            self.bounds[name] = list(bounds)

    def must(self, name: str, *, hold: bool, said: object = "") -> None:
        """Note whether something held."""
        if not hold:
            self.broken.append(f"{name}: {said}")

    def missed(self) -> list[str]:
        """List the times that are over their bounds, which a busy machine may be to blame for."""
        return [
            f"{name}: {share(self.times_ms[name], bound.part):.1f} ms of at most {bound.ms:.0f} ms ({bound.part:.0%})"
            for name, bounds in self.bounds.items()
            for bound in bounds
            if share(self.times_ms[name], bound.part) > bound.ms
        ]


def share(times: Sequence[float], part: float) -> float:
    """Pick what the given part of times is at most."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
