"""Principal directions: where linear compression begins, with the mean taken off (PCA) or not (SVD)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def principal_directions(
    x: Float[np.ndarray, "n d"], mean: Float[np.ndarray, " d"] | None = None
) -> Float[np.ndarray, "d d"]:
    """The right singular vectors of x − mean, largest singular value first, as columns in float64.

    Through the Gram matrix: n·d² + d³ operations and one block of x at a time.
    """
    gram = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), 8192):
        block = x[start : start + 8192].astype(np.float64)
        block = block if mean is None else block - mean
        gram += block.T @ block
    return directions_of(gram)


def directions_of(gram: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """The same from the Gram matrix Σ x xᵀ."""
    _, vectors = np.linalg.eigh(gram)
    vectors = vectors[:, ::-1]
    # The sign of a singular vector is arbitrary: fix it, so that machines agree.
    largest = np.abs(vectors).argmax(axis=0)
    return vectors * np.where(vectors[largest, np.arange(len(largest))] < 0, -1.0, 1.0)
