"""What it comes to: rows, a table for each task and metric, and what is found of what was wished."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nestling.evaluation import Row
from nestling.metrics import grouped_bootstrap
from nestling.studies import plots
from nestling.studies.plots import Line
from nestling.studies.reproduce.section import Cell, Section, Table, by_prefix, mean_of
from nestling.studies.text_retrieval.judged import FIRST, Judged, metrics_of
from nestling.studies.text_retrieval.systems import ALONE, PCA, PLAIN, RESIDUAL, SUPERVISED
from nestling.studies.text_retrieval.tasks import Task

CHANGE = "cosine_change"
_SHORT, _GAP = 128, (32, 64)  # dims: up to where pairs should win, and where the gap should be closed
_LEAST_GAP = 1.0  # points that are worth closing
_EXACT = 1e-5


def rows_of(task: Task, found: Sequence[Judged]) -> list[Row]:
    """Of one task: every system and seed at every prefix, and the differences that were asked for."""
    rows = [
        Row(
            system=each.system,
            metric=metric,
            value=float(line.mean(dtype=np.float64)),
            unit="fraction",
            n=len(line),
            dims=m,
            seed=each.seed,
            group=task.name,
        )
        for each in found
        for metric, lines in each.values.items()
        for m, line in zip(task.nesting, lines, strict=True)
    ]
    for each in found:
        rows.append(
            Row(
                system=each.system,
                metric=CHANGE,
                value=each.change,
                unit="cosine",
                n=len(task.queries),
                seed=each.seed,
                group=task.name,
            )
        )
    return [*rows, *_differences(task, found)]


def wished(task: Task) -> list[tuple[str, str]]:
    """Pairs of systems whose difference is told."""
    supervised, residual = SUPERVISED.format(task.supervision), RESIDUAL.format(task.supervision)
    return [(ALONE, PCA), (supervised, PCA), (supervised, PLAIN), (residual, PLAIN), (residual, supervised)]


def section(rows: Sequence[Row], tasks: Sequence[Task]) -> Section:
    """Tables, a plot for each task and sentences."""
    tables = list[Table]()
    for task in tasks:
        for metric in metrics_of(task):
            title = f"{task.name}: {metric}, %"
            tables.append(by_prefix(title, rows, metric, group=task.name, wide=metric != FIRST[task.supervision]))
        tables.append(_table(task, rows))
    panels = {task.name: _lines(task, rows) for task in tasks}
    return Section(
        title="Vectors that exist, adapted",
        claim="Vectors that were never nested can be made so after the fact: Matryoshka-Adaptor (Yoon et al. 2024) "
        "keeps the quality of full vectors in a fraction of their numbers.",
        found=[sentence for task in tasks for sentence in _sentences(task, rows)],
        tables=tables,
        pictures=[plots.over_dims({name: lines}, ylabel="first place right, %") for name, lines in panels.items()],
    )


def _differences(task: Task, found: Sequence[Judged]) -> Iterator[Row]:
    seeds = max(sum(each.system == name for each in found) for name in {each.system for each in found})
    metric = FIRST[task.supervision]

    def lines(system: str, k: int) -> np.ndarray:
        each = np.stack([one.values[metric][k] for one in found if one.system == system])
        return np.broadcast_to(each, (seeds, each.shape[1])) if len(each) == 1 else each

    for ours, theirs in wished(task):
        for k, m in enumerate(task.nesting):
            a, b = lines(ours, k), lines(theirs, k)
            yield Row(
                system=f"{ours} − {theirs}",
                metric=f"{metric}_difference",
                value=float(a.mean(dtype=np.float64) - b.mean(dtype=np.float64)),
                unit="fraction",
                n=a.size,
                dims=m,
                group=task.name,
                interval=grouped_bootstrap(a, b, task.groups, seed=0),
            )


def _table(task: Task, rows: Sequence[Row]) -> Table:
    metric = f"{FIRST[task.supervision]}_difference"
    lines: list[list[str]] = []
    for ours, theirs in wished(task):
        cells = [f"{ours} − {theirs}"]
        for m in task.nesting:
            place, row = _difference(rows, task, ours, theirs, m)
            assert row.interval is not None
            low, high = (100 * bound for bound in row.interval)
            cells.append(Cell(f"{100 * row.value:+.2f} [{low:+.2f}, {high:+.2f}]", [place]))
        lines.append(cells)
    title = f"{task.name}: {metric.replace('_', ' ')} in points [95 %, groups of queries and seeds resampled]"
    return Table(title, ["", *map(str, task.nesting)], lines, wide=True)


def _difference(rows: Sequence[Row], task: Task, ours: str, theirs: str, m: int) -> tuple[int, Row]:
    metric, system = f"{FIRST[task.supervision]}_difference", f"{ours} − {theirs}"
    return next(
        (i, row)
        for i, row in enumerate(rows)
        if (row.metric, row.system, row.dims, row.group) == (metric, system, m, task.name)
    )


def _lines(task: Task, rows: Sequence[Row]) -> list[Line]:
    metric, dims = FIRST[task.supervision], task.nesting.dims
    names = dict.fromkeys(row.system for row in rows if (row.metric, row.group) == (metric, task.name))
    return [Line(name, dims, [mean_of(rows, metric, name, m, task.name) for m in dims]) for name in names]


def _sentences(task: Task, rows: Sequence[Row]) -> Iterator[str]:
    metric, dims = FIRST[task.supervision], task.nesting.dims
    supervised, residual = SUPERVISED.format(task.supervision), RESIDUAL.format(task.supervision)

    def value(system: str, m: int) -> float:
        return 100 * mean_of(rows, metric, system, m, task.name)

    def low(ours: str, theirs: str, m: int) -> float:
        interval = _difference(rows, task, ours, theirs, m)[1].interval
        assert interval is not None
        return interval[0]

    short = [m for m in dims if m <= _SHORT]
    won = {theirs: [m for m in short if low(supervised, theirs, m) > 0] for theirs in (PCA, PLAIN)}
    told = " and ".join(f"{name} at {_list(each, short)}" for name, each in won.items())
    yield f"{task.name}: {supervised} beats {told} of the prefixes up to {_SHORT} dims (95 %)."
    below = {m: value(ALONE, m) - value(PCA, m) for m in dims}
    worse = [f"{-gap:.2f} at {m}" for m, gap in below.items() if gap < 0]
    yield f"{task.name}: {ALONE} is {'below PCA by ' + ', '.join(worse) if worse else 'nowhere below PCA'}."
    full = task.nesting.width
    for m in (m for m in _GAP if m in dims):
        gap = value(PLAIN, full) - value(PLAIN, m)
        if gap < _LEAST_GAP:
            continue
        share = (value(residual, m) - value(PLAIN, m)) / gap
        yield f"{task.name}: {residual} closes {100 * share:.0f} % of the gap of {m} dims to the full width."
    yield f"{task.name}: {residual} at full width: {value(residual, full):.2f} %, plain {value(PLAIN, full):.2f} %."
    changes = [
        row.value for row in rows if row.metric == CHANGE and row.group == task.name and "rotation" in row.system
    ]
    kept = "unchanged" if max(changes) < _EXACT else "changed"
    yield f"{task.name}: cosines at full width are {kept} by every rotation (by {max(changes):.0e} at most)."


def _list(found: Sequence[int], of: Sequence[int]) -> str:
    return "all" if len(found) == len(of) else ", ".join(map(str, found)) or "none"
