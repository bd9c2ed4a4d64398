"""Searching an index, or the vectors in a file. Command: ``nestling search``."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nestling.data import is_saved, load_labels, load_vectors, read_json_vectors
from nestling.data.naming import place_of
from nestling.errors import DataError, InputError
from nestling.search import Hits, Plan
from nestling.search.index import Index
from nestling.studies.units import in_time
from nestling.studies.vectors import search_vectors

STANDARD_INPUT = Path("-")


def search_path(
    path: Path,
    queries: Path,
    *,
    k: int | None = None,
    plan: str | None = None,
    exact: bool = False,
    among: Path | None = None,
    metric: str | None = None,
) -> tuple[Hits, str]:
    """Search an index, or the vectors in a file.

    Args:
        path: the folder of an index, or a file of vectors.
        queries: a file of vectors, or ``-`` for JSON on standard input.
        k: neighbours of each query; None is the plan's, or 10.
        plan: the text of a plan; None is the index's tuned plan, and exact search of a file.
        exact: the true neighbours by the stored vectors.
        among: a file of the only ids to find.
        metric: of the vectors in a file; an index has its own.

    Returns:
        The hits, and one sentence on what they cost.

    Raises:
        InputError, DataError: options that do not fit one another or the data, or nothing there to search.
    """
    if exact and plan is not None:
        raise InputError.of("--exact", "given without --plan", f"the plan {plan}", "Leave one of them out.")
    file = place_of(path, None)[0]
    if path.is_dir() and not is_saved(path):
        return _search_index(path, queries, k=k, plan=plan, exact=exact, among=among, metric=metric)
    if not file.exists():
        raise DataError(f"{path} is neither the folder of an index nor a file of vectors. Check the path.")
    if among is not None:
        raise InputError.of("--among", "given with an index", f"the file {path}", "Make one: nestling index create.")
    gallery = load_vectors(path)
    started = time.perf_counter()
    hits, cost = search_vectors(gallery, read_queries(queries), k=k, plan=plan, metric=metric or "cosine")
    seconds = time.perf_counter() - started
    return hits, f"{cost:.2f} MFLOPs per query, as the paper counts; {_timed(hits, seconds)}"


def _search_index(
    path: Path, queries: Path, *, k: int | None, plan: str | None, exact: bool, among: Path | None, metric: str | None
) -> tuple[Hits, str]:
    with Index.open(path) as index:
        if metric not in (None, index.metric):
            raise InputError.of("--metric", f"left out, since {path} has its own, {index.metric}", repr(metric))
        asked = np.asarray(read_queries(queries), np.float32)
        allowed = None if among is None else load_labels(among)
        read = None if plan is None else Plan.parse(plan)
        started = time.perf_counter()
        hits = index.search(asked, k, plan=read, exact=exact, among=allowed)
        seconds = time.perf_counter() - started
        used = None if exact else read or index.plan
        how = "exact" if used is None else f"by {'the' if plan else 'its own'} plan {used}"
        cost = "" if used is None else f", {used.mflops(index.stored):.2f} MFLOPs per query, as the paper counts"
        return hits, f"{how}{cost}; {_timed(hits, seconds)}"


def hit_records(hits: Hits) -> Iterator[dict[str, Any]]:
    """One JSON record per query; an empty place has the score null."""
    for query, (ids, scores) in enumerate(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)):
        yield {"query": query, "ids": ids, "scores": [None if math.isnan(score) else score for score in scores]}


def hit_table(hits: Hits, shown: int) -> list[list[str]]:
    """A line for each of the first queries: id:score, best first, without the empty places."""
    return [
        [
            str(record["query"]),
            "  ".join(
                f"{name}:{score:.4f}"
                for name, score in zip(record["ids"], record["scores"], strict=True)
                if score is not None
            ),
        ]
        for record, _ in zip(hit_records(hits), range(shown), strict=False)
    ]


def read_queries(path: Path) -> np.ndarray:
    """(q, d) from a file of vectors, or from standard input where the path is ``-``."""
    return read_json_vectors(sys.stdin.read(), "standard input") if path == STANDARD_INPUT else load_vectors(path)


def _timed(hits: Hits, seconds: float) -> str:
    return f"{len(hits):,} queries in {in_time(seconds)}, {in_time(seconds / max(len(hits), 1))} each"
