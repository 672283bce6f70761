"""What the benchmarks say: sections of Markdown tables with medians and spread. Must never show a single run as one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

ONE_DECIMAL_FROM: Final = 10
NO_DECIMALS_FROM: Final = 100


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headers; the first column names, the others hold figures."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Write the table with its columns aligned."""
        lines = [list(self.headers), *(list(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headers))]
        cells = [[f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)] for line in lines]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        return "\n".join(f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:]))


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark's answer."""

    title: str
    parts: Sequence[str | Table]
    missed: Sequence[str] = field(default=())
    """The targets that were not met."""

    def markdown(self) -> str:
        """Write the section."""
        parts = (part.markdown() if isinstance(part, Table) else part for part in self.parts)
        return "\n\n".join((f"## {self.title}", *parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a figure is held against."""

    name: str
    values: Sequence[float]
    bound: float
    at_least: bool
    """Whether the bound is the least that will do; else the most."""
    unit: str = "x"

    @property
    def is_met(self) -> bool:
        """Say whether the median is on the right side of the bound."""
        return median(self.values) >= self.bound if self.at_least else median(self.values) <= self.bound

    def row(self) -> list[str]:
        """Lay the target out as a row."""
        bound = f"{'≥' if self.at_least else '≤'} {number(self.bound)} {self.unit}"
        return [self.name, f"{spread(self.values)} {self.unit}", bound, "yes" if self.is_met else "**no**"]


def targets(held: Sequence[Target]) -> Table:
    """Lay targets out as a table."""
    return Table(("target", "median (least to most)", "wanted", "met"), [target.row() for target in held])


def missed(held: Sequence[Target]) -> list[str]:
    """Name the targets that were not met."""
    return [target.name for target in held if not target.is_met]


def spread(values: Sequence[float]) -> str:
    """Write a median with the least and the most."""
    return f"{number(median(values))} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """Write a number to three digits or so, thousands apart."""
    if abs(value) >= NO_DECIMALS_FROM:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= ONE_DECIMAL_FROM else f"{value:.2f}"


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Divide what was measured in the same repetition."""
    return [one / other for one, other in zip(of, to, strict=True)]
