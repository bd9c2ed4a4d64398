"""Brute force in NumPy: the oracle of every other search, and the first stage of each.

Every search here begins with `prepare`, which is the one place where arguments are checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast, get_args

import numpy as np
from jaxtyping import Float, Int64

from nestling.errors import InputError, ShapeError
from nestling.nesting import prefix
from nestling.search.hits import Hits
from nestling.search.topk import FLOATS, select

Metric = Literal["cosine", "ip", "l2"]

# A block of scores: small enough for the caches of a CPU, large enough for BLAS. Measured on 10,000 × 60,000.
_QUERIES_AT_ONCE = 256
_SCORES_AT_ONCE = 1 << 22
_NORMS_AT_ONCE = 1 << 14


def exact(
    gallery: np.ndarray,
    queries: np.ndarray,
    k: int,
    *,
    m: int | None = None,
    metric: Metric = "cosine",
    norms: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
) -> Hits:
    """The k best gallery items of each query by their first m numbers, every item compared.

    Args:
        gallery: (n, d) float32 or float64; the dtype of the computation.
        queries: (q, d) float32 or float64.
        k: 1 ≤ k ≤ n, one fewer with `exclude`.
        m: the prefix; None for the full width.
        metric: "cosine" with the prefixes' own norms, "ip", or "l2" for the squared distance, computed as
            ‖x‖² + ‖q‖² − 2⟨x, q⟩: of vectors much longer than their distances, give float64.
        norms: (n,) or (n, 1) squared norms of the gallery's prefix from `prefix_norms`, which also says that
            the gallery is finite; None computes them.
        exclude: (q,) one gallery row per query to leave out (the query itself), −1 for none.

    Returns:
        Hits, best first, equal scores by the smaller id.

    Raises:
        ShapeError, InputError: arrays that do not fit one another, hold NaN or infinity, or k out of range.
    """
    stop = gallery.shape[-1] if m is None and gallery.ndim else m
    norms = norms[:, None] if norms is not None and norms.ndim == 1 else norms
    search = prepare(gallery, queries, (stop,), k, metric=metric, norms=norms, exclude=exclude)
    found = [finish(search, part, *scan(search, part, k)) for part in query_parts(search, k)]
    return join_hits(found, k)


def prefix_norms(x: np.ndarray, dims: Iterable[int], *, param: str = "x") -> Float[np.ndarray, "n K"]:
    """Squared norms of the prefixes as running sums over rings: n_k = n_{k-1} + ‖x_ring‖².

    Args:
        x: (n, d) float32 or float64.
        dims: K prefixes that never fall: a nesting, or a plan's dims.
        param: what to call x in an error.

    Returns:
        (n, K) in the dtype of x; each column lies contiguous in memory.

    Raises:
        ShapeError, InputError: x is no such matrix, or holds NaN, infinity or numbers whose squares overflow.
    """
    _check_vectors(param, x)
    rings = rings_of(dims, x.shape[1])
    norms = np.zeros((len(rings), len(x)), x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(x), _NORMS_AT_ONCE):
            part = x[start : start + _NORMS_AT_ONCE]
            for column, ring in enumerate(rings):
                norms[column, start : start + len(part)] = np.einsum("nr,nr->n", part[:, ring], part[:, ring])
        np.cumsum(norms, axis=0, out=norms)
    _check_finite(param, x, norms, rings[-1].stop)
    return norms.T


def rings_of(dims: Iterable[int], width: int) -> tuple[slice, ...]:
    """The new dims of each prefix; unlike in a nesting a prefix may come twice, and its second ring is empty.

    Raises:
        ShapeError: the dims fall, or do not lie between 1 and the width.
    """
    stops = tuple(dims)
    for before, after in pairwise((1, *stops)):
        if not before <= after <= width:
            raise ShapeError.of(
                "dims", f"never falling and between 1 and the data's width {width}", ",".join(map(str, stops))
            )
    if not stops:
        raise ShapeError.of("dims", "at least one number", "none")
    return tuple(slice(start, stop) for start, stop in pairwise((0, *stops)))


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The checked arguments of a search; `gallery_norms` and `query_norms` have one column per stage."""

    gallery: Float[np.ndarray, "n d"]
    queries: Float[np.ndarray, "q d"]
    rings: tuple[slice, ...]
    gallery_norms: Float[np.ndarray, "n K"]
    query_norms: Float[np.ndarray, "q K"]
    metric: Metric
    exclude: Int64[np.ndarray, " q"] | None


def prepare(
    gallery: np.ndarray,
    queries: np.ndarray,
    dims: Iterable[Any],
    k: int,
    *,
    metric: Metric,
    norms: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
) -> Prepared:
    """Check the arguments of any search, and compute the norms that were not given.

    Squared norms are computed for every metric, because they find NaN, infinity and overflow in one pass.

    Raises:
        ShapeError, InputError: as `exact` tells.
    """
    if metric not in get_args(Metric):
        raise InputError.of("metric", f"one of {', '.join(get_args(Metric))}", repr(metric))
    _check_vectors("gallery", gallery)
    _check_vectors("queries", queries)
    if gallery.shape[1] != queries.shape[1]:
        raise ShapeError.of("gallery and queries", "equally wide", f"widths {gallery.shape[1]} and {queries.shape[1]}")
    rings = rings_of(dims, gallery.shape[1])
    stops = [ring.stop for ring in rings]
    exclude = _checked_exclude(exclude, len(gallery), len(queries))
    _check_k(k, len(gallery) - (exclude is not None))
    with np.errstate(over="ignore"):  # a float64 query too large for a float32 gallery is told below
        queries = queries.astype(gallery.dtype, copy=False)
    query_norms = prefix_norms(queries, stops, param="queries")
    if norms is None:
        norms = prefix_norms(gallery, stops, param="gallery")
    else:
        _check_norms(norms, (len(gallery), len(stops)))
    return Prepared(gallery, queries, rings, norms, query_norms, metric, exclude)


def query_parts(search: Prepared, keep: int) -> Iterator[slice]:
    """Cut the queries so that a block of scores, and a shortlist of `keep` for each, stay within memory."""
    step = max(1, min(_QUERIES_AT_ONCE, _SCORES_AT_ONCE // keep))
    for start in range(0, len(search.queries), step):
        yield slice(start, min(start + step, len(search.queries)))


def scan(search: Prepared, part: slice, keep: int) -> tuple[Int64[np.ndarray, "q s"], Float[np.ndarray, "q s"]]:
    """Compare these queries with the whole gallery by the first prefix, and keep the best.

    Returns:
        ids (q, s), increasing in each row, and their dot products (q, s).
    """
    queries = search.queries[part, search.rings[0]]
    gallery = search.gallery[:, search.rings[0]]
    weights = rank_weights(search, 0)
    step = min(len(gallery), max(1, _SCORES_AT_ONCE // len(queries)))
    # Two blocks for the whole scan: memory fresh from the system costs more than the products written to it.
    buffer, ranks = np.empty((2, len(queries) * step), gallery.dtype)
    ids = np.empty((len(queries), 0), np.int64)
    dots = values = np.empty((len(queries), 0), gallery.dtype)
    for start in range(0, len(gallery), step):
        stop = min(start + step, len(gallery))
        shape, size = (len(queries), stop - start), len(queries) * (stop - start)
        block = np.matmul(queries, gallery[start:stop].T, out=buffer[:size].reshape(shape))
        ranked = rank(search.metric, block, weights[start:stop], out=ranks[:size].reshape(shape))
        exclude_rows(ranked, search.exclude, part, start)
        best = select(ranked, min(keep, stop - start))
        ids = np.concatenate([ids, best + start], axis=1)
        dots = np.concatenate([dots, np.take_along_axis(block, best, axis=1)], axis=1)
        values = np.concatenate([values, np.take_along_axis(ranked, best, axis=1)], axis=1)
        if ids.shape[1] > keep:
            best = select(values, keep)
            ids, dots, values = (np.take_along_axis(a, best, axis=1) for a in (ids, dots, values))
    return ids, dots


def rank_weights(search: Prepared, stage: int) -> Float[np.ndarray, " n"]:
    """What `rank` needs of each gallery item: 1/‖x‖ (0 for a zero prefix), ‖x‖²/2, or nothing."""
    norms = search.gallery_norms[:, stage]
    if search.metric == "cosine":
        return inverse_lengths(norms).astype(search.gallery.dtype, copy=False)
    return norms * search.gallery.dtype.type(0.5)


def inverse_lengths(norms: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """1/√norm, and 0 for a norm of 0: a prefix without length scores 0."""
    with np.errstate(divide="ignore"):
        inverse = 1 / np.sqrt(norms)
    inverse[norms == 0] = 0
    return inverse


def rank(
    metric: Metric,
    dots: Float[np.ndarray, "q s"],
    weights: Float[np.ndarray, "*s"],
    *,
    out: Float[np.ndarray, "q s"] | None = None,
) -> Float[np.ndarray, "q s"]:
    """A value that orders the items of one query as their score does, larger first: the query's own norm
    changes no order and is left out. Never in place, because the dot products go on to the next ring."""
    if metric == "cosine":
        return np.multiply(dots, weights, out=out)
    return np.subtract(dots, weights, out=out) if metric == "l2" else dots


def finish(search: Prepared, part: slice, ids: Int64[np.ndarray, "q s"], dots: Float[np.ndarray, "q s"]) -> Hits:
    """Scores from the whole running dot products, best first; ids come in increasing, so ties are by id."""
    lengths, own = search.gallery_norms[ids, -1], search.query_norms[part, -1, None]
    if search.metric == "cosine":
        scores = dots * inverse_lengths(lengths) * inverse_lengths(own)
    elif search.metric == "l2":
        scores = np.maximum(lengths + own - 2 * dots, 0)
    else:
        scores = dots
    scores = scores.astype(np.float32, copy=False)
    order = np.argsort(scores if search.metric == "l2" else -scores, axis=1, kind="stable")
    return Hits(np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1))


def join_hits(parts: list[Hits], k: int) -> Hits:
    """The hits of successive parts of the queries as one."""
    if len(parts) == 1:
        return parts[0]
    none = Hits(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
    return Hits(
        np.concatenate([none.ids, *(part.ids for part in parts)]),
        np.concatenate([none.scores, *(part.scores for part in parts)]),
    )


def exclude_rows(ranked: np.ndarray, exclude: np.ndarray | None, part: slice, start: int) -> None:
    """Put −inf, in place, where a block of scores from gallery row `start` on holds a row to leave out."""
    if exclude is None:
        return
    columns = exclude[part] - start
    rows = np.flatnonzero((columns >= 0) & (columns < ranked.shape[1]) & (exclude[part] >= 0))
    ranked[rows, columns[rows]] = -np.inf


def _check_vectors(param: str, x: np.ndarray) -> None:
    if x.ndim != 2 or x.shape[1] == 0:
        raise ShapeError.of(param, "a matrix, one vector per row", f"shape {x.shape}", "One vector is x[None, :].")
    if x.dtype not in FLOATS:
        raise InputError.of(
            param, "float32 or float64", f"dtype {x.dtype}", f"Convert it once: {param}.astype(np.float32)."
        )


def _check_finite(param: str, x: np.ndarray, norms: np.ndarray, stop: int) -> None:
    bad = np.flatnonzero(~np.isfinite(norms[-1]))
    if not len(bad):
        return
    row = int(bad[0])
    if np.isfinite(prefix(x[row], stop)).all():
        raise InputError.of(
            param,
            f"small enough to be squared in {x.dtype}",
            f"an overflow in row {row}",
            "Scale the vectors down.",
        )
    raise InputError.of(param, "finite", f"NaN or infinity in row {row}", "Leave such vectors out.")


def _check_norms(norms: np.ndarray, shape: tuple[int, int]) -> None:
    if norms.shape != shape:
        raise ShapeError.of(
            "norms", f"of shape {shape}, a column per stage", f"shape {norms.shape}", "Use prefix_norms."
        )
    if norms.dtype not in FLOATS:
        raise InputError.of("norms", "float32 or float64", f"dtype {norms.dtype}", "Use prefix_norms.")
    if norms.size and not (norms.min() >= 0 and norms.max() < np.inf):
        raise InputError.of("norms", "finite squares", "NaN, infinity or a negative number", "Use prefix_norms.")


def _checked_exclude(exclude: np.ndarray | None, n: int, q: int) -> np.ndarray | None:
    if exclude is None:
        return None
    if exclude.shape != (q,):
        raise ShapeError.of("exclude", f"one gallery row per query, shape ({q},)", f"shape {exclude.shape}")
    if not np.issubdtype(exclude.dtype, np.integer):
        raise InputError.of("exclude", "whole numbers", f"dtype {exclude.dtype}", "Give gallery rows.")
    if q and not (exclude.min() >= -1 and exclude.max() < n):
        raise InputError.of("exclude", f"gallery rows below {n}, or -1", f"{exclude.min()} … {exclude.max()}")
    return exclude.astype(np.int64)


def _check_k(k: Any, available: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or int(cast(int, k)) < 1:
        raise InputError.of("k", "a positive whole number", repr(cast(object, k)))
    if k > available:
        raise InputError.of("k", f"at most {available}, the items that can be found", k, "Ask for fewer neighbours.")
