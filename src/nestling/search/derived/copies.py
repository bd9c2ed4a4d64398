"""The int8 copy: the dims between a few stops as bytes, so that a rerank reads a quarter of float32.

A row's dims of one piece are x ≈ scale · (code − 128) with scale = max |x| / 127, padded to whole cache lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.search import _native
from nestling.search.storage.blocks import Section
from nestling.search.storage.segment import Segment

LINE = 64
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class Copies:
    """The part ``copy-64,2048``: one piece for each stop, from the stop before.

    Attributes:
        stops: some of the nesting's dims, increasing.
        nesting: the stored dims.

    Raises:
        InputError: the stops are no increasing dims of the nesting.
    """

    stops: tuple[int, ...]
    nesting: Nesting

    def __post_init__(self) -> None:
        if not self.stops or list(self.stops) != sorted(set(self.stops) & set(self.nesting)):
            raise InputError.of("the stops of an int8 copy", f"increasing and among {self.nesting}", self.stops)

    @property
    def name(self) -> str:
        """``"copy-64,2048"``."""
        return "copy-" + ",".join(map(str, self.stops))

    @property
    def resident(self) -> bool:
        """Searches read few rows of it."""
        return False

    @property
    def partitioned(self) -> bool:
        """Rows lie as they were added."""
        return False

    @property
    def pieces(self) -> tuple[slice, ...]:
        """The dims of each piece."""
        return tuple(slice(start, stop) for start, stop in pairwise((0, *self.stops)))

    def sections(self, rows: int) -> list[Section]:
        """codes<k>: (rows, bytes); meta<k>: (rows, 4) the scale, the squared norm of the prefix, |prefix − its copy|
        and the length of what comes after, the last two rounded up."""
        found: list[Section] = []
        for k, piece in enumerate(self.pieces):
            found += [
                Section(f"codes{k}", np.dtype(np.uint8), (rows, _stride(piece))),
                Section(f"meta{k}", np.dtype(np.float32), (rows, 4)),
            ]
        return found

    def chunks(self, segment: Segment, like: Mapping[str, np.ndarray] | None) -> Iterator[tuple[str, np.ndarray]]:  # noqa: ARG002
        """Code the segment; nothing is fitted, so `like` has nothing to say."""
        step = max(1, _CHUNK_BYTES // (self.nesting.width * segment.rings[0].itemsize))
        whole = segment.norms[-1]
        for start in range(0, segment.rows, step):
            rows = slice(start, min(start + step, segment.rows))
            error = np.zeros(rows.stop - start)
            for k, piece in enumerate(self.pieces):
                codes, scales, errors = _native.encode_copy(
                    self._rings(segment, piece, rows), _stride(piece), threads=2
                )
                error += errors
                at = self.nesting.dims.index(piece.stop)
                norm, all_of_it = segment.norms[at][rows], whole[rows].astype(np.float64)
                left = np.sqrt(
                    np.maximum(all_of_it - norm, 0) + (1e-5 * all_of_it if at + 1 < len(self.nesting) else 0)
                )
                yield f"codes{k}", codes
                yield f"meta{k}", np.stack([scales, norm, _up(np.sqrt(error)), _up(left)], axis=1)

    def _rings(self, segment: Segment, piece: slice, rows: slice) -> list[np.ndarray]:
        whole = zip(self.nesting.rings(), segment.rings, strict=True)
        inside = [ring[rows] for dims, ring in whole if piece.start <= dims.start and dims.stop <= piece.stop]
        return [ring.view(np.uint16) if ring.dtype == np.float16 else ring for ring in inside]


def _stride(piece: slice) -> int:
    return -(-(piece.stop - piece.start) // LINE) * LINE


def _up(x: np.ndarray) -> np.ndarray:
    """float32, never smaller."""
    return np.nextafter(x.astype(np.float32), np.float32(np.inf))
