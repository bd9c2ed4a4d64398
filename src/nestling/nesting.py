"""A nesting: the list of prefixes that are each an embedding, and the rings between them.

This is where slicing happens. Everything else asks a `Nesting` for its rings and adds.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from nestling.errors import NestingError, ShapeError

if TYPE_CHECKING:
    import torch

ArrayT = TypeVar("ArrayT", np.ndarray, "torch.Tensor")


@dataclass(frozen=True, slots=True)
class Nesting:
    """Dims m₁ < m₂ < … < m_K with one weight c_m each (Kusupati et al. 2022, Eq. 1).

    Attributes:
        dims: the granularities, strictly increasing positive integers; the last is the full width.
        weights: c_m, finite and ≥ 0, not all zero; all 1 when left out.

    Raises:
        NestingError: the dims or weights break one of these rules.
    """

    dims: tuple[int, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        dims = _checked_dims(self.dims)
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "weights", _checked_weights(self.weights, dims))

    @classmethod
    def halving(cls, width: int, *, smallest: int = 8) -> Nesting:
        """Halve the width while the half is whole and at least `smallest`: 2048 → 8, 16, …, 2048 (paper §3)."""
        dims = [_checked_int("width", width)]
        _checked_range("smallest", smallest, width)
        while dims[-1] % 2 == 0 and dims[-1] // 2 >= smallest:
            dims.append(dims[-1] // 2)
        return cls(tuple(reversed(dims)))

    @classmethod
    def doubling(cls, width: int, *, smallest: int = 8) -> Nesting:
        """Double from `smallest` and end with the width itself: 384 → 8, 16, 32, 64, 128, 256, 384."""
        _checked_int("width", width)
        dims = [_checked_range("smallest", smallest, width)]
        while dims[-1] * 2 < width:
            dims.append(dims[-1] * 2)
        return cls(tuple(dims) if dims[-1] == width else (*dims, width))

    @classmethod
    def uniform(cls, width: int, *, count: int = 9, smallest: int = 8) -> Nesting:
        """`count` dims at equal distances from `smallest` to the width (the paper's ablation of spacing)."""
        _checked_int("width", width)
        _checked_range("smallest", smallest, width)
        if _checked_int("count", count) == 1:
            return cls((width,))
        step = (width - smallest) / (count - 1)
        return cls(tuple(round(smallest + i * step) for i in range(count)))

    @classmethod
    def parse(cls, text: str) -> Nesting:
        """Read ``"8,16,32"`` (the inverse of `str`).

        Raises:
            NestingError: the text is not a comma-separated list of dims.
        """
        try:
            dims = tuple(int(part) for part in text.split(","))
        except ValueError:
            raise NestingError.of(
                "dims", "integers separated by commas", repr(text), "Write for example 8,16,32."
            ) from None
        return cls(dims)

    def __str__(self) -> str:
        return ",".join(map(str, self.dims))

    def __len__(self) -> int:
        return len(self.dims)

    def __iter__(self) -> Iterator[int]:
        return iter(self.dims)

    @property
    def width(self) -> int:
        """The largest granularity, d."""
        return self.dims[-1]

    def rings(self) -> tuple[slice, ...]:
        """The K slices [m_{k-1}, m_k) that cut the coordinates: a prefix is the rings up to its own."""
        return tuple(slice(start, stop) for start, stop in pairwise((0, *self.dims)))

    def check(self, x: np.ndarray | torch.Tensor, param: str = "x") -> None:
        """Raise `ShapeError` unless the last axis of `x` is exactly as wide as the nesting."""
        width = x.shape[-1] if x.ndim else 0
        if width != self.width:
            raise ShapeError.of(
                param,
                f"{self.width} wide, the nesting's largest dim",
                f"shape {tuple(x.shape)}",
                "Cut the data or choose other dims.",
            )

    def up_to(self, m: int) -> Nesting:
        """The nesting of this one's prefix m: the dims ≤ m with their weights.

        Raises:
            NestingError: m is not one of the dims.
        """
        if m not in self.dims:
            raise NestingError.of("m", f"one of {self}", m)
        keep = self.dims.index(m) + 1
        return Nesting(self.dims[:keep], self.weights[:keep])


def prefix(x: ArrayT, m: int) -> ArrayT:
    """The first m numbers of each vector, a view.

    Args:
        x: (..., d) NumPy array or torch tensor.
        m: 1 ≤ m ≤ d.

    Raises:
        ShapeError: x has no axis, or m is outside 1 … d.
    """
    width = x.shape[-1] if x.ndim else 0
    if not 1 <= m <= width:
        raise ShapeError.of("m", f"between 1 and the data's width {width}", m, "Choose a smaller prefix.")
    return cast(ArrayT, x[..., :m])


def truncate(x: ArrayT, m: int) -> ArrayT:
    """Cut to the first m numbers and renormalise to length one; a prefix of zeros stays zeros.

    Args:
        x: (..., d) floating NumPy array or torch tensor.
        m: 1 ≤ m ≤ d.

    Returns:
        (..., m), a new array of the same kind and dtype.

    Raises:
        ShapeError: x has no axis, or m is outside 1 … d.
    """
    cut = prefix(x, m)
    return _unit_array(cut) if isinstance(cut, np.ndarray) else _unit_tensor(cut)


def _unit_array(x: Any) -> Any:
    lengths = np.linalg.norm(x, axis=-1, keepdims=True)
    lengths[lengths == 0] = 1
    return x / lengths


def _unit_tensor(x: Any) -> Any:
    lengths = x.norm(dim=-1, keepdim=True)
    return x / lengths.masked_fill(lengths == 0, 1)


def _checked_int(param: str, value: Any) -> int:
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise NestingError.of(param, "a positive whole number", repr(value))
    return number


def _checked_range(param: str, value: Any, width: int) -> int:
    if _checked_int(param, value) > width:
        raise NestingError.of(param, f"at most the width {width}", value)
    return int(value)


def _checked_dims(given: Iterable[Any]) -> tuple[int, ...]:
    dims = tuple(_checked_int("dims", m) for m in given)
    if not dims:
        raise NestingError.of("dims", "at least one number", "none", "Write for example 8,16,32.")
    for before, after in pairwise(dims):
        if before == after:
            raise NestingError.of("dims", "without repetition", f"{after} twice", "Leave one of them out.")
        if before > after:
            raise NestingError.of("dims", "in increasing order", f"{before} before {after}", "Sort them.")
    return dims


def _checked_weights(given: Iterable[Any], dims: tuple[int, ...]) -> tuple[float, ...]:
    weights = tuple(float(w) for w in given) or (1.0,) * len(dims)
    if len(weights) != len(dims):
        raise NestingError.of("weights", f"one per dim ({len(dims)})", len(weights), "Give as many weights as dims.")
    for w in weights:
        if not math.isfinite(w) or w < 0:
            raise NestingError.of("weights", "finite and not negative", w)
    if not any(weights):
        raise NestingError.of("weights", "not all zero", list(weights), "A loss of zero trains nothing.")
    return weights
