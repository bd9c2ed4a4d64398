"""Linear rows: how a linear classifier does on a prefix, refitted (probe) or trained along (head)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Shaped

from nestling.errors import InputError, ShapeError
from nestling.evaluation.base import Classification, Vectors, check_labels, correct_rows
from nestling.evaluation.report import Row
from nestling.nesting import Nesting, prefix
from nestling.search.exact import prefix_norms

_BATCH, _PASSES, _FEWEST_STEPS = 1024, 20, 1500
_RATE, _WARM = 0.05, 0.1  # the peak, and the part of the steps that leads there
_FIRST, _SECOND, _TINY = 0.9, 0.99, 1e-8  # Adam's


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """A probe fitted on one prefix, and what it says of the test vectors.

    Attributes:
        dims: the width it was fitted on.
        predicted: (q,) labels.
        correct: (q,) whether they are the true ones: what a paired bootstrap compares.
    """

    dims: int
    predicted: Shaped[np.ndarray, " q"]
    correct: Bool[np.ndarray, " q"]

    def row(self, system: str = "nestling") -> Row:
        """Top-1 accuracy."""
        (row,) = correct_rows(self.correct[None, :], Nesting((self.dims,)), metric="probe_top1", system=system)
        return row


@dataclass(frozen=True, slots=True)
class Probe(Classification):
    """A `linear_probe` on every prefix.

    Attributes:
        strength: the inverse of the L2 penalty.
    """

    metric: ClassVar[str] = "probe_top1"
    strength: float = 1.0

    def predict(self, vectors: Vectors, *, seed: int) -> Shaped[np.ndarray, "K q"]:
        """K separate fits, because no fit contains another's."""
        v = vectors
        probes = probe_each(
            v.train, v.train_labels, v.test, v.test_labels, v.nesting, seed=seed, strength=self.strength
        )
        return np.stack([probe.predicted for probe in probes])


@dataclass(frozen=True, slots=True, eq=False)
class LogisticRegression:
    """A fitted probe: argmax of W (x − mean) / scale + b.

    Attributes:
        classes: (c,) the labels seen, sorted; weight: (c, m); bias: (c,).
        mean: (m,) of the training vectors; scale: the root mean square of what is left.
    """

    classes: Shaped[np.ndarray, " c"]
    weight: Float[np.ndarray, "c m"]
    bias: Float[np.ndarray, " c"]
    mean: Float[np.ndarray, " m"]
    scale: float

    def logits(self, x: Float[np.ndarray, "q m"]) -> Float[np.ndarray, "q c"]:
        """Scores of the classes."""
        return (x - self.mean) / self.mean.dtype.type(self.scale) @ self.weight.T + self.bias

    def predict(self, x: Float[np.ndarray, "q m"]) -> Shaped[np.ndarray, " q"]:
        """The label of the largest score."""
        return self.classes[self.logits(x).argmax(axis=1)]


def logistic_regression(
    x: Float[np.ndarray, "n m"],
    y: Shaped[np.ndarray, " n"],
    *,
    seed: int,
    strength: float = 1.0,
    steps: int | None = None,
) -> LogisticRegression:
    """Fit a multinomial logistic regression on centred vectors of mean square one.

    Minimises the mean cross-entropy + ‖W‖² / (2 · strength · n), as scikit-learn's LogisticRegression(C=strength) does,
    by Adam over seeded batches with a rate that falls to 0. With hundreds of classes that takes a twentieth of the
    time of L-BFGS, whose every step reads all n vectors.

    Args:
        x: float32 or float64; y: labels of at least two classes.
        seed: of the order of the vectors.
        strength: the inverse of the L2 penalty; to be chosen on validation data.
        steps: of Adam; when left out, 20 passes over the vectors and at least 1,500 steps.

    Raises:
        ShapeError, InputError: arrays that do not fit one another, hold NaN, or one class only.
    """
    _check_labelled("train", x, y)
    if not strength > 0:
        raise InputError.of("strength", "positive", strength)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise InputError.of("train_y", "labels of at least two classes", "one class")
    # One scale for all dims: a rotation of the vectors, an SVD for one, then changes nothing but Adam's path.
    mean = x.mean(axis=0, dtype=np.float64).astype(x.dtype)
    scale = float(np.sqrt(np.mean(np.square(x - mean), dtype=np.float64))) or 1.0
    scaled = (x - mean) / x.dtype.type(scale)
    weight, bias = _fitted(scaled, codes, len(classes), seed=seed, strength=strength, steps=steps)
    return LogisticRegression(classes, weight, bias, mean, scale)


def linear_probe(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    *,
    seed: int,
    strength: float = 1.0,
) -> LinearProbe:
    """Fit a `logistic_regression` and predict the test labels.

    Args:
        train_x: (n, m) float32 or float64; train_y: (n,) labels of at least two classes.
        test_x: (q, m); test_y: (q,).
        seed, strength: of the regression.

    Raises:
        ShapeError, InputError: arrays that do not fit one another, hold NaN, or one class only.
    """
    _check_labelled("train", train_x, train_y)
    _check_labelled("test", test_x, test_y)
    if train_x.shape[1] != test_x.shape[1]:
        raise ShapeError.of("train_x and test_x", "equally wide", f"widths {train_x.shape[1]} and {test_x.shape[1]}")
    predicted = logistic_regression(train_x, train_y, seed=seed, strength=strength).predict(test_x)
    return LinearProbe(train_x.shape[1], predicted, predicted == test_y)


def probe_each(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    nesting: Nesting,
    *,
    seed: int,
    strength: float = 1.0,
) -> list[LinearProbe]:
    """A probe for every prefix of the nesting: K separate fits, because no fit contains another's.

    Args:
        train_x: (n, d), d the nesting's width; the others as in `linear_probe`.

    Raises:
        ShapeError, InputError: as `linear_probe`.
    """
    nesting.check(train_x, "train_x")
    nesting.check(test_x, "test_x")
    return [
        linear_probe(prefix(train_x, m), train_y, prefix(test_x, m), test_y, seed=seed, strength=strength)
        for m in nesting
    ]


def top1_rows(predicted: np.ndarray, labels: np.ndarray, nesting: Nesting, *, system: str = "nestling") -> list[Row]:
    """Top-1 accuracy of a trained head at every prefix, from its predictions.

    Args:
        predicted: (K, q) labels, one line per prefix of the nesting.
        labels: (q,) true labels.

    Raises:
        ShapeError: the shapes do not fit.
    """
    if predicted.ndim != 2 or len(predicted) != len(nesting):
        raise ShapeError.of("predicted", f"of one line per prefix ({len(nesting)})", f"shape {predicted.shape}")
    check_labels("labels", labels, predicted.shape[1])
    return correct_rows(predicted == labels, nesting, metric="head_top1", system=system)


def _fitted(
    x: Float[np.ndarray, "n m"], codes: np.ndarray, classes: int, *, seed: int, strength: float, steps: int | None
) -> tuple[Float[np.ndarray, "c m"], Float[np.ndarray, " c"]]:
    """Weight and bias by Adam; the bias is the last column while they are found."""
    n, size = len(x), min(_BATCH, len(x))
    total = max(_FEWEST_STEPS, _PASSES * n // size) if steps is None else steps
    x = np.concatenate([x, np.ones((n, 1), x.dtype)], axis=1)
    weight, first, second = (np.zeros((classes, x.shape[1]), x.dtype) for _ in range(3))
    penalty = np.full(x.shape[1], 1 / (strength * n), x.dtype)
    penalty[-1] = 0
    rng, order, at = np.random.default_rng(seed), np.empty(0, np.int64), np.arange(size)
    for step in range(total):
        if len(order) < size:
            order = rng.permutation(n)
        rows, order = order[:size], order[size:]
        z = x[rows] @ weight.T
        np.exp(z - z.max(axis=1, keepdims=True), out=z)
        z /= z.sum(axis=1, keepdims=True)
        z[at, codes[rows]] -= 1
        gradient = z.T @ x[rows] / size + penalty * weight
        first += (1 - _FIRST) * (gradient - first)
        second += (1 - _SECOND) * (gradient * gradient - second)
        rate = _RATE * min((step + 1) / (_WARM * total), (total - step) / ((1 - _WARM) * total))
        corrected = second / (1 - _SECOND ** (step + 1))
        weight -= rate / (1 - _FIRST ** (step + 1)) * first / (np.sqrt(corrected) + _TINY)
    return weight[:, :-1], weight[:, -1]


def _check_labelled(name: str, x: np.ndarray, y: np.ndarray) -> None:
    if x.ndim != 2:
        raise ShapeError.of(f"{name}_x", "a matrix, one vector per row", f"shape {x.shape}")
    prefix_norms(x, x.shape[1:], param=f"{name}_x")  # finds NaN, infinity and other dtypes
    check_labels(f"{name}_y", y, len(x))
