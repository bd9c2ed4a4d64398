"""The interface of a baseline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from nestling.errors import InputError, ShapeError


class Baseline(ABC):
    """Learns from a training set, then embeds and classifies at any of its dims.

    ``x`` is whatever the baseline reads: features (n, d) of a plain model, or images (n, c, h, w).

    Attributes:
        name: what tables call it.
    """

    name: ClassVar[str]

    @abstractmethod
    def fit(self, x: Shaped[np.ndarray, "n ..."], labels: Int64[np.ndarray, " n"]) -> Baseline:
        """Learn from a training set.

        Raises:
            ShapeError: not one label per sample.
        """

    @abstractmethod
    def encode(self, x: Shaped[np.ndarray, "n ..."], dim: int) -> Float32[np.ndarray, "n {dim}"]:
        """Embeddings of width `dim`, not normalised.

        Raises:
            InputError: not fitted, or `dim` is out of range.
            ShapeError: x is not as wide as the training set.
        """

    @abstractmethod
    def predict(self, x: Shaped[np.ndarray, "n ..."], dim: int) -> Int64[np.ndarray, " n"]:
        """The class of each sample, by the classifier that belongs to this dim.

        Raises:
            InputError: not fitted, or `dim` is out of range.
            ShapeError: x is not as wide as the training set.
        """


def check_pair(x: np.ndarray, labels: np.ndarray) -> None:
    """Raise `ShapeError` unless there is one label per sample, and a sample at all."""
    if labels.shape != x.shape[:1] or not len(x):
        raise ShapeError.of("labels", f"one per sample ({len(x)}, at least one)", f"shape {labels.shape}")


def check_features(x: np.ndarray, width: int) -> None:
    """Raise unless x is (n, width) features; a width of 0 says that nothing was fitted yet."""
    if not width:
        raise InputError.of("the baseline", "fitted", "one that is not", "Call fit first.")
    if x.ndim != 2 or x.shape[1] != width:
        raise ShapeError.of("x", f"(n, {width}), as wide as the training set", f"shape {x.shape}")


def check_dim(dim: int, width: int) -> None:
    """Raise `InputError` unless 1 ≤ dim ≤ width."""
    if isinstance(dim, bool) or not isinstance(dim, int | np.integer) or not 1 <= dim <= width:
        raise InputError.of("dim", f"a whole number from 1 to {width}", repr(dim))
