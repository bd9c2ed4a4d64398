"""What an evaluation is: vectors with labels in, rows out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Shaped

from nestling.errors import InputError, ShapeError
from nestling.evaluation.report import Row
from nestling.nesting import Nesting
from nestling.search.exact import prefix_norms


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """What one system makes of a training set (the gallery) and a test set (the queries).

    Attributes:
        nesting: the prefixes to evaluate; the vectors are as wide as its largest.
        train, test: float32 or float64; train_labels, test_labels: one for each.

    Raises:
        ShapeError, InputError: arrays that do not fit one another or the nesting, or hold NaN or infinity; no test
            vector, or one class only.
    """

    nesting: Nesting
    train: Float[np.ndarray, "n d"]
    train_labels: Shaped[np.ndarray, " n"]
    test: Float[np.ndarray, "q d"]
    test_labels: Shaped[np.ndarray, " q"]

    def __post_init__(self) -> None:
        for name, x, labels in (
            ("train", self.train, self.train_labels),
            ("test", self.test, self.test_labels),
        ):
            if x.ndim != 2:
                raise ShapeError.of(name, "a matrix, one vector per row", f"shape {x.shape}")
            self.nesting.check(x, name)
            prefix_norms(x, x.shape[1:], param=name)  # finds NaN, infinity and other dtypes
            check_labels(f"{name}_labels", labels, len(x))
        if len(np.unique(self.train_labels)) < 2:
            raise InputError.of("train_labels", "labels of at least two classes", "one class")


class Evaluation(ABC):
    """Measures vectors at every prefix."""

    @abstractmethod
    def rows(self, vectors: Vectors, *, seed: int, system: str = "nestling") -> list[Row]:
        """The rows, of each metric one for every prefix, smallest first.

        Args:
            seed: of what is drawn; an evaluation that draws nothing does not depend on it.
            system: what rows call the vectors.
        """


class Classification(Evaluation):
    """An evaluation that predicts a class for each test vector, and counts the right ones.

    Attributes:
        metric: what rows call the share of right predictions.
    """

    metric: ClassVar[str]

    @abstractmethod
    def predict(self, vectors: Vectors, *, seed: int) -> Shaped[np.ndarray, "K q"]:
        """A label of each test vector, by each prefix."""

    def rows(self, vectors: Vectors, *, seed: int, system: str = "nestling") -> list[Row]:
        """Top-1 accuracy at every prefix."""
        right = self.predict(vectors, seed=seed) == vectors.test_labels
        return correct_rows(right, vectors.nesting, metric=self.metric, system=system)


def correct_rows(correct: Bool[np.ndarray, "K q"], nesting: Nesting, *, metric: str, system: str) -> list[Row]:
    """The mean of each prefix's correctness, one row per prefix."""
    return [
        Row(system=system, metric=metric, value=float(right.mean()), unit="fraction", n=right.size, dims=m)
        for m, right in zip(nesting, correct, strict=True)
    ]


def check_labels(param: str, labels: np.ndarray, count: int) -> None:
    """Raise `ShapeError` unless there is one label for each of `count` vectors, and at least one."""
    if labels.shape != (count,) or not count:
        raise ShapeError.of(param, f"one per vector, shape ({max(count, 1)},)", f"shape {labels.shape}")
