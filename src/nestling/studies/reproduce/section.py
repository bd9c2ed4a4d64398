"""A part of the report: what a table of the paper says, ours beside it, and what is found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nestling.evaluation import Row
from nestling.studies.plots import Line
from nestling.studies.reproduce.paper import Curve

Cells = tuple[list[str], list[list[str]]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a title; a row whose name begins with "paper" holds the paper's figures.

    Attributes:
        wide: too wide for a terminal; only the page shows it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What one experiment shows.

    Attributes:
        claim: what the paper says.
        found: sentences about what came out.
        pictures: SVG texts.
    """

    title: str
    claim: str
    found: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[str] = ()


def by_prefix(
    title: str, rows: Sequence[Row], metric: str, *, paper: Mapping[str, Curve] | None = None, group: str | None = None
) -> Table:
    """Systems down, prefixes across: mean over seeds in percent, ± half the range of the seeds."""
    values = _values(rows, metric, group)
    dims = sorted({m for _, m in values})
    systems = list(dict.fromkeys(system for system, _ in values))
    lines = []
    for system in systems:
        lines.append([system, *(_mean(values.get((system, m), ())) for m in dims)])
        if paper is not None and system in paper:
            lines.append([f"paper {system}", *(paper[system].at(m) for m in dims)])
    return Table(title, ["", *map(str, dims)], lines)


def lines_of(rows: Sequence[Row], metric: str, *, points: Callable[[str], bool] = lambda _: False) -> list[Line]:
    """A line for each system: means over seeds at every prefix."""
    values = _values(rows, metric, None)
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for (system, m), each in values.items():
        found[system][m] = float(np.mean(each))
    return [
        Line(system, sorted(at), [at[m] for m in sorted(at)], joined=not points(system)) for system, at in found.items()
    ]


def mean_of(rows: Sequence[Row], metric: str, system: str, m: int | None, group: str | None = None) -> float:
    """The mean over seeds; NaN where there is no row."""
    each = [r.value for r in rows if (r.metric, r.system, r.dims, r.group) == (metric, system, m, group)]
    return float(np.mean(each)) if each else float("nan")


def percent(value: float, digits: int = 2) -> str:
    """A share in percent; empty for NaN."""
    return "" if value != value else f"{100 * value:.{digits}f}"


def _values(rows: Sequence[Row], metric: str, group: str | None) -> dict[tuple[str, int], list[float]]:
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in rows:
        if row.metric == metric and row.group == group and row.dims is not None:
            values[row.system, row.dims].append(row.value)
    return values


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ±{50 * (max(values) - min(values)):.1f}" if len(values) > 1 else ""
    return f"{100 * float(np.mean(values)):.2f}{spread}"
