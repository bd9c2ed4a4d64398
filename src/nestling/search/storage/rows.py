"""Rows on their way into a new segment: vectors cut into rings, or live rows of older segments as they are."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Float32

from nestling.errors import InputError, ShapeError
from nestling.nesting import Nesting
from nestling.search import _native
from nestling.search.storage.ids import Ids
from nestling.search.storage.segment import Segment

_CHUNK = 1 << 23  # numbers converted at one time: 32 MB of float32
_FLOATS = "float16, float32 or float64"


@dataclass(frozen=True, eq=False)
class NewRows:
    """Vectors that come in.

    Attributes:
        vectors: (n, d) floats, perhaps mapped.
        ids: of each.
        nesting: their rings.
        stored: dtype of the rings.
        first: the row of the caller's array that is row 0 here, for messages.
    """

    vectors: np.ndarray
    ids: Ids
    nesting: Nesting
    stored: np.dtype[Any]
    first: int = 0

    def __len__(self) -> int:
        return len(self.vectors)

    def chunks(self) -> Iterator[tuple[str, np.ndarray]]:
        """Rings and norms, by chunks of rows.

        Raises:
            InputError: a vector holds NaN, infinity, or more than the dtype can; its row is named.
        """
        step = max(1, _CHUNK // self.nesting.width)
        for start in range(0, len(self.vectors), step):
            given = self.vectors[start : start + step]
            with np.errstate(over="ignore"):
                x = np.ascontiguousarray(given, np.float32)
            rings, norms, bad = encoded(x, self.nesting, self.stored)
            if bad >= 0:
                raise _refused(given[bad], self.first + start + bad, self.stored)
            forget(self.vectors)
            yield from ((f"ring{k}", ring) for k, ring in enumerate(rings))
            yield from ((f"norm{k}", norm) for k, norm in enumerate(norms))


@dataclass(frozen=True, eq=False)
class OldRows:
    """Rows of a segment that go into another, bit for bit.

    Attributes:
        segment: where they are.
        rows: which, in order; None for all.
    """

    segment: Segment
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return self.segment.rows if self.rows is None else len(self.rows)

    @property
    def ids(self) -> Ids:
        """Of each row."""
        return self.segment.ids.taken(slice(None) if self.rows is None else self.rows)

    def chunks(self) -> Iterator[tuple[str, np.ndarray]]:
        """Rings and norms, by chunks of rows."""
        step = max(1, _CHUNK // self.segment.nesting.width)
        for start in range(0, len(self), step):
            cut = slice(start, start + step)
            chosen = cut if self.rows is None else self.rows[cut]
            yield from ((f"ring{k}", ring[chosen]) for k, ring in enumerate(self.segment.rings))
            yield from ((f"norm{k}", norm[chosen]) for k, norm in enumerate(self.segment.norms))


Rows = NewRows | OldRows


def checked_vectors(vectors: Any, nesting: Nesting) -> np.ndarray:
    """Vectors as a caller gives them, as an array; a mapped one stays mapped.

    Raises:
        InputError: not floating numbers.
        ShapeError: not (n, d) with the nesting's width.
    """
    kind = type(vectors).__name__
    try:
        # A mapped one stays as it is, to let go of its pages; other kinds of arrays have rules of their own.
        given = cast(np.ndarray, vectors) if isinstance(vectors, np.memmap) else np.asarray(vectors)
    except (ValueError, TypeError, RuntimeError):  # the last: a tensor that wants a gradient
        raise InputError.of("vectors", f"a matrix of {_FLOATS}", kind) from None
    if given.ndim != 2:
        raise ShapeError.of("vectors", "(n, d), one vector per row", f"shape {given.shape}")
    if given.dtype.kind != "f" or given.dtype.itemsize > 8:
        raise InputError.of("vectors", _FLOATS, given.dtype, "Convert them with .astype('float32').")
    nesting.check(given, "vectors")
    return given


def encoded(
    x: Float32[np.ndarray, "b d"], nesting: Nesting, stored: np.dtype[Any]
) -> tuple[list[np.ndarray], Float32[np.ndarray, "K b"], int]:
    """The rings of vectors as they are stored, and the squared lengths of the stored prefixes.

    Returns:
        K arrays (b, r_k) of the stored dtype; (K, b); the first row that cannot be stored, or −1.
    """
    native = cast(Any, _native).store_rings(x, list(nesting.dims), stored == np.float16)
    rings, norms, bad = cast(tuple[list[np.ndarray], np.ndarray, int], native)
    return [ring.view(stored) for ring in rings], norms, bad


def _refused(vector: np.ndarray, row: int, stored: np.dtype[Any]) -> InputError:
    if not np.isfinite(vector).all():
        return InputError.of("vectors", "finite", f"NaN or infinity in row {row}", "Remove such rows.")
    size = float(np.abs(vector.astype(np.float64)).max())
    advice = "Scale the vectors" + (', or create the index with dtype="float32".' if stored == np.float16 else ".")
    return InputError.of("vectors", f"small enough for {stored}", f"{size:.4g} in row {row}", advice)


def forget(vectors: np.ndarray) -> None:
    """Let go of the pages of a mapped file that were read: they would count as this process's memory."""
    if isinstance(vectors, np.memmap) and vectors.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        mapped = getattr(vectors, "_mmap", None)
        if isinstance(mapped, mmap.mmap):
            mapped.madvise(mmap.MADV_DONTNEED)
