"""Adaptive retrieval and funnel search as running sums over rings (Kusupati et al. 2022, §4.3.1)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

from nestling.search import _native
from nestling.search.exact import (
    Metric,
    Prepared,
    finish,
    inverse_lengths,
    join_hits,
    prefix_norms,
    prepare,
    query_parts,
    rank,
    scan,
)
from nestling.search.hits import Hits
from nestling.search.plan import Plan
from nestling.search.topk import select

__all__ = ["funnel", "prefix_norms"]

_GATHERED_AT_ONCE = 1 << 22  # numbers copied out of the gallery in one go by the NumPy path


def funnel(
    gallery: np.ndarray,
    queries: np.ndarray,
    plan: Plan | str,
    *,
    metric: Metric = "cosine",
    norms: np.ndarray | None = None,
    native: bool = True,
    exclude: np.ndarray | None = None,
) -> Hits:
    """Rank the gallery by the first stage's dims, then the shortlist of each stage by the next stage's dims.

    A stage adds its new ring to the dot product of the stage before, s_k = s_{k-1} + ⟨q_ring, x_ring⟩, so a
    rerank reads only the dims that the shortlist has not been compared by; a cosine divides by the norms of
    the stage's own prefix.

    Args:
        gallery: (n, d) float32 or float64.
        queries: (q, d) float32 or float64.
        plan: the stages, or their text: ``"16:200,512:10"``.
        metric: "cosine", "ip" or "l2", as `exact`.
        norms: (n, stages) squared norms, ``prefix_norms(gallery, plan.dims)``, which also says that the
            gallery is finite; None computes them at every call and so reads the whole gallery.
        native: rerank with the C++ kernel where it can (float32, rows contiguous); False is plain NumPy.
        exclude: (q,) one gallery row per query to leave out (the query itself), −1 for none.

    Returns:
        Hits with k of the plan's last keep, best first, equal scores by the smaller id.

    Raises:
        PlanError: the plan cannot be read, or does not fit the gallery.
        ShapeError, InputError: arrays that do not fit one another, or hold NaN or infinity.
    """
    plan = Plan.parse(plan) if isinstance(plan, str) else plan
    if gallery.ndim == 2:
        plan.check(gallery.shape[1], len(gallery) - (exclude is not None))
    search = prepare(gallery, queries, plan.dims, plan.k, metric=metric, norms=norms, exclude=exclude)
    native = native and _fits_native(search.gallery) and _fits_native(search.queries)
    limit = len(gallery) - (exclude is not None)
    keeps = [min(stage.keep, limit) for stage in plan.stages]
    found = [_run(search, part, keeps, native) for part in query_parts(search, keeps[0])]
    return join_hits(found, plan.k)


def _run(search: Prepared, part: slice, keeps: list[int], native: bool) -> Hits:
    add = _add_native if native else add_ring_dots
    ids, dots = scan(search, part, keeps[0])
    for stage, keep in enumerate(keeps[1:], start=1):
        ring = search.rings[stage]
        dots = np.ascontiguousarray(dots)
        if ring.start < ring.stop:
            add(dots, search.queries[part, ring], search.gallery[:, ring], np.ascontiguousarray(ids))
        if keep < ids.shape[1]:
            best = select(rank(search.metric, dots, _shortlist_weights(search, ids, stage)), keep)
            ids, dots = np.take_along_axis(ids, best, axis=1), np.take_along_axis(dots, best, axis=1)
    return finish(search, part, ids, dots)


def _shortlist_weights(search: Prepared, ids: Int64[np.ndarray, "q s"], stage: int) -> Float[np.ndarray, "q s"]:
    norms = search.gallery_norms[:, stage][ids]
    weights = inverse_lengths(norms) if search.metric == "cosine" else norms / 2
    return weights.astype(search.gallery.dtype, copy=False)


def add_ring_dots(
    scores: Float[np.ndarray, "q s"],
    query: Float[np.ndarray, "q r"],
    gallery: Float[np.ndarray, "n r"],
    shortlist: Int64[np.ndarray, "q s"],
) -> None:
    """The NumPy twin of ``_native.add_ring_dots``: scores[i, j] += ⟨query_i, gallery_{shortlist[i, j]}⟩.

    Args:
        scores: (q, s); query: (q, r); gallery: (n, r); shortlist: (q, s) gallery rows, none of them −1.
    """
    columns = max(1, min(scores.shape[1], _GATHERED_AT_ONCE // query.shape[1]))
    rows = max(1, _GATHERED_AT_ONCE // (columns * query.shape[1]))
    for top in range(0, len(scores), rows):
        for left in range(0, scores.shape[1], columns):
            at = (slice(top, top + rows), slice(left, left + columns))
            vectors = gallery[shortlist[at]]
            scores[at] += (vectors @ query[at[0], :, None])[..., 0]


def _add_native(
    scores: Float[np.ndarray, "q s"],
    query: Float[np.ndarray, "q r"],
    gallery: Float[np.ndarray, "n r"],
    shortlist: Int64[np.ndarray, "q s"],
) -> None:
    _native.add_ring_dots(scores, query, gallery, shortlist)


def _fits_native(x: np.ndarray) -> bool:
    """Whether the kernel can read x as it lies: other layouts would have to be copied at every call."""
    forward = x.strides[0] >= 0 and x.strides[0] % 4 == 0
    return x.dtype == np.float32 and x.strides[1] == 4 and forward and x.flags.aligned
