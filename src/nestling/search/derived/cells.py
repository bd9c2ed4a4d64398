"""Cells: a coarse partition of the gallery by a prefix (AdANNS-IVF, Rege et al. 2023), and the order of rows by cell.

A partition answers two questions: in which cell does a vector lie (`assign`), and which cells should a query visit
(`probe`). The engine asks nothing else, so that a learnt router or tree can take the place of k-means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int32

from nestling.errors import InputError
from nestling.search import _native
from nestling.search.storage.blocks import Section
from nestling.search.storage.segment import Segment

CELLS = "cells"
_CHUNK = 1 << 14
_PER_CELL = 64  # training vectors of a cell; more change little
ROUNDS = 8


@runtime_checkable
class Partition(Protocol):
    """Cuts the space of the first `dims` numbers into `cells` cells."""

    @property
    def cells(self) -> int:
        """How many."""
        ...

    @property
    def dims(self) -> int:
        """The prefix that it looks at."""
        ...

    def assign(self, vectors: Float32[np.ndarray, "b d"]) -> Int32[np.ndarray, " b"]:
        """The cell of each vector."""
        ...

    def probe(self, queries: Float32[np.ndarray, "q d"], count: int, threads: int = 1) -> Int32[np.ndarray, "q p"]:
        """The cells that each query should visit, the most promising first."""
        ...


@dataclass(frozen=True, eq=False)
class KMeans:
    """Cells around centroids; a vector lies in the nearest one's.

    Attributes:
        centroids: (cells, m).
        metric: with "cosine" prefixes are divided by their lengths first.
    """

    centroids: Float32[np.ndarray, "cells m"]
    metric: str

    @property
    def cells(self) -> int:
        """How many."""
        return len(self.centroids)

    @property
    def dims(self) -> int:
        """The prefix that it looks at."""
        return self.centroids.shape[1]

    @cached_property
    def _finder(self) -> _native.CellFinder:
        return _native.CellFinder(np.ascontiguousarray(self.centroids, np.float32), self.metric == "cosine")

    def assign(self, vectors: Float32[np.ndarray, "b d"]) -> Int32[np.ndarray, " b"]:
        """The nearest centroid of each vector (b, d ≥ m)."""
        x = self._prefix(vectors)
        half = np.einsum("cm,cm->c", self.centroids, self.centroids) / 2
        steps = range(0, len(x), _CHUNK)
        cells = [np.argmax(x[at : at + _CHUNK] @ self.centroids.T - half, axis=1) for at in steps]
        return np.concatenate([np.empty(0, np.int64), *cells]).astype(np.int32)

    def probe(self, queries: Float32[np.ndarray, "q d"], count: int, threads: int = 1) -> Int32[np.ndarray, "q p"]:
        """The `count` nearest cells of each query, nearest first."""
        return self._finder.find(queries, count, threads)

    def _prefix(self, x: np.ndarray) -> np.ndarray:
        cut = np.ascontiguousarray(x[:, : self.dims], np.float32)
        if self.metric != "cosine":
            return cut
        lengths = np.sqrt(np.einsum("bm,bm->b", cut, cut))[:, None]
        return cut / np.where(lengths > 0, lengths, 1)

    @classmethod
    def fit(
        cls,
        sample: Float32[np.ndarray, "s d"],
        cells: int,
        dims: int,
        *,
        metric: str,
        seed: int = 0,
        told: Callable[[int], None] | None = None,
    ) -> KMeans:
        """Lloyd's algorithm on the prefixes of a sample; a cell that empties takes a vector of the fullest.

        Args:
            sample: (s, d ≥ dims); some `training_rows(cells)` of them.
            cells: ≤ s.
            told: called after each of `ROUNDS`.

        Raises:
            InputError: fewer vectors than cells.
        """
        if not 1 <= cells <= len(sample):
            raise InputError.of("cells", f"between 1 and the {len(sample)} vectors to learn them from", cells)
        rng = np.random.default_rng(seed)
        x = cls(sample[:1, :dims], metric)._prefix(sample)
        found = cls(x[rng.choice(len(x), cells, replace=False)], metric)
        for number in range(ROUNDS):
            found = cls(_means(x, found.assign(x), cells, rng), metric)
            if told is not None:
                told(number + 1)
        return found


def training_rows(cells: int) -> int:
    """How many vectors k-means looks at."""
    return _PER_CELL * cells


def _means(x: np.ndarray, cell: np.ndarray, cells: int, rng: np.random.Generator) -> Float32[np.ndarray, "cells m"]:
    counts = np.bincount(cell, minlength=cells)
    order = np.argsort(cell, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    filled = np.flatnonzero(counts)
    means = np.empty((cells, x.shape[1]), np.float32)
    means[filled] = np.add.reduceat(x[order], starts[filled], axis=0) / counts[filled, None]
    fullest = np.argsort(-counts, kind="stable")[: len(filled)]
    for empty, full in zip(np.flatnonzero(counts == 0), cycle(fullest), strict=False):
        means[empty] = x[order[starts[full] + rng.integers(counts[full])]]
    return means


@dataclass(frozen=True, eq=False)
class Cells:
    """The part ``cells``: the rows of a segment in the order of their cells."""

    by: Partition

    @property
    def name(self) -> str:
        """``"cells"``."""
        return CELLS

    @property
    def resident(self) -> bool:
        """Searches look up the row of what they found."""
        return True

    @property
    def partitioned(self) -> bool:
        """Of course."""
        return True

    def sections(self, rows: int) -> list[Section]:
        """order: the row at each position; offsets: where each cell begins, and the end."""
        return [
            Section("order", np.dtype(np.uint32), (rows,)),
            Section("offsets", np.dtype(np.uint64), (self.by.cells + 1,)),
        ]

    def chunks(self, segment: Segment, like: Mapping[str, np.ndarray] | None) -> Iterator[tuple[str, np.ndarray]]:  # noqa: ARG002
        """Assign every row; nothing is fitted here, so `like` has nothing to say."""
        stored = next(m for m in segment.nesting if m >= self.by.dims)
        steps = range(0, segment.rows, _CHUNK)
        parts = [self.by.assign(segment.values(slice(at, min(at + _CHUNK, segment.rows)), stored)) for at in steps]
        cell = np.concatenate([np.empty(0, np.int32), *parts])
        yield "order", np.argsort(cell, kind="stable").astype(np.uint32)
        counts = np.bincount(cell, minlength=self.by.cells)
        yield "offsets", np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)


def partition_sections(kind: str, *, cells: int, dims: int) -> list[Section]:
    """The arrays of a partition's file.

    Raises:
        InputError: another kind than "kmeans".
    """
    if kind != "kmeans":
        raise InputError.of("a partition", "of the kind kmeans", repr(kind), "Update Nestling.")
    return [Section("centroids", np.dtype(np.float32), (cells, dims))]
