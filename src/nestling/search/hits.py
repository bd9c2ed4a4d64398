"""What a search gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from nestling.errors import ShapeError


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The k best gallery items of each query, best first.

    Attributes:
        ids: (q, k) int64 gallery rows; −1 marks an empty place.
        scores: (q, k) float32; larger is better for cosine and inner product, the squared distance for L2;
            NaN in an empty place.

    Raises:
        ShapeError: not two matrices of equal shape.
    """

    ids: Int64[np.ndarray, "q k"]
    scores: Float32[np.ndarray, "q k"]

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or self.ids.shape != self.scores.shape:
            raise ShapeError.of(
                "ids and scores", "two (q, k) matrices", f"shapes {self.ids.shape} and {self.scores.shape}"
            )

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.ids)

    @property
    def k(self) -> int:
        """Places per query."""
        return self.ids.shape[1]
