"""A random choice of a plain model's features (Kusupati et al. 2022, §4)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int64

from nestling.baselines.base import Baseline, check_dim, check_features, check_pair
from nestling.baselines.refitted import RefittedProbes


class RandomFeatures(Baseline):
    """The first m features of one seeded permutation, so that the choices are nested.

    predict is a linear probe on those features, fitted when a dim is first asked for.

    Args:
        seed: of the permutation.
    """

    name: ClassVar[str] = "random features"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._order = np.empty(0, np.int64)

    def fit(self, x: Float[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"]) -> RandomFeatures:
        """Draw the permutation, keep the training set for the probes (no copy).

        Raises:
            ShapeError: not one label per sample.
        """
        check_pair(x, labels)
        check_features(x, x.shape[-1])
        self._order = np.random.default_rng(self.seed).permutation(x.shape[1])
        self._probes = RefittedProbes(lambda dim: self.encode(x, dim), labels)
        return self

    def encode(self, x: Float[np.ndarray, "n d"], dim: int) -> Float32[np.ndarray, "n {dim}"]:
        """The chosen features as they are."""
        check_features(x, len(self._order))
        check_dim(dim, len(self._order))
        return np.ascontiguousarray(x[:, self._order[:dim]], np.float32)

    def predict(self, x: Float[np.ndarray, "n d"], dim: int) -> Int64[np.ndarray, " n"]:
        """The probe's classes; the first call of a dim fits it."""
        codes = self.encode(x, dim)  # says so when nothing was fitted
        return self._probes.predict(codes)
