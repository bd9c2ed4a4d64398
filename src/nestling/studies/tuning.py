"""Finding the plan for an index. Command: ``nestling tune``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nestling.data import load_labels, load_vectors
from nestling.errors import InputError, require_extra
from nestling.files import write_file
from nestling.search.index import Index
from nestling.search.tuner import Tuned
from nestling.studies.plots import Measured, over_time
from nestling.studies.units import in_bytes, in_time
from nestling.studies.watch import Watch

_PICTURES = {".svg": "svg", ".png": "png"}


def tune_index(
    path: Path,
    queries: Path | None,
    *,
    recall: float,
    k: int,
    labels: Path | None = None,
    query_labels: Path | None = None,
    seed: int = 0,
    budget: int | None = None,
    plot: Path | None = None,
    watch: Watch,
) -> Tuned:
    """Find the cheapest plan that reaches the wish, and draw the frontier.

    Args:
        queries: a file of vectors; None takes rows of the gallery, each left out of its own result.
        labels, query_labels: classes; then the wish is a part of exact search's mAP@k instead of its neighbours.
        budget: bytes a vector that may stay in memory; None is 64.
        plot: a picture to write, .svg or .png.

    Raises:
        InputError, DataError: files or options that do not fit, or no index.
        MissingExtraError: a picture without matplotlib.
    """
    if plot is not None:
        _check_picture(plot)
    if labels is None and query_labels is not None:
        raise InputError.of("--query-labels", "given with --labels", "it alone", "Give the classes of the gallery too.")
    with Index.open(path) as index:
        asked = None if queries is None else np.asarray(load_vectors(queries), np.float32)
        with watch.task("tune") as step:
            tuned = index.tune(
                asked,
                recall=recall,
                k=k,
                metric="recall" if labels is None else "map",
                labels=None if labels is None else load_labels(labels),
                query_labels=None if query_labels is None else load_labels(query_labels),
                seed=seed,
                budget=budget,
                progress=step,
            )
    if plot is not None:
        write_file(plot, _picture(tuned, plot))
    return tuned


def frontier_table(tuned: Tuned) -> list[list[str]]:
    """A line for each plan of the frontier, fastest first, the chosen one marked."""
    return [
        [
            f"{point.plan}{'  ←' if point.plan == tuned.plan else ''}",
            f"{point.recall:.4f} [{point.low:.4f}, {point.high:.4f}]",
            f"{point.mflops:.3g}",
            in_bytes(point.bytes_read),
            in_time(point.time_ms / 1000),
        ]
        for point in tuned.frontier
    ]


def measure(tuned: Tuned) -> str:
    """What was measured, as a heading."""
    return f"{'recall' if tuned.metric == 'recall' else 'mAP'}@{tuned.k}"


def _picture(tuned: Tuned, file: Path) -> bytes:
    points = [
        Measured(str(p.plan), p.recall, p.low, p.high, p.time_ms, bold=p.plan == tuned.plan) for p in tuned.frontier
    ]
    return over_time(points, wish=tuned.wish, ylabel=f"{measure(tuned)}, %", form=_PICTURES[file.suffix.lower()])


def _check_picture(file: Path) -> None:
    """Before the work, not after it."""
    require_extra("matplotlib")
    if file.suffix.lower() not in _PICTURES:
        raise InputError.of("--plot", f"a file ending in {' or '.join(_PICTURES)}", repr(str(file)))
