"""1-NN accuracy of every prefix in one pass over the rings (Kusupati et al. 2022, §4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from nestling.errors import InputError
from nestling.evaluation.base import Classification, Vectors, check_labels, correct_rows
from nestling.evaluation.report import Row
from nestling.nesting import Nesting
from nestling.search.exact import Prepared, exact, exclude_rows, inverse_lengths, prepare

# A block of scores and its twin stay in cache while all K rings pass over them; smaller blocks would make
# the threads of BLAS wait for one another more than they multiply.
_QUERIES_AT_ONCE = 1024
_ITEMS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class OneNN:
    """The nearest neighbour of each query at each of K prefixes.

    Attributes:
        nesting: the K prefixes.
        nearest: (K, q) gallery rows.
        correct: (K, q) whether that row has the query's label: what a paired bootstrap compares.
    """

    nesting: Nesting
    nearest: Int64[np.ndarray, "K q"]
    correct: Bool[np.ndarray, "K q"]

    def rows(self, system: str = "nestling") -> list[Row]:
        """Top-1 accuracy, one row per prefix."""
        return correct_rows(self.correct, self.nesting, metric="1nn_top1", system=system)


@dataclass(frozen=True, slots=True)
class Neighbor(Classification):
    """The class of the nearest training vector by cosine (`one_nn`)."""

    metric: ClassVar[str] = "1nn_top1"

    def predict(self, vectors: Vectors, *, seed: int) -> Shaped[np.ndarray, "K q"]:
        """Exact; nothing is drawn."""
        del seed
        v = vectors
        found = one_nn(v.train, v.train_labels, v.test, v.test_labels, v.nesting)
        return v.train_labels[found.nearest]


@dataclass(frozen=True, slots=True)
class Vote(Classification):
    """The class that most of the k nearest training vectors by cosine have; of equals the one that comes first.

    Raises:
        InputError: k is not positive.
    """

    metric: ClassVar[str] = "knn_top1"
    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError.of("k", "positive", self.k)

    def predict(self, vectors: Vectors, *, seed: int) -> Shaped[np.ndarray, "K q"]:
        """Exact; nothing is drawn."""
        del seed
        v, k = vectors, min(self.k, len(vectors.train))
        labels = [v.train_labels[exact(v.train, v.test, k, m=m).ids] for m in v.nesting]
        return np.stack([_most_frequent(found) for found in labels])


def one_nn(
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    queries: np.ndarray,
    query_labels: np.ndarray,
    nesting: Nesting,
    *,
    exclude: np.ndarray | None = None,
) -> OneNN:
    """Exact cosine 1-NN at every prefix of the nesting at once: s_k = s_{k-1} + ⟨q_ring, x_ring⟩.

    All K prefixes cost the products of the largest one, and a pass over the scores per prefix. The query's
    norm changes no order; of equal scores the smaller gallery row is the nearest.
    Args:
        gallery: (n, d) float32 or float64, d the nesting's width; gallery_labels: (n,).
        queries: (q, d); query_labels: (q,).
        exclude: (q,) one gallery row per query to leave out (the query itself), −1 for none.

    Raises:
        ShapeError, InputError: arrays that do not fit one another, or hold NaN or infinity.
    """
    if gallery.ndim == 2:
        nesting.check(gallery, "gallery")
    search = prepare(gallery, queries, nesting.dims, 1, metric="cosine", exclude=exclude)
    check_labels("gallery_labels", gallery_labels, len(gallery))
    check_labels("query_labels", query_labels, len(queries))
    inverse = inverse_lengths(search.gallery_norms.T)
    nearest = np.empty((len(nesting), len(queries)), np.int64)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        part = slice(start, min(start + _QUERIES_AT_ONCE, len(queries)))
        nearest[:, part] = _nearest(search, part, inverse)
    return OneNN(nesting, nearest, gallery_labels[nearest] == query_labels)


def _most_frequent(labels: Shaped[np.ndarray, "q k"]) -> Shaped[np.ndarray, " q"]:
    votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)
    return labels[np.arange(len(labels)), votes.argmax(axis=1)]  # argmax takes the first of equals


def _nearest(search: Prepared, part: slice, inverse: Float[np.ndarray, "K n"]) -> Int64[np.ndarray, "K q"]:
    """The nearest gallery row of these queries at each prefix."""
    queries, n = search.queries[part], len(search.gallery)
    best = np.full((len(search.rings), len(queries)), -np.inf, queries.dtype)
    nearest = np.zeros(best.shape, np.int64)
    buffers = np.empty((2, len(queries) * min(n, _ITEMS_AT_ONCE)), queries.dtype)
    for start in range(0, n, _ITEMS_AT_ONCE):
        stop = min(start + _ITEMS_AT_ONCE, n)
        size = len(queries) * (stop - start)
        dots, other = buffers[:, :size].reshape(2, len(queries), stop - start)
        for level, ring in enumerate(search.rings):
            products = np.matmul(queries[:, ring], search.gallery[start:stop, ring].T, out=other)
            if level:
                np.add(dots, products, out=dots)
            else:
                dots, other = other, dots
            cosines = np.multiply(dots, inverse[level, start:stop], out=other)
            exclude_rows(cosines, search.exclude, part, start)
            _keep_larger(best[level], nearest[level], cosines, start)
    return nearest


def _keep_larger(
    best: Float[np.ndarray, " q"], nearest: Int64[np.ndarray, " q"], cosines: np.ndarray, start: int
) -> None:
    at = cosines.argmax(axis=1)
    values = cosines[np.arange(len(at)), at]
    larger = values > best  # strictly: of equal scores the earlier block, so the smaller row, stays
    best[larger] = values[larger]
    nearest[larger] = at[larger] + start
