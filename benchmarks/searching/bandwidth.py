"""What one core reads a second: the best of a few NumPy reductions that run at C speed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

LARGE = 1 << 30
_REDUCTIONS: tuple[tuple[str, type, Callable[[np.ndarray], object]], ...] = (
    ("uint8 max", np.uint8, np.max),
    ("float32 dot", np.float32, lambda x: np.dot(x, x)),
    ("uint64 or", np.uint64, np.bitwise_or.reduce),
    ("int64 sum", np.int64, np.sum),
)


def gb_per_s(size: int, *, seconds: float = 0.5) -> tuple[float, str]:
    """10⁹ bytes a second over a buffer of `size` bytes that was read before, and by which reduction."""
    buffer = np.ones(max(size // 64, 1) * 64, np.uint8)
    found = [(_rate(buffer.view(dtype), reduce, seconds), name) for name, dtype, reduce in _REDUCTIONS]
    return max(found)


def _rate(x: np.ndarray, reduce: Callable[[np.ndarray], object], seconds: float) -> float:
    reduce(x)
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        reduce(x)
        best = min(best, time.perf_counter() - started)
    return x.nbytes / best / 1e9
