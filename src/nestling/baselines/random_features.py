"""A random choice of a plain model's features (Kusupati et al. 2022, §4)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int64
from sklearn.linear_model import LogisticRegression

from nestling.baselines.base import Baseline, check_dim, check_features, check_pair

_ITERATIONS = 200
_INVERSE_PENALTY = 1.0


class RandomFeatures(Baseline):
    """The first m features of one seeded permutation, so that the choices are nested.

    predict is a logistic regression on those features, standardised, fitted when a dim is first asked for.

    Args:
        seed: of the permutation.
    """

    name: ClassVar[str] = "random features"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._order = np.empty(0, np.int64)
        self._probes: dict[int, LogisticRegression] = {}

    def fit(self, x: Float[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"]) -> RandomFeatures:
        """Draw the permutation, keep the training set for the probes (no copy).

        Raises:
            ShapeError: not one label per sample.
        """
        check_pair(x, labels)
        check_features(x, x.shape[-1])
        self._order = np.random.default_rng(self.seed).permutation(x.shape[1])
        self._train = (x, labels)
        self._probes = {}
        # lbfgs needs equal scales to converge in tens of steps instead of thousands.
        self._mean, self._std = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        self._std[self._std == 0] = 1.0
        return self

    def encode(self, x: Float[np.ndarray, "n d"], dim: int) -> Float32[np.ndarray, "n {dim}"]:
        """The chosen features as they are."""
        check_features(x, len(self._order))
        check_dim(dim, len(self._order))
        return np.ascontiguousarray(x[:, self._order[:dim]], np.float32)

    def predict(self, x: Float[np.ndarray, "n d"], dim: int) -> Int64[np.ndarray, " n"]:
        """The probe's classes; the first call of a dim fits it (seconds for 60,000 × 256)."""
        inputs = self._standardised(x, dim)
        if dim not in self._probes:
            train, labels = self._train
            probe = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_ITERATIONS, tol=1e-3)
            self._probes[dim] = probe.fit(self._standardised(train, dim), labels)
        return np.asarray(self._probes[dim].predict(inputs), np.int64)

    def _standardised(self, x: Float[np.ndarray, "n d"], dim: int) -> Float32[np.ndarray, "n {dim}"]:
        chosen = self._order[:dim]
        return ((self.encode(x, dim) - self._mean[chosen]) / self._std[chosen]).astype(np.float32)
