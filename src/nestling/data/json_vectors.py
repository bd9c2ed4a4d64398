"""Vectors as JSON text, the form in which programs hand a few queries to a command."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from jaxtyping import Float32

from nestling.errors import DataError

_EXAMPLE = "Write one vector a line, such as [0.5, -1, 0.25]."
_SPACE = re.compile(r"[ \t\r\n]*")


def read_json_vectors(text: str, name: str = "the text") -> Float32[np.ndarray, "q d"]:
    """Read vectors written as JSON: arrays of numbers one after another, or arrays of such arrays.

    So JSON lines are read, and one array of arrays, and that spread over many lines.

    Args:
        text: the whole text.
        name: what to call it in an error.

    Returns:
        q ≥ 1 vectors of d ≥ 1 finite numbers.

    Raises:
        DataError: the text is no such JSON, or its vectors are not equally long or not finite in float32.
    """
    rows = list(_rows(text, name))
    if not rows:
        raise DataError(f"{name} holds no vector. {_EXAMPLE}")
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{name} holds vectors of unequal length: {len(rows[0])} numbers in vector 0, {len(row)} in vector "
                f"{number}. Make them equal."
            )
    with np.errstate(over="ignore"):
        vectors = np.array(rows, np.float64).astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(f"{name} holds NaN, infinity or numbers too large in vector {bad[0]}. Leave it out.")
    return vectors


def _rows(text: str, name: str) -> Iterator[list[float]]:
    for place, value in enumerate(_values(text, name)):
        several = any(isinstance(row, list) for row in _items(value))
        for row in _items(value) if several else [value]:
            if not _is_vector(row):
                raise DataError(f"{name} holds something else than arrays of numbers in value {place}. {_EXAMPLE}")
            yield [_as_float(number) for number in row]


def _values(text: str, name: str) -> Iterator[Any]:
    """The JSON values that stand one after another."""
    decoder, at = json.JSONDecoder(), _after_space(text, 0)
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name} is no JSON: {error}. {_EXAMPLE}") from error
        yield value
        at = _after_space(text, at)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _items(value: Any) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []


def _is_vector(value: Any) -> bool:
    """A bool is a number to Python, and to nobody else."""
    return len(_items(value)) > 0 and all(type(x) in (int, float) for x in _items(value))


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:  # JSON knows no largest whole number
        return math.inf
