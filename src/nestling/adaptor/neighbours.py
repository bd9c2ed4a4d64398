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


def mined(
    x: np.ndarray,
    rows: Int64[np.ndarray, " r"],
    held: Int64[np.ndarray, " h"],
    k: int,
    *,
    seed: int,
    told: Told | None = None,
) -> tuple[Mined, Mined]:
    """The k nearest of some of the rows, and of all held-out rows, among a sample of the rows.

    Held-out rows have their neighbours where the others have theirs: few rows by themselves would lie too far apart to
    judge by.

    Args:
        x: (n, d), perhaps mapped: the sample is read in the order of the file.
        rows: of which the sample is drawn.
        held: other rows.
        k: cut to what there is.
        seed: of the sample.
        told: called as ``told(done, total, words)``.
    """
    rng = np.random.default_rng(seed)
    gallery = np.sort(rng.permutation(rows)[:GALLERY])
    asked = np.sort(rng.permutation(len(gallery))[:ANCHORS])
    own = np.concatenate([asked, np.full(len(held), -1)])  # where in the gallery each anchor is
    vectors = np.ascontiguousarray(x[gallery], np.float32)
    queries = np.concatenate([vectors[asked], np.asarray(x[held], np.float32)])
    k = min(k, len(gallery) - 1)
    if len(gallery) <= _IN_MEMORY:
        found = exact(vectors, queries, k, exclude=own).ids
    else:
        found = _by_index(vectors, queries, own, k, told)
    cut = len(asked)
    return Mined(gallery[asked], gallery[found[:cut]]), Mined(held, gallery[found[cut:]])


def _by_index(vectors: np.ndarray, queries: np.ndarray, own: np.ndarray, k: int, told: Told | None) -> np.ndarray:
    near = np.empty((len(queries), k), np.int64)
    with tempfile.TemporaryDirectory(prefix="nestling-") as folder:
        index = Index.create(Path(folder) / "sample", Nesting((vectors.shape[1],)))
        index.add(vectors)
        for start in range(0, len(queries), _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, len(queries)))
            near[part] = _others(index.search(queries[part], k=k + 1).ids, own[part])
            if told is not None:
                told(part.stop, len(queries), "neighbours")
        index.close()
    return near


def _others(found: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Without the row itself; where a twin pushed it out, without the last."""
    keep = found != own[:, None]
    keep[keep.all(axis=1), -1] = False
    return found[keep].reshape(len(found), found.shape[1] - 1)
