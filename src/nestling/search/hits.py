"""What a search gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Shaped

from nestling.errors import InputError, ShapeError


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The k best gallery items of each query, best first.

    Attributes:
        ids: (q, k) int64 gallery rows or ids, −1 in an empty place; or an object array of str, None in one.
        scores: (q, k) float32; larger is better for cosine and inner product, the squared distance for L2;
            NaN in an empty place.

    Raises:
        ShapeError: not two matrices of equal shape.
        InputError: ids of another kind.
    """

    ids: Shaped[np.ndarray, "q k"]
    scores: Float32[np.ndarray, "q k"]

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or self.ids.shape != self.scores.shape:
            raise ShapeError.of(
                "ids and scores", "two (q, k) matrices", f"shapes {self.ids.shape} and {self.scores.shape}"
            )
        if self.ids.dtype not in (np.dtype(np.int64), np.dtype(object)):
            raise InputError.of("ids", "int64, or strings in an object array", f"dtype {self.ids.dtype}")

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.ids)

    @property
    def k(self) -> int:
        """Places per query."""
        return self.ids.shape[1]

    @property
    def missing(self) -> Bool[np.ndarray, "q k"]:
        """Which places are empty."""
        empty: Any = None if self.ids.dtype == object else -1
        return np.asarray(self.ids == empty, bool)
