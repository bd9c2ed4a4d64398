"""The exact ten nearest by full-width cosine: found in float32, ranked in float64; and what a search got of them."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from benchmarks.searching.data import store

K = 10
_SPARE = 30  # candidates beyond K that float64 may put in another order
_TIE = 1e-6  # scores closer than float32 tells them apart are one rank


class Truth(NamedTuple):
    """ids (q, 10) by falling float64 score, scores (q, 10)."""

    ids: np.ndarray
    scores: np.ndarray


def truth(name: str, gallery: np.ndarray, queries: np.ndarray) -> Truth:
    """From the cache, or by one pass over the gallery."""
    ids = store.path(f"{name}-truth-ids")
    if not ids.exists():
        print(f"Exact search of {name}", file=sys.stderr)
        found = _exact(gallery, queries)
        store.write(f"{name}-truth-scores", found.scores.shape, [found.scores], "<f8")
        store.write(f"{name}-truth-ids", found.ids.shape, [found.ids], "<i8")
    return Truth(np.load(ids), np.load(store.path(f"{name}-truth-scores")))


def _exact(gallery: np.ndarray, queries: np.ndarray, rows: int = 16_384) -> Truth:
    count = min(K + _SPARE, len(gallery))
    queries = np.asarray(queries, np.float32)
    best = np.full((len(queries), count), -np.inf, np.float32)
    ids = np.full((len(queries), count), -1, np.int64)
    for start in range(0, len(gallery), rows):
        scores = queries @ np.asarray(gallery[start : start + rows], np.float32).T
        better, columns = _above(scores, best.min(1))
        both, both_ids = np.hstack([best, better]), np.hstack([ids, columns + start])
        order = np.argpartition(-both, count - 1, axis=1)[:, :count]
        best, ids = np.take_along_axis(both, order, 1), np.take_along_axis(both_ids, order, 1)
    scores = _scores64(gallery, queries, ids)
    order = np.lexsort((ids, -scores), axis=1)[:, :K]
    return Truth(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))


def _above(scores: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores (q, n) above each row's `least`, with their columns, pushed to the left; -inf fills up."""
    q, columns = np.nonzero(scores > least[:, None])
    counts = np.bincount(q, minlength=len(scores))
    place = np.arange(len(q)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.full((len(scores), counts.max()), -np.inf, np.float32)
    where = np.zeros(found.shape, np.int64)
    found[q, place], where[q, place] = scores[q, columns], columns
    return found, where


def _scores64(gallery: np.ndarray, queries: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """(q, k) cosines of the named rows, in float64; rows and queries need not be at length 1 exactly."""
    scores = np.empty(ids.shape)
    step = max(1, 2_000_000 // (ids.shape[1] * gallery.shape[1]))
    for at in range(0, len(ids), step):
        x = gallery[ids[at : at + step]].astype(np.float64)
        y = queries[at : at + step].astype(np.float64)
        lengths = np.einsum("qkd,qkd->qk", x, x) * np.einsum("qd,qd->q", y, y)[:, None]
        scores[at : at + step] = np.einsum("qkd,qd->qk", x, y) / np.sqrt(lengths)
    return scores


def recall(found: np.ndarray, gallery: np.ndarray, queries: np.ndarray, exact: Truth) -> np.ndarray:
    """(q,) share of the ten that `found` (q, ≤ 10) has; a row that ties with the tenth counts as well as it."""
    found = np.sort(np.asarray(found, np.int64)[:, :K], axis=1)
    found[:, 1:][found[:, 1:] == found[:, :-1]] = -1  # a row named twice counts once
    right = (found[:, :, None] == exact.ids[:, None, :]).any(2)
    q, place = np.nonzero(~right & (found >= 0))
    scores = _scores64(gallery, queries[q], found[q, place][:, None])[:, 0]
    right[q, place] = scores >= exact.scores[q, -1] - _TIE
    return right.sum(1) / exact.ids.shape[1]
