"""What one does with vectors that exist: measure their prefixes, search them by a plan.

Commands: ``nestling evaluate`` and ``nestling search``.
"""

from __future__ import annotations

from typing import Any, cast, get_args

import numpy as np

from nestling.errors import InputError
from nestling.evaluation import Row, linear_probe, one_nn, relevance
from nestling.metrics import mean_average_precision, precision_at_k
from nestling.nesting import Nesting, prefix
from nestling.search import Hits, Metric, Plan, exact, funnel
from nestling.studies.watch import Watch


def evaluate_vectors(
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    queries: np.ndarray,
    query_labels: np.ndarray,
    nesting: Nesting,
    *,
    k: int,
    seed: int,
    watch: Watch,
) -> list[Row]:
    """1-NN, a linear probe, mAP@k and precision@k at every prefix.

    Args:
        gallery: (n, d) with labels (n,); queries: (q, d) with labels (q,); d at least the nesting's width.

    Raises:
        ShapeError, InputError: arrays that do not fit one another or the nesting, k larger than the gallery.
    """
    gallery, queries = prefix(gallery, nesting.width), prefix(queries, nesting.width)
    name = "vectors"
    with watch.task("1-NN"):
        rows = one_nn(gallery, gallery_labels, queries, query_labels, nesting).rows(name)
    for m in nesting:
        with watch.task(f"search {m} dims"):
            right = relevance(exact(gallery, queries, k, m=m), gallery_labels, query_labels)
        for metric, value in (
            (f"map@{k}", mean_average_precision(right)),
            (f"precision@{k}", float(precision_at_k(right).mean())),
        ):
            rows.append(Row(system=name, metric=metric, value=value, unit="fraction", n=len(queries), dims=m))
    for m in nesting:
        with watch.task(f"probe on {m} dims"):
            probe = linear_probe(prefix(gallery, m), gallery_labels, prefix(queries, m), query_labels, seed=seed)
        rows.append(probe.row(name))
    return rows


def search_vectors(
    gallery: np.ndarray, queries: np.ndarray, *, k: int | None, plan: str | None, metric: str
) -> tuple[Hits, float]:
    """The hits, and the MFLOPs per query as the paper counts them.

    Raises:
        PlanError, ShapeError, InputError: a plan, k or arrays that do not fit.
    """
    if metric not in get_args(Metric):
        raise InputError.of("metric", f"one of {', '.join(get_args(Metric))}", repr(metric))
    how: Any = cast(Metric, metric)
    if plan is None:
        k = 10 if k is None else k
        return exact(gallery, queries, k, metric=how), Plan.of([(gallery.shape[1], k)]).mflops(len(gallery))
    read = Plan.parse(plan)
    if k is not None and k != read.k:
        raise InputError.of("k", f"the plan's last keep, {read.k}", k, "Leave one of them out.")
    return funnel(gallery, queries, read, metric=how), read.mflops(len(gallery))
