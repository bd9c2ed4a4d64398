"""A linear probe for each dim of a baseline, fitted when a dim is first asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int64

from nestling.evaluation import LogisticRegression, logistic_regression


class RefittedProbes:
    """Classifiers on a baseline's training vectors.

    Args:
        vectors: dim → the training set's embeddings (n, dim).
        labels: of the training set.
    """

    def __init__(self, vectors: Callable[[int], np.ndarray], labels: Int64[np.ndarray, " n"]) -> None:
        self.vectors, self.labels = vectors, labels
        self._fitted: dict[int, LogisticRegression] = {}

    def predict(self, x: Float[np.ndarray, "q m"]) -> Int64[np.ndarray, " q"]:
        """The classes; the first call of a width fits its probe."""
        dim = x.shape[1]
        if dim not in self._fitted:
            self._fitted[dim] = logistic_regression(self.vectors(dim), self.labels, seed=0)
        return np.asarray(self._fitted[dim].predict(x), np.int64)
