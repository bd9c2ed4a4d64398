"""Principal directions against NumPy's own SVD."""

from __future__ import annotations

import numpy as np
import pytest

from nestling.principal import principal_directions


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("n", [3, 40])
def test_directions_are_the_right_singular_vectors(centred: bool, n: int) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(n, 6)) * (6, 5, 4, 3, 2, 1) + 2).astype(np.float32)
    mean = x.mean(axis=0, dtype=np.float64) if centred else None
    found = principal_directions(x, mean)
    rows = x.astype(np.float64) - (0 if mean is None else mean)
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    kept = min(len(left) - centred, 6)
    np.testing.assert_allclose(np.abs(found[:, :kept]), np.abs(right[:kept].T), atol=1e-6)
    np.testing.assert_allclose(found.T @ found, np.eye(6), atol=1e-12)
    largest = np.abs(found).argmax(axis=0)
    assert (found[largest, np.arange(6)] > 0).all()  # the sign is settled
