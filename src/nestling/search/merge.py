"""Hits of several indexes (shards, or engines) as the hits of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, get_args

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from nestling.errors import InputError, ShapeError
from nestling.search.exact import Metric
from nestling.search.hits import Hits


def merge(hits: Sequence[Hits], k: int, metric: Metric = "cosine") -> Hits:
    """The k best of what several searches found for the same queries.

    Equals, for each query, sorting all (score, id) and keeping the first k; an id that several searches found, as the
    replicas of a shard do, is kept once, with its best score.

    Args:
        hits: one `Hits` (q, kₛ) per search; the kₛ may differ. All ids are numbers, or all are strings.
        k: places of the result, at least 1; where fewer were found the last stay empty.
        metric: what the scores are: larger is better for "cosine" and "ip", smaller for "l2".

    Returns:
        Hits (q, k), best first, equal scores by the smaller id (strings by their code points), empty places last.

    Raises:
        ShapeError: no hits, or of different numbers of queries.
        InputError: numbers mixed with strings, NaN as the score of an id, an unknown metric, or k below 1.
    """
    _check(hits, k, metric)
    ids = np.concatenate([part.ids for part in hits], axis=1)
    scores = np.concatenate([part.scores for part in hits], axis=1)
    missing = np.concatenate([part.missing for part in hits], axis=1)
    if np.isnan(scores[~missing]).any():
        raise InputError.of("scores", "free of NaN where there is an id", "NaN", "A NaN has no place in a ranking.")
    ranks = _ranks(ids, missing)
    order = np.lexsort((ranks, scores if metric == "l2" else -scores), axis=-1)
    missing = np.take_along_axis(missing, order, axis=1) | _repeated(np.take_along_axis(ranks, order, axis=1))
    first = np.argsort(missing, axis=1, kind="stable")[:, :k]
    order, missing = np.take_along_axis(order, first, axis=1), np.take_along_axis(missing, first, axis=1)
    return _filled(np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1), missing, k)


def _ranks(ids: Shaped[np.ndarray, "q s"], missing: Bool[np.ndarray, "q s"]) -> Int64[np.ndarray, "q s"]:
    """Numbers that are ordered and equal as the ids are: strings cannot be sorted beside None."""
    if ids.dtype == np.int64:
        return ids
    ranks: np.ndarray = np.full(ids.shape, -1, np.int64)
    ranks[~missing] = np.unique(ids[~missing], return_inverse=True)[1]
    return ranks


def _repeated(ranks: Int64[np.ndarray, "q s"]) -> Bool[np.ndarray, "q s"]:
    """Which places hold what an earlier place of their row holds."""
    order = np.argsort(ranks, axis=1, kind="stable")
    grouped = np.take_along_axis(ranks, order, axis=1)
    repeated = np.zeros(ranks.shape, bool)
    np.put_along_axis(repeated, order[:, 1:], grouped[:, 1:] == grouped[:, :-1], axis=1)
    return repeated


def _filled(
    ids: Shaped[np.ndarray, "q s"], scores: Shaped[np.ndarray, "q s"], missing: Bool[np.ndarray, "q s"], k: int
) -> Hits:
    """(q, k) hits from the first places of each, the empty ones marked."""
    nobody: Any = None if ids.dtype == object else -1
    all_ids: np.ndarray = np.full((len(ids), k), nobody, ids.dtype)
    all_scores: np.ndarray = np.full((len(ids), k), np.nan, np.float32)
    all_ids[:, : ids.shape[1]][~missing] = ids[~missing]
    all_scores[:, : ids.shape[1]][~missing] = scores[~missing]
    return Hits(all_ids, all_scores)


def _check(hits: Sequence[Hits], k: Any, metric: Metric) -> None:
    if metric not in get_args(Metric):
        raise InputError.of("metric", f"one of {', '.join(get_args(Metric))}", repr(metric))
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or int(cast(int, k)) < 1:
        raise InputError.of("k", "a positive whole number", repr(cast(object, k)))
    if len({len(part) for part in hits}) != 1:
        got = ", ".join(str(len(part)) for part in hits) or "no hits"
        raise ShapeError.of("hits", "of the same queries", f"numbers of queries {got}")
    if len({part.ids.dtype == object for part in hits}) != 1:
        raise InputError.of("ids", "all numbers or all strings", "both", "Merge indexes with ids of one kind.")
