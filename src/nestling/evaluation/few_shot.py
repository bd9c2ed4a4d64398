"""Few-shot: the nearest class mean of a few examples, at every prefix (Kusupati et al. 2022, §4.4 and Appendix G)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from nestling.errors import InputError
from nestling.evaluation.base import Evaluation, Vectors
from nestling.evaluation.report import Row
from nestling.nesting import Nesting
from nestling.search.exact import inverse_lengths, prefix_norms


@dataclass(frozen=True, slots=True)
class FewShot(Evaluation):
    """Top-1 of the class whose mean of a few drawn examples is nearest by cosine.

    The mean is of the vectors as they are; each prefix compares it with its own norm. A class with fewer examples than
    asked for gives all it has. Intervals hold 95 % of the draws.

    Attributes:
        shots: examples of each class.
        draws: of the examples, for each number of shots.

    Raises:
        InputError: a number is not positive.
    """

    shots: tuple[int, ...] = (1, 3, 5, 10)
    draws: int = 100

    def __post_init__(self) -> None:
        if self.draws < 1 or not self.shots or min(self.shots) < 1:
            raise InputError.of("shots and draws", "positive", f"{list(self.shots)} and {self.draws}")

    def rows(self, vectors: Vectors, *, seed: int, system: str = "nestling") -> list[Row]:
        """``1shot_top1``, ``3shot_top1``, …; the mean of the draws with its interval."""
        v = vectors
        classes, codes = np.unique(v.train_labels, return_inverse=True)
        members = [np.flatnonzero(codes == c) for c in range(len(classes))]
        rows: list[Row] = []
        for count in self.shots:
            rng = np.random.default_rng((seed, count))
            values = np.empty((self.draws, len(v.nesting)))
            for draw in range(self.draws):
                means = np.stack([_drawn(m, count, rng, v.train) for m in members])
                values[draw] = (classes[_nearest(means, v.test, v.nesting)] == v.test_labels).mean(axis=1)
            rows += [
                Row(
                    system=system,
                    metric=f"{count}shot_top1",
                    value=float(of.mean()),
                    unit="fraction",
                    n=len(v.test),
                    dims=m,
                    interval=_interval(of),
                )
                for m, of in zip(v.nesting, values.T, strict=True)
            ]
        return rows


def _drawn(members: Int64[np.ndarray, " n"], count: int, rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    return x[rng.choice(members, min(count, len(members)), replace=False)].mean(axis=0)


def _nearest(means: np.ndarray, queries: np.ndarray, nesting: Nesting) -> Int64[np.ndarray, "K q"]:
    """The nearest mean at each prefix: s_k = s_{k-1} + ⟨q_ring, mean_ring⟩, by the mean's prefix norm."""
    inverse = inverse_lengths(prefix_norms(means, nesting.dims, param="means"))
    dots = np.zeros((len(queries), len(means)), np.result_type(means, queries))
    nearest = np.empty((len(nesting), len(queries)), np.int64)
    for level, ring in enumerate(nesting.rings()):
        dots += queries[:, ring] @ means[:, ring].T
        nearest[level] = (dots * inverse[:, level]).argmax(axis=1)
    return nearest


def _interval(values: Float64[np.ndarray, " draws"]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
