"""Retrieval rows: how good the hits of a plan are, and what they cost (Kusupati et al. 2022, §4.3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from nestling.errors import InputError, PlanError, ShapeError
from nestling.evaluation.base import check_labels
from nestling.evaluation.report import Row
from nestling.metrics import (
    average_precision_at_k,
    mean_average_precision,
    neighbor_recall,
    paired_bootstrap,
    precision_at_k,
)
from nestling.nesting import Nesting
from nestling.search.exact import Metric, exact, prefix_norms
from nestling.search.funnel import funnel
from nestling.search.hits import Hits
from nestling.search.index import Index
from nestling.search.plan import Plan, Stored

Search = Callable[[np.ndarray, np.ndarray | None], Hits]


def relevance(hits: Hits, gallery_labels: np.ndarray, query_labels: np.ndarray) -> Bool[np.ndarray, "q k"]:
    """Which hits have their query's label; an empty place has not.

    Args:
        gallery_labels: (n,); query_labels: (q,).

    Raises:
        ShapeError: there is not one label per query, or a hit has no label.
    """
    check_labels("query_labels", query_labels, len(hits))
    if gallery_labels.ndim != 1 or hits.ids.max() >= len(gallery_labels):
        raise ShapeError.of("gallery_labels", "one per gallery row", f"shape {gallery_labels.shape}")
    return (gallery_labels[hits.ids] == query_labels[:, None]) & (hits.ids >= 0)


def retrieval_rows(
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    queries: np.ndarray,
    query_labels: np.ndarray,
    plans: Sequence[Plan | str],
    *,
    seed: int,
    metric: Metric = "cosine",
    exclude: np.ndarray | None = None,
    index: Index | None = None,
    system: str = "nestling",
    timed: int = 100,
) -> list[Row]:
    """Quality and cost of exact search at full width and of each plan.

    Exact search is brute force over the given arrays. Plans run over them too, or, with `index`, in its engine.

    For each: map@k, precision@k and neighbor_recall@k (against exact), mflops (the paper's count),
    mflops_rings (ours), bytes_read, and the median time of single-query calls with the norms at hand; for a
    plan also map_difference@k, the mean of plan − exact over the queries with its paired 95 % interval.

    Args:
        gallery: (n, d); gallery_labels: (n,); queries: (q, d); query_labels: (q,).
        plans: at least one, all with the same last keep k.
        seed: of the bootstrap.
        exclude: (q,) one gallery row per query to leave out (the query itself), −1 for none; not with `index`.
        index: holds the gallery under the ids 0 … n − 1; its plans may use its sketches, copies and cells.
        timed: single-query calls behind each time, spread evenly over the queries; 0 leaves the time out.

    Raises:
        PlanError, ShapeError, InputError: plans that differ in k, or arguments that a search refuses.
    """
    read = [Plan.parse(plan) if isinstance(plan, str) else plan for plan in plans]
    k = _common_k(read)
    check_labels("gallery_labels", gallery_labels, len(gallery))
    check_labels("query_labels", query_labels, len(queries))
    n, d = gallery.shape[0], gallery.shape[-1]
    searches = {"exact": _exact_search(gallery, k, metric)}
    if index is not None and exclude is not None:
        raise InputError.of("exclude", "left out with an index", "both", "Search without the index.")
    searches |= {
        str(plan): _index_search(index, plan) if index else _funnel_search(gallery, plan, metric) for plan in read
    }
    stored = Stored(Nesting((d,)), n, gallery.itemsize) if index is None else index.stored
    costs = {"exact": Plan.of([(d, k)])} | {str(plan): plan for plan in read}
    hits = {name: search(queries, exclude) for name, search in searches.items()}
    times = _median_times(searches, queries, exclude, timed) if timed else {}
    right = {name: relevance(found, gallery_labels, query_labels) for name, found in hits.items()}
    rows: list[Row] = []
    for name in searches:
        values = _quality(right[name], hits[name], hits["exact"]) | _costs(costs[name], stored)
        values |= {"time_ms": (times[name], "ms")} if times else {}
        rows += [
            Row(system=system, metric=key, value=value, unit=unit, n=len(queries), plan=name)
            for key, (value, unit) in values.items()
        ]
        if name != "exact":
            rows.append(_difference(right[name], right["exact"], name, system, seed))
    return rows


def class_rows(
    relevant: Bool[np.ndarray, "q k"],
    query_labels: np.ndarray,
    *,
    plan: str | None = None,
    system: str = "nestling",
) -> list[Row]:
    """map@k of the queries of each class, one row per class, in the order of the labels.

    Args:
        relevant: (q, k) from `relevance`; query_labels: (q,).

    Raises:
        ShapeError: there is not one label per query.
    """
    check_labels("query_labels", query_labels, len(relevant))
    precision = average_precision_at_k(relevant)
    classes, codes, counts = np.unique(query_labels, return_inverse=True, return_counts=True)
    means = np.bincount(codes, weights=precision) / counts
    name = f"map@{relevant.shape[1]}"
    return [
        Row(system=system, metric=name, value=mean, unit="fraction", n=count, plan=plan, group=str(label))
        for label, mean, count in zip(classes.tolist(), means.tolist(), counts.tolist(), strict=True)
    ]


def _common_k(plans: Sequence[Plan]) -> int:
    ks = sorted({plan.k for plan in plans})
    if len(ks) != 1:
        raise PlanError.of(
            "plans", "at least one, all with the same last keep", f"last keeps {ks}", "Compare at one k."
        )
    return ks[0]


def _exact_search(gallery: np.ndarray, k: int, metric: Metric) -> Search:
    norms = prefix_norms(gallery, gallery.shape[-1:], param="gallery")
    return lambda queries, exclude: exact(gallery, queries, k, metric=metric, norms=norms, exclude=exclude)


def _funnel_search(gallery: np.ndarray, plan: Plan, metric: Metric) -> Search:
    plan.check(gallery.shape[1], len(gallery))
    norms = prefix_norms(gallery, plan.dims, param="gallery")
    return lambda queries, exclude: funnel(gallery, queries, plan, metric=metric, norms=norms, exclude=exclude)


def _index_search(index: Index, plan: Plan) -> Search:
    return lambda queries, _: index.search(queries, plan=plan)


def _median_times(
    searches: dict[str, Search], queries: np.ndarray, exclude: np.ndarray | None, timed: int
) -> dict[str, float]:
    """Median milliseconds of a call with one query. The searches take turns, so that a busy moment of the
    machine does not fall on one of them alone; the first turn warms up and is not counted."""
    chosen = np.linspace(0, len(queries) - 1, timed + 1).astype(np.int64)
    times: dict[str, list[float]] = {name: [] for name in searches}
    for row in chosen:
        one = queries[row : row + 1], None if exclude is None else exclude[row : row + 1]
        for name, search in searches.items():
            start = time.perf_counter()
            search(*one)
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(taken[1:])) for name, taken in times.items()}


def _quality(relevant: Bool[np.ndarray, "q k"], hits: Hits, nearest: Hits) -> dict[str, tuple[float, str]]:
    found = neighbor_recall(hits.ids, nearest.ids)
    return {
        f"map@{hits.k}": (mean_average_precision(relevant), "fraction"),
        f"precision@{hits.k}": (float(precision_at_k(relevant).mean()), "fraction"),
        f"neighbor_recall@{hits.k}": (float(found.mean()), "fraction"),
    }


def _costs(plan: Plan, stored: Stored) -> dict[str, tuple[float, str]]:
    return {
        "mflops": (plan.mflops(stored), "MFLOPs"),
        "mflops_rings": (plan.mflops_rings(stored), "MFLOPs"),
        "bytes_read": (float(plan.bytes_read(stored)), "bytes"),
    }


def _difference(
    relevant: Bool[np.ndarray, "q k"], nearest: Bool[np.ndarray, "q k"], plan: str, system: str, seed: int
) -> Row:
    ours, theirs = average_precision_at_k(relevant), average_precision_at_k(nearest)
    return Row(
        system=system,
        metric=f"map_difference@{relevant.shape[1]}",
        value=float(np.mean(ours - theirs)),
        unit="fraction",
        n=len(ours),
        plan=plan,
        interval=paired_bootstrap(ours, theirs, seed=seed),
    )
