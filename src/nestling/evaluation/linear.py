"""Linear rows: how a linear classifier does on a prefix, refitted (probe) or trained along (head)."""

# scikit-learn ships no types; its objects are Any here.
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from nestling.errors import InputError, ShapeError
from nestling.evaluation.neighbors import check_labels, correct_rows
from nestling.evaluation.report import Row
from nestling.nesting import Nesting, prefix
from nestling.search.exact import prefix_norms


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """A probe fitted on one prefix, and what it says of the test vectors.

    Attributes:
        dims: the width it was fitted on.
        predicted: (q,) labels.
        correct: (q,) whether they are the true ones: what a paired bootstrap compares.
        converged: False when the solver stopped at its limit of steps; the accuracy is then a lower bound.
    """

    dims: int
    predicted: Shaped[np.ndarray, " q"]
    correct: Bool[np.ndarray, " q"]
    converged: bool

    def row(self, system: str = "nestling") -> Row:
        """Top-1 accuracy."""
        (row,) = correct_rows(self.correct[None, :], Nesting((self.dims,)), metric="probe_top1", system=system)
        return row


def linear_probe(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    *,
    seed: int,
    strength: float = 1.0,
    steps: int = 200,
) -> LinearProbe:
    """Fit a multinomial logistic regression on centred vectors of mean square one, and predict the test labels.

    Args:
        train_x: (n, m) float32 or float64; train_y: (n,) labels of at least two classes.
        test_x: (q, m); test_y: (q,).
        seed: of the solver, where it draws (L-BFGS, used here, does not).
        strength: scikit-learn's C, the inverse of the L2 penalty; to be chosen on validation data.
        steps: the most L-BFGS steps.

    Raises:
        ShapeError, InputError: arrays that do not fit one another, hold NaN, or one class only.
    """
    # Imported here: scikit-learn takes a second, and a search or a help text needs none of it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    _check_split(train_x, train_y, test_x, test_y)
    # One scale for all dims: a rotation of the vectors, an SVD for one, then changes nothing.
    mean = train_x.mean(axis=0, dtype=np.float64).astype(train_x.dtype)
    scale = np.sqrt(np.mean(np.square(train_x - mean), dtype=np.float64)).astype(train_x.dtype) or 1
    model: Any = LogisticRegression(C=strength, max_iter=steps, tol=1e-3, random_state=seed)
    # One thread: n × d by d × c is bound by memory, and threads that wait for one another can take minutes.
    with warnings.catch_warnings(), threadpool_limits(1, "blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by `converged` instead
        model.fit((train_x - mean) / scale, train_y)
        predicted = np.asarray(model.predict((test_x - mean) / scale))
    converged = bool(np.max(model.n_iter_) < steps)
    return LinearProbe(train_x.shape[1], predicted, predicted == test_y, converged)


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


def _check_split(train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> None:
    for name, x in (("train_x", train_x), ("test_x", test_x)):
        if x.ndim != 2:
            raise ShapeError.of(name, "a matrix, one vector per row", f"shape {x.shape}")
        prefix_norms(x, x.shape[1:], param=name)  # finds NaN, infinity and other dtypes
    if train_x.shape[1] != test_x.shape[1]:
        raise ShapeError.of("train_x and test_x", "equally wide", f"widths {train_x.shape[1]} and {test_x.shape[1]}")
    check_labels("train_y", train_y, len(train_x))
    check_labels("test_y", test_y, len(test_x))
    if len(np.unique(train_y)) < 2:
        raise InputError.of("train_y", "labels of at least two classes", "one class")
