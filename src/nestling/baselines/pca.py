"""Post-hoc compression by principal components: the centred sister of the SVD of features."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int64

from nestling.baselines.base import Baseline, check_dim, check_features, check_pair
from nestling.baselines.refitted import RefittedProbes
from nestling.principal import principal_directions


class PCA(Baseline):
    """(x − mean) · V_m, where V are the right singular vectors of the centred training features.

    predict is a linear probe on the first m components, fitted when a dim is first asked for.
    """

    name: ClassVar[str] = "PCA"

    def __init__(self) -> None:
        self._directions, self._mean = np.empty((0, 0)), np.empty(0)

    def fit(self, x: Float[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"]) -> PCA:
        """Find mean and directions in float64; keep the training set for the probes (no copy).

        Raises:
            ShapeError: not one label per sample.
        """
        check_pair(x, labels)
        check_features(x, x.shape[-1])
        self._mean = x.mean(axis=0, dtype=np.float64)
        self._directions = principal_directions(x, self._mean)
        self._probes = RefittedProbes(lambda dim: self.encode(x, dim), labels)
        return self

    def encode(self, x: Float[np.ndarray, "n d"], dim: int) -> Float32[np.ndarray, "n {dim}"]:
        """The first components, computed in float64."""
        check_features(x, len(self._directions))
        check_dim(dim, len(self._directions))
        return ((x.astype(np.float64) - self._mean) @ self._directions[:, :dim]).astype(np.float32)

    def predict(self, x: Float[np.ndarray, "n d"], dim: int) -> Int64[np.ndarray, " n"]:
        """The probe's classes; the first call of a dim fits it."""
        codes = self.encode(x, dim)  # says so when nothing was fitted
        return self._probes.predict(codes)
