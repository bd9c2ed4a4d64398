"""The k largest of each row, the same ones on every machine: of equal scores the smaller position wins."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64

from nestling.errors import InputError, ShapeError

_GROUP = 64  # columns that share a maximum in the first pass
_AT_ONCE = 1 << 22  # scores looked at in one go

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))  # what every search accepts


def topk(scores: np.ndarray, k: int) -> tuple[Int64[np.ndarray, "q k"], Float[np.ndarray, "q k"]]:
    """Positions and values of the k largest of each row, best first, ties by the smaller position.

    Equals ``np.lexsort((positions, -row))[:k]`` for each row.

    Args:
        scores: (q, w) float32 or float64 without NaN; −inf is allowed.
        k: 1 ≤ k ≤ w.

    Returns:
        positions (q, k) and their values (q, k), in the dtype of the scores.

    Raises:
        ShapeError, InputError: scores is no such matrix, holds NaN, or k is out of range.
    """
    if scores.ndim != 2 or scores.dtype not in FLOATS:
        raise ShapeError.of("scores", "a matrix of float32 or float64", f"shape {scores.shape}, dtype {scores.dtype}")
    if not 1 <= k <= scores.shape[1]:
        raise InputError.of("k", f"between 1 and the number of columns {scores.shape[1]}", k)
    ids = np.empty((len(scores), k), np.int64)
    step = max(1, _AT_ONCE // scores.shape[1])
    for start in range(0, len(scores), step):
        part = scores[start : start + step]
        if np.isnan(part.max(axis=1)).any():
            raise InputError.of("scores", "free of NaN", "NaN", "A NaN has no place in a ranking.")
        ids[start : start + step] = _ordered(part, select(part, k))
    return ids, np.take_along_axis(scores, ids, axis=1)


def select(scores: Float[np.ndarray, "q w"], k: int) -> Int64[np.ndarray, "q k"]:
    """Positions of the k largest of each row in *increasing position*: the inner half of `topk`, unchecked.

    One pass takes the maxima of groups of columns. The k-th largest maximum is a score that at least k
    columns reach, so only groups whose maximum reaches it can hold one of the k largest; usually those are
    k groups.
    """
    if scores.shape[1] < 4 * _GROUP * k:
        return _select_all(scores, k)
    groups = scores.shape[1] // _GROUP
    # Group j holds the columns j, j + groups, …: the maxima are then whole-row operations, ten times as fast
    # as maxima of neighbours.
    grouped = scores[:, : groups * _GROUP].reshape(len(scores), _GROUP, groups)
    maxima = grouped.max(axis=1)
    reach = _reach(maxima, k)
    clear = reach.sum(axis=1) == k  # else groups tie at the border, and the tie is for columns to settle
    ids = np.empty((len(scores), k), np.int64)
    if not clear.all():
        ids[~clear] = _select_all(scores[~clear], k)
        scores, reach = scores[clear], reach[clear]
    chosen = _true_columns(reach, k)
    tail = np.tile(np.arange(groups * _GROUP, scores.shape[1], dtype=np.int64), (len(scores), 1))
    members = chosen[:, None, :] + groups * np.arange(_GROUP)[None, :, None]
    columns = np.concatenate([members.reshape(len(scores), _GROUP * k), tail], axis=1)  # increasing in each row
    best = _select_all(np.take_along_axis(scores, columns, axis=1), k)
    ids[clear] = np.take_along_axis(columns, best, axis=1)
    return ids


def _select_all(scores: Float[np.ndarray, "q w"], k: int) -> Int64[np.ndarray, "q k"]:
    if k == scores.shape[1]:
        return np.tile(np.arange(k), (len(scores), 1))
    reach = _reach(scores, k)
    surplus = reach.sum(axis=1) - k
    for row in np.flatnonzero(surplus):
        border = np.flatnonzero(reach[row] & (scores[row] == scores[row][reach[row]].min()))
        reach[row, border[len(border) - surplus[row] :]] = False
    return _true_columns(reach, k)


def _reach(scores: Float[np.ndarray, "q w"], k: int) -> Bool[np.ndarray, "q w"]:
    """Which entries reach their row's k-th largest: k in each row, more where some equal it."""
    at = scores.shape[1] - k
    return scores >= np.partition(scores, at, axis=1)[:, at, None]


def _true_columns(mask: Bool[np.ndarray, "q w"], k: int) -> Int64[np.ndarray, "q k"]:
    """The columns of the k true entries of each row, increasing."""
    flat = np.flatnonzero(mask).reshape(len(mask), k)
    return flat - mask.shape[1] * np.arange(len(mask))[:, None]


def _ordered(scores: Float[np.ndarray, "q w"], ids: Int64[np.ndarray, "q k"]) -> Int64[np.ndarray, "q k"]:
    values = np.take_along_axis(scores, ids, axis=1)
    return np.take_along_axis(ids, np.argsort(-values, axis=1, kind="stable"), axis=1)
