"""What comes in from outside: scikit-learn's checks for small things, ours for arrays that must not be copied."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from nestling.adaptor.settings import Told
from nestling.errors import InputError, NestingError, ShapeError
from nestling.nesting import Nesting

_FLOATS = tuple(map(np.dtype, ("float16", "float32", "float64")))
_ROWS_AT_ONCE = 8_192
_LEAST_ROWS = 2


def checked_vectors(estimator: BaseEstimator, x: Any, *, reset: bool, param: str = "X") -> np.ndarray:
    """(n, d) floating numbers: a floating array as it is, mapped or not, anything else as scikit-learn makes of it.

    Whether they are finite is seen by who reads them all: such a pass over a mapped file costs minutes.

    Args:
        reset: remember the width, else compare with it.

    Raises:
        InputError: no such vectors, or in `fit` fewer than two.
    """
    validate: Any = validate_data  # its X is annotated as the text that is its default
    plain = isinstance(x, np.ndarray) and x.ndim == 2 and x.dtype in _FLOATS and x.shape[1] > 0
    least = _LEAST_ROWS if reset else 1
    try:
        if plain and len(x) >= least:
            return np.asarray(validate(estimator, x, reset=reset, skip_check_array=True))
        found = validate(estimator, x, reset=reset, dtype=[np.float64, np.float32], ensure_min_samples=least)
    except ValueError as error:
        raise InputError(f"{param} cannot be used: {_first_line(error)}") from error
    return np.asarray(found)


def checked_labels(y: Any, n: int) -> Int64[np.ndarray, " n"]:
    """Classes 0 … c−1 of (n,) labels of any kind.

    Raises:
        InputError: not one per row, numbers that are no classes, or a single class.
    """
    try:
        flat = column_or_1d(y, warn=True)
        if flat.dtype.kind == "f" and not np.isfinite(flat).all():
            raise ValueError("Input y contains NaN or infinity (inf).")
        if flat.dtype.kind == "c":
            raise ValueError("Complex data not supported")
        check_classification_targets(flat)
    except ValueError as error:
        raise InputError(f"y cannot be used: {_first_line(error)}") from error
    if len(flat) != n:
        raise ShapeError.of("y", f"one label per row ({n})", len(flat), "Give as many labels as vectors.")
    classes, codes = np.unique(flat, return_inverse=True)
    if len(classes) < 2:
        raise InputError.of("y", "of at least two classes", f"one class, {classes[0]!r}", "Leave the labels out.")
    return codes.astype(np.int64)


def checked_pairs(estimator: BaseEstimator, a: Any, b: Any, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both sides, equally long and wide.

    Raises:
        InputError, ShapeError: no vectors, or sides that do not fit.
    """
    first = checked_vectors(estimator, a, reset=reset, param="A")
    second = checked_vectors(estimator, b, reset=False, param="B")
    if len(first) != len(second):
        raise ShapeError.of(
            "A and B",
            "equally long, row i of one belonging to row i of the other",
            f"{len(first)} and {len(second)} rows",
            "Give one row of B for each of A.",
        )
    return first, second


def checked_nesting(given: Any, width: int) -> Nesting:
    """The nesting of a parameter: None doubles from 8 to the width, else a `Nesting`, its text, or dims.

    Raises:
        NestingError: no nesting, or wider than the data.
    """
    if given is None:
        return Nesting.doubling(width, smallest=min(8, width))
    if isinstance(given, Nesting):
        found = given
    else:
        found = Nesting.parse(given) if isinstance(given, str) else Nesting(tuple(given))
    if found.width > width:
        raise NestingError.of("nesting", f"at most as wide as the data ({width})", found, "Leave the wider dims out.")
    return found


def checked_gram(*sides: np.ndarray, told: Told) -> Float64[np.ndarray, "d d"]:
    """Σ x xᵀ over all rows of all sides, in float64, and in the same pass whether they can be learnt from.

    Raises:
        InputError: NaN or infinity, numbers whose squares overflow, or rows that are all equal.

    Warns:
        UserWarning: some columns are constant, which teaches nothing.
    """
    width = sides[0].shape[1]
    gram = np.zeros((width, width))
    done = 0
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    for side, param in zip(sides, ("X",) if len(sides) == 1 else ("A", "B"), strict=True):
        for start in range(0, len(side), _ROWS_AT_ONCE):
            block = _finite(side[start : start + _ROWS_AT_ONCE], start, param)
            with np.errstate(over="ignore", invalid="ignore"):  # told below
                gram += block.T @ block
            np.minimum(low, block.min(axis=0), out=low)
            np.maximum(high, block.max(axis=0), out=high)
            done += len(block)
            told(done, sum(map(len, sides)), "rows looked at")
    constant = int((low == high).sum())
    if constant == width:
        raise InputError.of("X", "more than one vector repeated", "equal rows", "There is nothing to learn from them.")
    if not np.isfinite(gram).all():
        raise InputError.of("X", "small enough to be squared", "an overflow", "Scale the vectors down.")
    if constant:
        warnings.warn(f"{constant} of {width} columns are constant and say nothing; they are kept.", stacklevel=4)
    return gram


def _finite(block: np.ndarray, start: int, param: str) -> Float[np.ndarray, "b d"]:
    wide = block.astype(np.float64)
    good = np.isfinite(wide).all(axis=1)
    if not good.all():
        row = start + int(np.argmin(good))
        raise InputError.of(param, "finite", f"NaN or infinity (inf) in row {row}", "Leave such rows out.")
    return wide


def _first_line(error: Exception) -> str:
    """What is wrong and, where scikit-learn says it, what to do; without the numbers that it shows between."""
    first, *rest = str(error).strip().splitlines()
    return " ".join([first.rstrip(".:") + ".", *(line for line in rest if line.startswith("Reshape"))])
