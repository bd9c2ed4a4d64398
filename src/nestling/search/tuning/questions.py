"""The queries of a tuning, given ones or gallery rows: their true neighbours, and how good a result is."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from nestling.errors import InputError, ShapeError
from nestling.metrics import average_precision_at_k
from nestling.search.engine import Engine, checked_queries
from nestling.search.exact import exact
from nestling.search.tuning.scratch import Gallery

_WORK = 1e12  # multiplications of an exact search that bound the number of queries
_FEWEST, _MOST = 500, 4000
_STANDING_IN = 1000
_CHUNK = 1 << 15
_MORE = 24  # places beside k in which float32 products must hold the true k
_TIE = 4e-6  # float32 dot products of equal rows, read by two kernels, differ by less


@dataclass(frozen=True, eq=False)
class Questions:
    """Queries and what a search of them should find.

    Attributes:
        x: (q, d).
        k: neighbours wanted.
        own: (q,) the gallery row that a query is, which its results leave out; None for real queries.
        rows: (q, k) the true neighbours, best first.
        worst: (q,) the score of the k-th, with which others may tie.
        slack: (q,) by how much rounding may change a score.
        labels: (q,) classes for mAP, or None for recall.
        gallery_labels: (rows,) the class of every gallery row; −1 for a dead one.
    """

    x: Float32[np.ndarray, "q d"]
    k: int
    own: Int64[np.ndarray, " q"] | None
    rows: Int64[np.ndarray, "q k"]
    worst: Float64[np.ndarray, " q"]
    slack: Float64[np.ndarray, " q"]
    labels: Int64[np.ndarray, " q"] | None = None
    gallery_labels: Int64[np.ndarray, " rows"] | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def asked(self) -> int:
        """How many hits a search must keep to have k beside the query itself."""
        return self.k + (self.own is not None)

    def part(self, chosen: np.ndarray) -> Questions:
        """Some of them."""
        names = ("x", "own", "rows", "worst", "slack", "labels")
        cut = {name: None if getattr(self, name) is None else getattr(self, name)[chosen] for name in names}
        return replace(self, **cut)

    def values(
        self, rows: Int64[np.ndarray, "q asked"], scores: np.ndarray, *, nearer: bool
    ) -> Float64[np.ndarray, " q"]:
        """How good results are, query by query: recall@k, of which ties with the k-th are part; or AP@k.

        Args:
            rows, scores: `asked` hits of each query, compared in full width.
            nearer: whether smaller scores are better.
        """
        rows, scores = self._without_own(rows, scores.astype(np.float64))
        if self.labels is not None and self.gallery_labels is not None:
            right = (self.gallery_labels[rows] == self.labels[:, None]) & (rows >= 0)
            return average_precision_at_k(right)
        with np.errstate(invalid="ignore"):  # NaN marks an empty place
            worst, slack = self.worst[:, None], self.slack[:, None]
            right = scores <= worst + slack if nearer else scores >= worst - slack
        return np.minimum(right.sum(axis=1), self.k) / self.k

    def exact_values(self) -> Float64[np.ndarray, " q"]:
        """The same of the true neighbours."""
        if self.labels is None or self.gallery_labels is None:
            return np.ones(len(self))
        return average_precision_at_k(self.gallery_labels[self.rows] == self.labels[:, None])

    def _without_own(self, rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.own is None:
            return rows, scores
        keep = all_but(rows, self.own)
        return rows[keep].reshape(-1, self.k), scores[keep].reshape(-1, self.k)


def all_but(rows: Int64[np.ndarray, "q s"], own: Int64[np.ndarray, " q"]) -> Bool[np.ndarray, "q s"]:
    """One place less in each row: that of its own number, or the last."""
    same = rows == own[:, None]
    same[~same.any(axis=1), -1] = True
    return ~same


def interval(values: Float64[np.ndarray, " q"], z: float = 1.96) -> tuple[float, float, float]:
    """The mean of numbers between 0 and 1, and Wilson's interval (95 %) with as many trials as explain their variance.

    A query's k places hang together: their number of independent trials is p (1 − p) / Var(mean), at least q.
    """
    q, p = len(values), float(values.mean())
    variance = float(values.var(ddof=1)) / q if q > 1 else 0.25
    trials = max(q, p * (1 - p) / variance) if variance > 0 else q
    z2 = z**2
    middle, half = p + z2 / (2 * trials), np.sqrt(z2 * (p * (1 - p) / trials + z2 / (4 * trials**2)))
    scale = 1 + z2 / trials
    return p, float(min((middle - half) / scale, p)), float(max((middle + half) / scale, p))


def taken(gallery: Gallery, queries: Any, k: int, seed: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The queries to use, their own rows (None for real ones), and which of the given ones they are.

    Raises:
        InputError, ShapeError: fewer than two queries, NaN, another width, or k out of range.
    """
    n, width = len(gallery.live), gallery.width
    if isinstance(k, bool) or not 1 <= k <= n - (queries is None):
        least = "at most the number of vectors" + (" less one" if queries is None else "")
        raise InputError.of("k", f"positive and {least}, {n - (queries is None)}", k)
    rng = np.random.default_rng(seed)
    most = int(np.clip(_WORK / (n * width), _FEWEST, _MOST))
    if queries is None:
        chosen = rng.permutation(n)[: min(most, _STANDING_IN)]
        return gallery.values(gallery.live[chosen]), gallery.live[chosen], chosen
    x = checked_queries(queries, width)
    if len(x) < 2:
        raise InputError.of("queries", "at least two, one to tune on and one to measure", len(x))
    if not np.isfinite(x).all():
        bad = int(np.argmin(np.isfinite(x).all(axis=1)))
        raise InputError.of("queries", "finite numbers", f"NaN, infinity or overflow in row {bad}")
    chosen = rng.permutation(len(x))[:most]
    return np.ascontiguousarray(x[chosen]), None, chosen


def classes(gallery: Gallery, labels: Any, query_labels: Any, given: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Labels of gallery (by row number) and queries as whole numbers.

    Args:
        given: how many queries there are; None when gallery rows stand in, whose labels are known.

    Raises:
        InputError, ShapeError: labels are missing, or not one for each.
    """
    if labels is None:
        raise InputError.of("labels", "given with metric='map', one for each vector", "None")
    if (query_labels is None) != (given is None):
        got = "None" if query_labels is None else "labels without queries"
        raise InputError.of("query_labels", "given with queries, and only with them", got)
    own, theirs = np.asarray(labels), np.asarray(labels if given is None else query_labels)
    for name, array, count in (("labels", own, len(gallery.live)), ("query_labels", theirs, given or len(theirs))):
        if array.shape != (count,):
            raise ShapeError.of(name, f"one for each of {count} vectors", f"shape {array.shape}")
    _, codes = np.unique(np.concatenate([own, theirs]), return_inverse=True)
    return gallery.spread(codes[: len(own)].astype(np.int64), -1), codes[len(own) :].astype(np.int64)


def true_neighbours(
    gallery: Gallery, engine: Engine, x: np.ndarray, own: np.ndarray | None, k: int, threads: int
) -> Questions:
    """The truth: by the engine's exact search, or by plain products where that reads too much. Both find the same.

    Args:
        engine: of the gallery's snapshot, better with an 8-bit sketch.
    """
    wanted = k + (own is not None)
    began = time.perf_counter()
    _bounded(engine, x[:16], wanted, threads)
    seconds = (time.perf_counter() - began) * len(x) / min(len(x), 16)
    rows, scores = _multiplied(gallery, x, wanted, seconds) or _bounded(engine, x, wanted, threads)
    unsure = np.flatnonzero(rows[:, 0] < 0)
    if len(unsure):
        rows[unsure], scores[unsure] = _bounded(engine, x[unsure], wanted, threads)
    if own is not None:
        keep = all_but(rows, own)
        rows, scores = rows[keep].reshape(-1, k), scores[keep].reshape(-1, k)
    return Questions(x, k, own, rows, scores[:, -1].astype(np.float64), _rounding(gallery, x, scores[:, -1], _TIE))


def _bounded(engine: Engine, x: np.ndarray, k: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    rows, scores, _ = engine.exact(x, k, guess=engine.resolved(None, k), threads=threads)
    return rows, scores


def _multiplied(gallery: Gallery, x: np.ndarray, k: int, limit: float) -> tuple[np.ndarray, np.ndarray] | None:
    """All products by BLAS; None if that would take longer than `limit` seconds. Row −1 where float32 cannot tell."""
    n, metric = len(gallery.live), gallery.snapshot.manifest.metric
    places = min(n, k + _MORE)
    ids = np.empty((len(x), 0), np.int64)
    values = np.empty((len(x), 0), np.float32)
    began = time.perf_counter()
    for start in range(0, n, _CHUNK):
        rows = gallery.live[start : start + _CHUNK]
        hits = exact(gallery.values(rows), x, min(places, len(rows)), metric=metric)
        ids = np.concatenate([ids, rows[hits.ids]], axis=1)
        values = np.concatenate([values, -hits.scores if metric == "l2" else hits.scores], axis=1)
        best = np.argsort(-values, axis=1, kind="stable")[:, :places]
        ids, values = np.take_along_axis(ids, best, axis=1), np.take_along_axis(values, best, axis=1)
        if (time.perf_counter() - began) * n > limit * min(n, start + _CHUNK) * 1.2:
            return None
    scores = precise(gallery, x, ids)
    order = np.lexsort((ids, scores if metric == "l2" else -scores), axis=1)[:, :k]
    last = np.take_along_axis(scores, order[:, -1:], axis=1)[:, 0] * (-1 if metric == "l2" else 1)
    found = np.take_along_axis(ids, order, axis=1)
    if places < n:
        error = 0.25 * np.finfo(np.float32).eps * np.sqrt(gallery.width)
        found[last <= values[:, -1] + 8 * _rounding(gallery, x, values[:, -1], error, spread=True)] = -1
    return found, np.take_along_axis(scores, order, axis=1).astype(np.float32)


def precise(gallery: Gallery, x: np.ndarray, rows: Int64[np.ndarray, "q s"]) -> Float64[np.ndarray, "q s"]:
    """Scores in float64."""
    metric = gallery.snapshot.manifest.metric
    scores = np.empty(rows.shape)
    for i, query in enumerate(x.astype(np.float64)):
        near = gallery.values(rows[i]).astype(np.float64)
        if metric == "l2":
            scores[i] = ((near - query) ** 2).sum(axis=1)
            continue
        scores[i] = near @ query
        if metric == "cosine":
            lengths = np.linalg.norm(near, axis=1) * np.linalg.norm(query)
            scores[i] = np.divide(scores[i], lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return scores


def _rounding(
    gallery: Gallery, x: np.ndarray, scores: np.ndarray, error: float, *, spread: bool = False
) -> Float64[np.ndarray, " q"]:
    """How far float32 scores lie from true ones; `spread` for distances from products, which cancel."""
    metric = gallery.snapshot.manifest.metric
    if metric == "cosine":
        return np.full(len(x), error)
    if metric == "l2" and not spread:
        return error * np.abs(scores.astype(np.float64))
    longest = max(float(segment.norms[-1].max()) for segment in gallery.segments) ** 0.5
    lengths = np.linalg.norm(x.astype(np.float64), axis=1)
    return error * ((lengths + longest) ** 2 if metric == "l2" else lengths * longest)
