"""A part of the report: what a table of the paper says, ours beside it, and what is found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nestling.evaluation import Row
from nestling.studies.plots import Line
from nestling.studies.reproduce.paper import Curve

JUDGED = "Agreement with the paper, in the published run on icons-600"


class Cell(str):
    """The text of a number, with the places in the experiment's rows that it came from."""

    of: tuple[int, ...]

    def __new__(cls, text: str, of: Sequence[int] = ()) -> Cell:
        """`of`: indices of the rows."""
        made = super().__new__(cls, text)
        made.of = tuple(of)
        return made


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
        judged: of the published run on icons-600, what agrees with the paper, what does not, and why we think so.
        found: sentences about what came out.
        pictures: SVG texts.
    """

    title: str
    claim: str
    judged: str = ""
    found: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[str] = ()


def by_prefix(
    title: str,
    rows: Sequence[Row],
    metric: str,
    *,
    paper: Mapping[str, Curve] | None = None,
    group: str | None = None,
    without: Collection[str] = (),
    wide: bool = False,
) -> Table:
    """Systems down, prefixes across: mean over seeds in percent, ± half the range of the seeds."""
    places = _places(rows, metric, group, without)
    dims = sorted({m for _, m in places})
    systems = list(dict.fromkeys(system for system, _ in places))
    lines = []
    for system in systems:
        lines.append([system, *(_mean(rows, places.get((system, m), ())) for m in dims)])
        if paper is not None and system in paper:
            lines.append([f"paper {system}", *(paper[system].at(m) for m in dims)])
    return Table(title, ["", *map(str, dims)], lines, wide=wide)


def lines_of(
    rows: Sequence[Row], metric: str, *, without: Collection[str] = (), points: Collection[str] = ("FF",)
) -> list[Line]:
    """A line for each system: means over seeds at every prefix; `points` are not joined, being many models."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for (system, m), places in _places(rows, metric, None, without).items():
        found[system][m] = float(np.mean([rows[i].value for i in places]))
    return [
        Line(system, sorted(at), [at[m] for m in sorted(at)], joined=system not in points)
        for system, at in found.items()
    ]


def told(rows: Sequence[Row], text: str, **wanted: object) -> Cell:
    """A cell of the rows that have these attributes."""
    return Cell(text, [i for i, row in enumerate(rows) if all(getattr(row, a) == v for a, v in wanted.items())])


def mean_of(rows: Sequence[Row], metric: str, system: str, m: int | None, group: str | None = None) -> float:
    """The mean over seeds; NaN where there is no row."""
    each = [r.value for r in rows if (r.metric, r.system, r.dims, r.group) == (metric, system, m, group)]
    return float(np.mean(each)) if each else float("nan")


def percent(value: float, digits: int = 2) -> str:
    """A share in percent; empty for NaN."""
    return "" if value != value else f"{100 * value:.{digits}f}"


def _places(
    rows: Sequence[Row], metric: str, group: str | None, without: Collection[str]
) -> dict[tuple[str, int], list[int]]:
    places: dict[tuple[str, int], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if row.metric == metric and row.group == group and row.dims is not None and row.system not in without:
            places[row.system, row.dims].append(i)
    return places


def _mean(rows: Sequence[Row], places: Sequence[int]) -> Cell:
    if not places:
        return Cell("")
    values = [rows[i].value for i in places]
    spread = f" ±{50 * (max(values) - min(values)):.1f}" if len(values) > 1 else ""
    return Cell(f"{100 * float(np.mean(values)):.2f}{spread}", places)
