"""Post-hoc compression by a truncated SVD (Kusupati et al. 2022, §4)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int64

from nestling.baselines.base import Baseline, check_dim, check_features, check_pair
from nestling.errors import InputError, ShapeError
from nestling.principal import principal_directions


class SVD(Baseline):
    """Features projected on their first right singular vectors; the classifier cut to rank m.

    encode: x · V_m, where X = U Σ Vᵀ is the uncentred SVD of the training features. predict: argmax x ·
    W_mᵀ + b, where W_m is the best rank-m approximation of the plain model's W (c, d); the bias stays,
    nothing is refitted.

    Args:
        weight: W (c, d) of the plain model's classifier; only `predict` needs it.
        bias: b (c,), zeros when left out.

    Raises:
        ShapeError: weight and bias do not fit together.
    """

    name: ClassVar[str] = "SVD"

    def __init__(
        self, weight: Float[np.ndarray, "c d"] | None = None, bias: Float[np.ndarray, " c"] | None = None
    ) -> None:
        if bias is not None and (weight is None or bias.shape != weight.shape[:1]):
            raise ShapeError.of("bias", "one number per row of weight", f"shape {bias.shape}")
        self.weight, self.bias = weight, bias
        self._directions = np.empty((0, 0))

    def fit(self, x: Float[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"]) -> SVD:
        """Find the right singular vectors through the d × d Gram matrix; the labels are not used.

        In float64: the Gram matrix squares the condition number.

        Raises:
            ShapeError: not one label per sample, or x is not as wide as `weight`.
        """
        check_pair(x, labels)
        check_features(x, x.shape[-1] if self.weight is None else self.weight.shape[1])
        self._directions = principal_directions(x)
        return self

    def encode(self, x: Float[np.ndarray, "n d"], dim: int) -> Float32[np.ndarray, "n {dim}"]:
        """x · V_m, computed in float64."""
        check_features(x, len(self._directions))
        check_dim(dim, len(self._directions))
        return (x.astype(np.float64) @ self._directions[:, :dim]).astype(np.float32)

    def predict(self, x: Float[np.ndarray, "n d"], dim: int) -> Int64[np.ndarray, " n"]:
        """argmax of the logits of the rank-m classifier; from rank min(c, d) on it is the plain one.

        Raises:
            InputError: built without `weight`, not fitted, or `dim` is out of range.
        """
        check_features(x, len(self._directions))
        check_dim(dim, len(self._directions))
        if self.weight is None:
            raise InputError.of("weight", "given to predict", "none", "Build SVD(weight, bias) of the plain model.")
        left, values, right = np.linalg.svd(self.weight.astype(np.float64), full_matrices=False)
        # First down to rank m, then up to c: never a (c, d) product.
        logits = (x.astype(np.float64) @ right[:dim].T) @ (left[:, :dim] * values[:dim]).T
        return (logits if self.bias is None else logits + self.bias).argmax(axis=1)
