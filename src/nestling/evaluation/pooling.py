"""The answers of several prefixes made one: a weighted sum of their log-probabilities (a logarithmic opinion pool).

A prefix that is asked has heard those before it, which cost nothing more. What each of them counts is found by maximum
likelihood; a prefix alone is so given its temperature, the inverse of its weight (Guo et al. 2017).
"""

# scipy ships no types; its objects are Any here.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from nestling.errors import InputError, ShapeError

Weights = tuple[tuple[float, ...], ...]
"""For each prefix what itself and those before it count, the smallest first: k + 1 numbers for place k."""

_OWN, _MOST = 0.05, 20.0  # what a prefix counts at least, and anything at most
_ITEMS = 5000  # of more, as many at even distances: there are no more than k + 1 numbers to find


def own_answers(k: int) -> Weights:
    """Weights by which each of k prefixes answers alone, as in the paper."""
    return tuple((0.0,) * i + (1.0,) for i in range(k))


def checked_weights(weights: Sequence[Sequence[float]], k: int) -> Weights:
    """The weights as tuples.

    Raises:
        ShapeError: not one list for each of k prefixes, each one longer than the one before.
        InputError: a weight is negative or not finite, or a prefix's own is zero.
    """
    sizes = [len(line) for line in weights]
    if sizes != list(range(1, k + 1)):
        raise ShapeError.of("weights", f"{k} lists of 1 to {k} numbers, as {k} prefixes need", f"sizes {sizes}")
    found = tuple(tuple(float(w) for w in line) for line in weights)
    if any(not 0 <= w < np.inf for line in found for w in line) or any(line[-1] == 0 for line in found):
        raise InputError.of("weights", "finite and at least 0, the last of each list above 0", found)
    return found


def fitted_weights(logits: Sequence[np.ndarray], labels: np.ndarray) -> Weights:
    """The weights of largest likelihood: for each prefix k the w minimising the mean of -log p(label), p the softmax of
    Σ_{j ≤ k} w_j log softmax(z_j), with ½ |w - own answer|² / n added, for what few items cannot tell.

    The problem is convex: the answer does not depend on where the search begins.

    Args:
        logits: (n, c) of each prefix, smallest first, finite.
        labels: (n,).

    Raises:
        ShapeError: not one label for each row, or logits of several shapes.
    """
    n, _ = shape_of(logits)
    if labels.shape != (n,):
        raise ShapeError.of("labels", f"one for each of {n} rows", f"shape {labels.shape}")
    rows = np.linspace(0, n - 1, min(n, _ITEMS)).round().astype(np.int64)
    logs = [log_softmax(np.asarray(z, np.float64)[rows]) for z in logits]
    return tuple(_fitted(logs[: k + 1], labels[rows]) for k in range(len(logits)))


def pooled(logits: Sequence[np.ndarray], weights: Weights) -> list[Float64[np.ndarray, "n c"]]:
    """What each prefix says after it has heard those before it: Σ_{j ≤ k} w_kj log softmax(z_j), (n, c) each."""
    logs = [log_softmax(np.asarray(z, np.float64)) for z in logits]
    return [_sum(logs[: len(line)], line) for line in weights]


def log_softmax(z: Float64[np.ndarray, "n c"]) -> Float64[np.ndarray, "n c"]:
    """Of each row."""
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def shape_of(logits: Sequence[np.ndarray]) -> tuple[int, int]:
    """(n, c) of all.

    Raises:
        ShapeError: they are not of one shape.
    """
    shapes = {np.shape(z) for z in logits}
    if len(shapes) != 1:
        raise ShapeError.of("logits", "of one shape for all prefixes", ", ".join(map(str, sorted(shapes))))
    n, c = next(iter(shapes))
    return n, c


def _fitted(logs: Sequence[Float64[np.ndarray, "n c"]], labels: np.ndarray) -> tuple[float, ...]:
    from scipy import optimize

    at, own = np.arange(len(labels)), np.eye(len(logs))[-1]
    of_labels = np.array([log[at, labels].mean() for log in logs])

    def loss(w: Float64[np.ndarray, " k"]) -> tuple[float, Float64[np.ndarray, " k"]]:
        z = _sum(logs, w.tolist())
        top = z.max(axis=1, keepdims=True)
        p = np.exp(z - top)
        sums = p.sum(axis=1, keepdims=True)
        p /= sums
        value = float((np.log(sums) + top).mean() - w @ of_labels)
        slope = np.array([float((p * log).sum()) for log in logs]) / len(labels) - of_labels
        apart = w - own
        return value + float(apart @ apart) / (2 * len(labels)), slope + apart / len(labels)

    minimize: Any = optimize.minimize
    bounds = [(0.0, _MOST)] * (len(logs) - 1) + [(_OWN, _MOST)]
    found: Any = minimize(loss, own, jac=True, method="L-BFGS-B", bounds=bounds)
    return tuple(float(w) for w in found.x)


def _sum(logs: Sequence[np.ndarray], weights: Sequence[float]) -> Float64[np.ndarray, "n c"]:
    total = np.zeros_like(logs[0])
    for log, weight in zip(logs, weights, strict=True):
        if weight:
            total += weight * log
    return total
