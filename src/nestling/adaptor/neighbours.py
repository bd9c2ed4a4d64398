"""Neighbours at full width, mined by the project's own index from a sample of the rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from nestling.nesting import Nesting
from nestling.search import Index, exact

GALLERY, ANCHORS = 65_536, 32_768  # rows at most; mining compares each anchor with the whole gallery
_IN_MEMORY = 4_096  # a gallery so small is not worth an index
_AT_ONCE = 1_024  # anchors between two words of progress

Told = Callable[[int, int, str], object]


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """Anchors and their neighbours by cosine at full width, as rows of the data.

    Attributes:
        anchors: (a,).
        near: (a, k), best first, the anchor itself left out.
    """

    anchors: Int64[np.ndarray, " a"]
    near: Int64[np.ndarray, "a k"]

    def __len__(self) -> int:
        """Anchors."""
        return len(self.anchors)

    def first(self, count: int) -> Mined:
        """The first of them."""
        return Mined(self.anchors[:count], self.near[:count])


def mined(x: np.ndarray, rows: Int64[np.ndarray, " r"], k: int, *, seed: int, told: Told | None = None) -> Mined:
    """The k nearest of some rows among some rows, both drawn from `rows`.

    Args:
        x: (n, d), perhaps mapped: the sample is read in the order of the file.
        rows: which may be read.
        k: cut to what there is.
        seed: of the sample.
        told: called as ``told(done, total, words)``.
    """
    rng = np.random.default_rng(seed)
    gallery = np.sort(rng.permutation(rows)[:GALLERY])
    asked = np.sort(rng.permutation(len(gallery))[:ANCHORS])
    vectors = np.ascontiguousarray(x[gallery], np.float32)
    k = min(k, len(gallery) - 1)
    if len(gallery) <= _IN_MEMORY:
        found = exact(vectors, vectors[asked], k, exclude=asked).ids
        return Mined(gallery[asked], gallery[found])
    near = np.empty((len(asked), k), np.int64)
    with tempfile.TemporaryDirectory(prefix="nestling-") as folder:
        index = Index.create(Path(folder) / "sample", Nesting((x.shape[1],)))
        index.add(vectors)
        for start in range(0, len(asked), _AT_ONCE):
            some = asked[start : start + _AT_ONCE]
            near[start : start + len(some)] = _others(index.search(vectors[some], k=k + 1).ids, some)
            if told is not None:
                told(start + len(some), len(asked), "neighbours")
        index.close()
    return Mined(gallery[asked], gallery[near])


def _others(found: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Without the row itself; where a twin pushed it out, without the last."""
    keep = found != own[:, None]
    keep[keep.all(axis=1), -1] = False
    return found[keep].reshape(len(found), found.shape[1] - 1)
