"""How good a ranking or a prediction is: NumPy, float64 sums, one number per query wherever that makes sense.

Conventions: `relevant` holds one row per query and one column per place of the ranking, and a missing hit is
False.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64, Int64

from nestling.errors import InputError, ShapeError

_DRAWN_AT_ONCE = 4_000_000  # resampled numbers held at one time: 64 MB of indices and values


def top1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """The share of predictions that equal their label.

    Args:
        predicted: (q,) predicted labels.
        labels: (q,) true labels.

    Raises:
        ShapeError: not two one-dimensional arrays of equal length, at least one long.
    """
    _check_pair("predicted", predicted, "labels", labels)
    return float(np.mean(predicted == labels, dtype=np.float64))


def precision_at_k(relevant: np.ndarray) -> Float64[np.ndarray, " q"]:
    """The share of the k places that hold a relevant item, per query.

    Args:
        relevant: (q, k) bool, best place first.

    Raises:
        ShapeError, InputError: not a two-dimensional array of bool with at least one query and one place.
    """
    return _checked_relevant(relevant).mean(axis=1, dtype=np.float64)


def average_precision_at_k(relevant: np.ndarray) -> Float64[np.ndarray, " q"]:
    """Σ_{i≤k} P@i·rel_i / k per query, as the paper's authors compute it (k below, never min(k, R); §4.3).

    Args:
        relevant: (q, k) bool, best place first.

    Raises:
        ShapeError, InputError: not a two-dimensional array of bool with at least one query and one place.
    """
    relevant = _checked_relevant(relevant)
    places = np.arange(1, relevant.shape[1] + 1, dtype=np.float64)
    found = np.cumsum(relevant, axis=1, dtype=np.float64)
    return (found * relevant / places).mean(axis=1)


def mean_average_precision(relevant: np.ndarray) -> float:
    """mAP@k: the mean of `average_precision_at_k` over the queries (paper §4.3).

    Args:
        relevant: (q, k) bool, best place first.

    Raises:
        ShapeError, InputError: not a two-dimensional array of bool with at least one query and one place.
    """
    return float(average_precision_at_k(relevant).mean())


def recall_at_k(relevant: np.ndarray, totals: np.ndarray) -> Float64[np.ndarray, " q"]:
    """The share of a query's relevant items that the k places hold; NaN for a query that has none.

    Args:
        relevant: (q, k) bool.
        totals: (q,) whole numbers, how many relevant items the gallery holds for each query.

    Raises:
        ShapeError, InputError: the shapes do not fit, or more items were found than there are.
    """
    found = _checked_relevant(relevant).sum(axis=1)
    if totals.shape != found.shape:
        raise ShapeError.of("totals", f"one per query, shape {found.shape}", f"shape {totals.shape}")
    if not np.issubdtype(totals.dtype, np.integer) or (totals < found).any():
        raise InputError.of("totals", "whole numbers no smaller than what was found", f"dtype {totals.dtype}")
    return np.where(totals > 0, found / np.maximum(totals, 1), np.nan)


def ndcg_at_k(relevant: np.ndarray, totals: np.ndarray) -> Float64[np.ndarray, " q"]:
    """Σ_{i≤k} rel_i / log₂(i + 1), over what the best ranking would have; NaN for a query with nothing to find.

    Args:
        relevant: (q, k) bool, best place first.
        totals: (q,) whole numbers, how many relevant items the gallery holds for each query.

    Raises:
        ShapeError, InputError: the shapes do not fit, or more items were found than there are.
    """
    recall_at_k(relevant, totals)  # says so where they do not fit
    gains = 1 / np.log2(np.arange(2, relevant.shape[1] + 2, dtype=np.float64))
    best = np.concatenate([[0.0], np.cumsum(gains)])[np.minimum(totals, relevant.shape[1])]
    return np.where(totals > 0, relevant @ gains / np.where(best > 0, best, 1), np.nan)


def neighbor_recall(found_ids: np.ndarray, true_ids: np.ndarray) -> Float64[np.ndarray, " q"]:
    """The share of the true neighbours that were found, per query; −1 marks an empty place in either.

    Args:
        found_ids: (q, k) whole numbers, in any order.
        true_ids: (q, j) whole numbers without repetition; a query without any gives NaN.

    Raises:
        ShapeError: not two matrices with one row per query.
    """
    if found_ids.ndim != 2 or true_ids.ndim != 2 or len(found_ids) != len(true_ids):
        raise ShapeError.of(
            "found_ids and true_ids",
            "two matrices with one row per query",
            f"shapes {found_ids.shape} and {true_ids.shape}",
        )
    # One number per (query, id) turns q small set intersections into a single sorted one.
    ids, codes = np.unique(np.concatenate([found_ids, true_ids], axis=1), return_inverse=True)
    keys = codes.reshape(len(found_ids), -1) + len(ids) * np.arange(len(found_ids))[:, None]
    real = true_ids != -1
    hit = np.isin(keys[:, found_ids.shape[1] :], keys[:, : found_ids.shape[1]]) & real
    count = real.sum(axis=1)
    return np.where(count > 0, hit.sum(axis=1) / np.maximum(count, 1), np.nan)


def paired_bootstrap(
    a: np.ndarray,
    b: np.ndarray,
    *,
    draws: int = 1000,
    seed: int | np.random.Generator,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The interval of mean(a − b) when the queries are resampled: percentiles of `draws` resampled means.

    Args:
        a: (q,) a number per query (or bool) of one system.
        b: (q,) the same of the other, in the same order of queries.
        seed: a number or a generator; equal seeds give equal intervals.
        confidence: the share of the resampled means inside the interval.

    Raises:
        ShapeError, InputError: the arrays do not fit, hold NaN, or draws or confidence is out of range.
    """
    _check_pair("a", a, "b", b)
    if draws < 1:
        raise InputError.of("draws", "at least 1", draws, "1000 is usual.")
    if not 0 < confidence < 1:
        raise InputError.of("confidence", "between 0 and 1", confidence, "0.95 is usual.")
    difference = a.astype(np.float64) - b.astype(np.float64)
    if not np.isfinite(difference).all():
        raise InputError.of("a and b", "finite", "NaN or infinity", "Leave those queries out of both.")
    means = _resampled_means(difference, draws, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def grouped_bootstrap(
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray,
    *,
    draws: int = 1000,
    seed: int | np.random.Generator,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The interval of mean(a − b) when whole groups of queries, and whole trainings, are resampled.

    Queries of one group (icons of one designer, say) are right or wrong together, and so are the queries of one
    training: `paired_bootstrap`, which takes each for itself, gives intervals that are too narrow.

    Args:
        a: (s, q) a number per training and query of one system.
        b: (s, q) the same of the other; line i of both is compared.
        groups: (q,) whole numbers.
        draws, seed, confidence: as of `paired_bootstrap`.

    Raises:
        ShapeError, InputError: the arrays do not fit, hold NaN, or a number is out of range.
    """
    if a.ndim != 2 or a.shape != b.shape or groups.shape != a.shape[1:] or not a.size:
        raise ShapeError.of(
            "a, b and groups", "(s, q), (s, q) and (q,), not empty", f"{a.shape}, {b.shape} and {groups.shape}"
        )
    difference = a.astype(np.float64) - b.astype(np.float64)
    if not np.isfinite(difference).all():
        raise InputError.of("a and b", "finite", "NaN or infinity", "Leave those queries out of both.")
    _, codes = np.unique(groups, return_inverse=True)
    count = int(codes.max()) + 1
    sums = np.stack([np.bincount(codes, weights=line, minlength=count) for line in difference])
    sizes = np.bincount(codes, minlength=count)
    return summed_bootstrap(sums, sizes, draws=draws, seed=seed, confidence=confidence)


def summed_bootstrap(
    sums: Float64[np.ndarray, "s g"],
    sizes: Int64[np.ndarray, " g"],
    *,
    draws: int = 1000,
    seed: int | np.random.Generator,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """`grouped_bootstrap` of differences that are summed over each group already.

    Args:
        sums: (s, g) for each training and group the sum of the differences of its queries.
        sizes: (g,) how many queries each group has.
        draws, seed, confidence: as of `paired_bootstrap`.

    Raises:
        InputError: a number is out of range.
    """
    if draws < 1 or not 0 < confidence < 1:
        raise InputError.of("draws and confidence", "at least 1 and between 0 and 1", f"{draws} and {confidence}")
    rng, count = np.random.default_rng(seed), len(sizes)
    means = np.empty(draws)
    for draw in range(draws):
        chosen = np.bincount(rng.integers(count, size=count), minlength=count)
        trainings = rng.integers(len(sums), size=len(sums))
        means[draw] = (sums[trainings] @ chosen).sum() / (len(sums) * (sizes @ chosen))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resampled_means(
    values: Float64[np.ndarray, " q"], draws: int, rng: np.random.Generator
) -> Float64[np.ndarray, " draws"]:
    count = len(values)
    means = np.empty(draws)
    step = max(1, _DRAWN_AT_ONCE // count)
    for start, stop in pairwise([*range(0, draws, step), draws]):
        rows = rng.integers(count, size=(stop - start, count), dtype=np.int64)
        means[start:stop] = values[rows].mean(axis=1)
    return means


def _checked_relevant(relevant: np.ndarray) -> Bool[np.ndarray, "q k"]:
    if relevant.ndim != 2 or 0 in relevant.shape:
        raise ShapeError.of(
            "relevant",
            "a matrix with at least one query and one place",
            f"shape {relevant.shape}",
            "Give one row per query.",
        )
    if relevant.dtype != np.bool_:
        raise InputError.of(
            "relevant",
            "bool",
            f"dtype {relevant.dtype}",
            "Compare the labels: labels[ids] == wanted[:, None].",
        )
    return relevant


def _check_pair(name: str, first: np.ndarray, other: str, second: np.ndarray) -> None:
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ShapeError.of(
            f"{name} and {other}",
            "two lists of one value per query, equally long and not empty",
            f"shapes {first.shape} and {second.shape}",
        )
