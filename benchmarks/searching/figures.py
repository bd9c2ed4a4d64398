"""Measured figures: JSON lines in the project's form, and the table for people."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

BENCH = "search"
COLUMNS = {  # metric: title, factor, digits
    "recall@10": ("recall", 1, 4),
    "p50_ms": ("p50 ms", 1, 3),
    "p99_ms": ("p99 ms", 1, 3),
    "batch_qps": ("q/s", 1, 0),
    "memory_bytes_per_vector": ("mem B/v", 1, 0),
    "disk_bytes_per_vector": ("disk B/v", 1, 0),
    "build_s": ("build s", 1, 1),
    "speedup_p50": ("× p50", 1, 1),
    "speedup_batch": ("× q/s", 1, 1),
    "speedup_build": ("× build", 1, 1),
}


class Figure(NamedTuple):
    """A row of `benchmarks.form` and what it belongs to.

    Attributes:
        goal: the recall that the setting was chosen for; 0 where there is none.
        slot: the peer that was measured in turn with this system; ratios are to it.
        setting: index and search parameters, or the plan.
    """

    bench: str
    case: str
    system: str
    metric: str
    value: float
    unit: str
    goal: float = 0.0
    slot: str = ""
    setting: str = ""


def lines(header: dict[str, Any], figures: Iterable[Figure]) -> Iterator[str]:
    """One JSON object a line, the machine first."""
    yield json.dumps(header)
    for figure in figures:
        yield json.dumps(figure._asdict())


def read(path: Path) -> list[Figure]:
    """The figures of a results file."""
    objects = [json.loads(line) for line in path.read_text().splitlines()]
    return [Figure(**found) for found in objects if "metric" in found]


def tables(figures: list[Figure]) -> Iterator[Table]:
    """One table a case; a system's figures of one slot and goal are one line."""
    for case in dict.fromkeys(figure.case for figure in figures):
        table = Table(title=case)
        table.add_column("goal", justify="right")
        table.add_column("system")
        table.add_column("setting", overflow="fold", max_width=44)
        for title, _, _ in COLUMNS.values():
            table.add_column(title, justify="right")
        mine = [figure for figure in figures if figure.case == case]
        slots = dict.fromkeys((figure.goal, figure.slot) for figure in mine if figure.metric in COLUMNS)
        for goal, slot in sorted(slots, key=lambda pair: (-pair[0], pair[1])):
            _slot(table, goal, [figure for figure in mine if (figure.goal, figure.slot) == (goal, slot)])
        yield table


def _slot(table: Table, goal: float, figures: list[Figure]) -> None:
    for system in dict.fromkeys(figure.system for figure in figures if figure.metric in COLUMNS):
        values = {figure.metric: figure.value for figure in figures if figure.system == system}
        setting = next(figure.setting for figure in figures if figure.system == system)
        cells = [
            f"{values[metric] * factor:,.{digits}f}" if metric in values else ""
            for metric, (_, factor, digits) in COLUMNS.items()
        ]
        table.add_row(f"{goal:g}", system, setting, *cells)
    table.add_section()


def others(figures: list[Figure]) -> Iterator[str]:
    """What fits no column: bandwidth, opening, cold queries."""
    for figure in figures:
        if figure.metric not in COLUMNS:
            value = f"{figure.value:,.4g} {figure.unit} {figure.setting}"
            yield f"{figure.case} · {figure.system} · {figure.metric} {value}"


def scaling(figures: list[Figure]) -> Iterator[Figure]:
    """How the median latency at recall .95 grows from each size of a generated gallery to its double."""
    found: dict[tuple[str, str, int], list[float]] = {}
    for figure in figures:
        kind, _, size = figure.case.rpartition("-")
        if figure.metric == "p50_ms" and figure.goal in (0.95, 1.0) and size.isdigit():
            found.setdefault((kind, figure.system, int(size)), []).append(figure.value)
    for (kind, system, size), values in found.items():
        if double := found.get((kind, system, 2 * size)):
            ratio = statistics.median(double) / statistics.median(values)
            yield Figure(BENCH, f"{kind}-{size}", system, "p50_per_doubling", ratio, "x")


def show(header: dict[str, Any], figures: list[Figure]) -> None:
    """The machine, the tables, and the rest."""
    console = Console(width=200)
    console.print(" · ".join(f"{name} {value}" for name, value in header.items()))
    for table in tables(figures):
        console.print(table)
    for line in others(figures):
        console.print(line)
