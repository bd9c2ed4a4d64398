"""Recall over latency, one panel a case, as SVG and PNG beside the results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.searching.figures import Figure

_COLOURS = {
    "nestling-scan": "#d62728",
    "nestling-cells": "#ff7f0e",
    "nestling-exact": "#8c1515",
    "faiss-flat": "#1f3b73",
    "faiss-panorama": "#3f6fb5",
    "faiss-funnel": "#17a2b8",
    "faiss-ivf-refine": "#5b9bd5",
    "faiss-rabitq-refine": "#7f6fc0",
    "faiss-hnsw": "#2f6f4f",
    "usearch-exact": "#777777",
    "usearch-hnsw": "#a0b36b",
}
_Point = tuple[float, float]


def draw(figures: list[Figure], results: Path) -> list[Path]:
    """Write ``RESULTS.svg`` and ``.png``; the files written."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cases = list(dict.fromkeys(figure.case for figure in figures if figure.metric == "p50_ms"))
    if not cases:
        return []
    columns = min(2, len(cases))
    lines = -(-len(cases) // columns)
    picture, axes = plt.subplots(lines, columns, figsize=(7 * columns, 4.6 * lines), squeeze=False)
    for axis in axes.flat[len(cases) :]:
        axis.set_visible(False)
    for axis, case in zip(axes.flat, cases, strict=False):
        _panel(axis, case, _points(figure for figure in figures if figure.case == case))
    picture.tight_layout()
    written = [results.with_suffix(end) for end in (".svg", ".png")]
    for path in written:
        picture.savefig(path, dpi=110)
    plt.close(picture)
    return written


def _panel(axis: object, case: str, points: dict[str, list[_Point]]) -> None:
    for system, found in points.items():
        ours = system.startswith("nestling")
        axis.plot(
            *zip(*sorted(found), strict=True),
            "-o" if ours else "--s",
            label=system,
            color=_COLOURS.get(system),
            linewidth=2 if ours else 1,
            markersize=7 if ours else 5,
        )
    axis.set_xscale("log")
    axis.set_xlabel("ms a query, median, one thread")
    axis.set_ylabel("recall@10")
    axis.set_title(case)
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=7, loc="lower right")


def _points(figures: Iterable[Figure]) -> dict[str, list[_Point]]:
    """(ms, recall) of each system, goal by goal; ours from the slot where it was slowest."""
    values: dict[tuple[str, float, str], dict[str, float]] = {}
    for figure in figures:
        if figure.metric in ("p50_ms", "recall@10"):
            values.setdefault((figure.system, figure.goal, figure.slot), {})[figure.metric] = figure.value
    slowest: dict[tuple[str, float], _Point] = {}
    for (system, _, _), found in values.items():
        point = found["p50_ms"], found["recall@10"]
        key = system, round(point[1], 4)
        slowest[key] = max(point, slowest.get(key, point))
    points: dict[str, list[_Point]] = {}
    for (system, _), point in slowest.items():
        points.setdefault(system, []).append(point)
    return points
