"""Whether the prefixes of vectors that exist carry more than any other dims of as many numbers would.

What a prefix keeps is measured by the full vectors' own neighbours, so no labels are needed. It is held against dims
drawn at random, which a nested model must beat, and against principal components, the best of all linear maps for
reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from nestling.errors import InputError
from nestling.metrics import neighbor_recall
from nestling.nesting import Nesting
from nestling.search import exact

NESTED, PRINCIPAL, PLAIN = "nested", "principal", "plain"
"""Verdicts: learnt prefixes; principal components; prefixes like any other dims."""

_DRAWS = 3  # of dims at random
_LEAST = 0.1  # of what principal components gain over random dims, for a prefix to count as more than chance
_DIAGONAL, _FALLING = 0.9, 0.9  # of principal components: nothing off the diagonal, variances in order


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """What prefixes keep of the full vectors' neighbours.

    Attributes:
        nesting: the prefixes, all narrower than the vectors.
        cut: (K, q) the part of each query's true neighbours that the prefix finds.
        random: (K, q) the same by as many dims drawn at random, mean of three draws.
        principal: (K, q) by as many uncentred principal components of the gallery.
        diagonal: the part of the second moments' squares that lies on the diagonal, about zero or about the mean,
            whichever is larger; 1 for principal components.
        falling: rank correlation of the variances with a falling order; 1 for principal components.
    """

    nesting: Nesting
    cut: Float64[np.ndarray, "K q"]
    random: Float64[np.ndarray, "K q"]
    principal: Float64[np.ndarray, "K q"]
    diagonal: float
    falling: float

    @property
    def verdict(self) -> str:
        """`PLAIN` unless prefixes beat random dims (95 %, paired) by a tenth of what principal components do; then
        `PRINCIPAL` if they are such components, else `NESTED`."""
        gain = (self.cut - self.random).mean(axis=0)
        least = float(gain.mean()) - 1.96 * float(gain.std(ddof=1)) / np.sqrt(len(gain))
        best = float((self.principal - self.random).mean())
        if least <= 0 or float(gain.mean()) < _LEAST * best:
            return PLAIN
        return PRINCIPAL if self.diagonal >= _DIAGONAL and self.falling >= _FALLING else NESTED


def compare_prefixes(
    gallery: Float[np.ndarray, "n d"],
    queries: Float[np.ndarray, "q d"],
    nesting: Nesting,
    *,
    k: int = 10,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Prefixes:
    """Measure the prefixes that are narrower than the vectors, by cosine.

    Args:
        gallery: finite, some thousand rows; every one is compared with every query, several times for each prefix.
        queries: finite, none of them in the gallery; at least two.
        k: neighbours.
        progress: called with how many prefixes are done, of how many.

    Raises:
        InputError: no prefix is narrower, fewer than two queries, or k larger than the gallery.
        ShapeError: the arrays do not fit the nesting.
    """
    d = gallery.shape[1]
    narrower = tuple(m for m in nesting if m < d)
    if not narrower or len(queries) < 2:
        raise InputError.of("vectors", "wider than their first prefix, with two queries or more", f"{d} dims")
    base, asked = np.asarray(gallery, np.float32), np.asarray(queries, np.float32)
    true = exact(base, asked, k).ids
    unit = base / np.maximum(np.linalg.norm(base, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    axes = _principal_axes(unit)
    orders = [np.random.default_rng((seed, draw)).permutation(d) for draw in range(_DRAWS)]
    views = [(base, asked), (base @ axes, asked @ axes), *((base[:, o], asked[:, o]) for o in orders)]
    kept = np.empty((len(views), len(narrower), len(queries)))
    for at, m in enumerate(narrower):
        for view, (x, y) in enumerate(views):
            kept[view, at] = neighbor_recall(exact(x, y, k, m=m).ids, true)
        if progress is not None:
            progress(at + 1, len(narrower))
    diagonal, falling = _like_components(unit)
    return Prefixes(Nesting(narrower), kept[0], kept[2:].mean(axis=0), kept[1], diagonal, falling)


def _principal_axes(x: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "d d"]:
    """Columns: the axes of the second moments, the largest first."""
    _, vectors = np.linalg.eigh((x.T @ x).astype(np.float64))
    return np.ascontiguousarray(vectors[:, ::-1].astype(np.float32))


def _like_components(x: Float32[np.ndarray, "n d"]) -> tuple[float, float]:
    """(diagonal, falling) of `Prefixes`."""
    whole = (x.T @ x).astype(np.float64) / len(x)
    mean = x.mean(axis=0, dtype=np.float64)
    centred = whole - np.outer(mean, mean)
    variances = np.diag(centred)
    ranks = np.argsort(np.argsort(-variances, kind="stable"))
    falling = float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1]) if len(ranks) > 1 else 1.0
    return max(_on_diagonal(whole), _on_diagonal(centred)), falling


def _on_diagonal(c: Float64[np.ndarray, "d d"]) -> float:
    total = float((c**2).sum())
    return float((np.diag(c) ** 2).sum()) / total if total > 0 else 1.0
