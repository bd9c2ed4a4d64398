"""The maps that an adaptor applies: NumPy only, in blocks of rows that stay in the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from nestling.errors import InputError

_ROTATED_AT_ONCE, _ADAPTED_AT_ONCE = 1 << 14, 1 << 12  # rows; measured (docs/LOG.md)


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """x · M with M orthogonal: every cosine and inner product at full width is as before.

    Attributes:
        matrix: M (d, d); its first columns are the directions that the shortest prefix sees.
    """

    matrix: Float32[np.ndarray, "d d"]

    def __call__(self, x: np.ndarray) -> Float[np.ndarray, "n d"]:
        """Turn (n, d) rows; n · d² multiplications, in the precision of x, float16 in float32.

        Raises:
            InputError: NaN or infinity; the sentence names the first such row.
        """
        matrix = self.matrix.astype(_precision(x), copy=False)

        def turn(block: np.ndarray, out: np.ndarray) -> None:
            np.matmul(block, matrix, out=out)

        return _by_blocks(x, turn, _ROTATED_AT_ONCE)


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """x + f(x), f(x) = x · (M − I) + max(0, x · A + a) · B + b: one hidden layer beside a linear map.

    Attributes:
        matrix: M (d, d), the linear part with the x of x + f(x).
        into, into_bias: A (d, h), a (h,).
        out, out_bias: B (h, d), b (d,).
    """

    matrix: Float32[np.ndarray, "d d"]
    into: Float32[np.ndarray, "d h"]
    into_bias: Float32[np.ndarray, " h"]
    out: Float32[np.ndarray, "h d"]
    out_bias: Float32[np.ndarray, " d"]

    def __call__(self, x: np.ndarray) -> Float[np.ndarray, "n d"]:
        """Adapt (n, d) rows; n · d · (d + 2h) multiplications; errors as of `Rotation`."""
        kind = _precision(x)
        width, h = self.into.shape
        # One product for both that read x, and one array for what the ReLU leaves beside the linear part.
        first = np.concatenate([self.matrix, self.into], axis=1).astype(kind)
        starts = np.concatenate([self.out_bias, self.into_bias]).astype(kind)
        last = self.out.astype(kind, copy=False)
        room = np.empty((min(len(x), _ADAPTED_AT_ONCE), width + h), kind)
        second = np.empty((len(room), width), kind)

        def adapt(block: np.ndarray, out: np.ndarray) -> None:
            found = np.matmul(block, first, out=room[: len(block)])
            found += starts
            hidden = found[:, width:]
            np.maximum(hidden, 0, out=hidden)
            np.matmul(hidden, last, out=second[: len(block)])
            np.add(found[:, :width], second[: len(block)], out=out)

        return _by_blocks(x, adapt, _ADAPTED_AT_ONCE)


Map = Rotation | Residual


def tensors_of(found: Map) -> dict[str, np.ndarray]:
    """The arrays of a map by name."""
    return {field.name: getattr(found, field.name) for field in fields(found)}


def map_of(tensors: Mapping[str, np.ndarray]) -> Map:
    """The inverse of `tensors_of`.

    Raises:
        InputError: arrays that make no map.
    """
    values: dict[str, Any] = dict(tensors)
    width = values["matrix"].shape[-1:] if "matrix" in values else ()
    if set(values) == {"matrix"}:
        right = [values["matrix"].shape == (*width, *width)]
    elif set(values) == {"matrix", "into", "into_bias", "out", "out_bias"}:
        hidden = values["into_bias"].shape
        shapes = [(*width, *width), (*width, *hidden), hidden, (*hidden, *width), width]
        right = [values[f.name].shape == s for f, s in zip(fields(Residual), shapes, strict=True)]
    else:
        right = [False]
    if not all(right) or any(a.dtype != np.float32 or not np.isfinite(a).all() for a in values.values()):
        raise InputError.of("tensors", "those of a rotation or of a residual map", sorted(values))
    return Rotation(**values) if len(values) == 1 else Residual(**values)


def _precision(x: np.ndarray) -> np.dtype[Any]:
    return np.dtype(np.float64 if x.dtype == np.float64 else np.float32)


def _by_blocks(x: np.ndarray, do: Callable[[np.ndarray, np.ndarray], None], rows: int) -> np.ndarray:
    """What `do` makes of each block of rows; a row that is not finite comes out as one, so that is looked at."""
    kind = _precision(x)
    found = np.empty(x.shape, kind)
    for start in range(0, len(x), rows):
        block = x[start : start + rows].astype(kind, copy=False)
        out = found[start : start + len(block)]
        with np.errstate(invalid="ignore", over="ignore"):
            do(block, out)
            clear = np.isfinite(out.sum())
        if not clear and not (good := np.isfinite(block).all(axis=1)).all():
            row = start + int(np.argmin(good))
            raise InputError.of("X", "finite", f"NaN or infinity (inf) in row {row}", "Leave such rows out.")
    return found
