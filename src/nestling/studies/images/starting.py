"""Orthogonal maps of frozen features that put first what tells the classes apart.

They change no cosine and no inner product at full width; what a short prefix keeps is decided here, and the finishing
rotation goes on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Float32

Blocks = Callable[[], Iterator[Float32[np.ndarray, "b d"]]]
"""All features, some rows at a time, from their beginning at every call."""


def second_moment(blocks: Blocks) -> Float[np.ndarray, "d d"]:
    """Xᵀ X / n in float64, one block in memory."""
    count, found = 0, np.zeros((0, 0))
    for block in blocks():
        wide = block.astype(np.float64)
        found = wide.T @ wide + (found if count else 0.0)
        count += len(block)
    return found / max(count, 1)


def principal_start(moment: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """Rows are the eigenvectors of Xᵀ X, largest first: the uncentred principal directions."""
    _, vectors = np.linalg.eigh(moment)
    return _signed(vectors[:, ::-1].T)


def classifier_start(weight: Float[np.ndarray, "c d"], moment: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """Rows are first the right singular vectors of a classifier's weight, then principal directions of the rest.

    What is common to all classes changes no answer, so the mean of the weights is taken out.

    Args:
        weight: W of a classifier on all features; moment: as of `second_moment`.
    """
    centred = weight.astype(np.float64) - weight.astype(np.float64).mean(axis=0)
    _, values, right = np.linalg.svd(centred, full_matrices=False)
    first = right[values > values[0] * 1e-6]
    d = weight.shape[1]
    without = np.eye(d) - first.T @ first
    _, vectors = np.linalg.eigh(without @ moment @ without)
    rest = vectors[:, ::-1].T[: d - len(first)]
    rest = rest - (rest @ first.T) @ first
    # Eigenvectors of the null space are orthogonal to the first rows by rounding only: once more, exactly.
    q, r = np.linalg.qr(np.concatenate([first, rest]).T)
    return _signed((q * np.sign(np.diag(r))).T)


def _signed(rows: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """The sign of a direction is arbitrary: the largest number is positive, so that machines agree."""
    largest = np.abs(rows).argmax(axis=1)
    return rows * np.where(rows[np.arange(len(rows)), largest] < 0, -1.0, 1.0)[:, None]
