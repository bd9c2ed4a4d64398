"""Vectors by seed: class centroids and noise, dimension j scaled by j^-0.6, normalised; and the same rotated.

Row i depends only on the seed and i, so a smaller set is the beginning of a larger one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.searching.data import store

CHUNK = 5_000
QUERIES = 2_000


@dataclass(frozen=True, slots=True)
class Structured:
    """Centroids and noise of falling scale (``rotated``: times a random orthogonal matrix)."""

    name: str
    dims: int = 2048
    classes: int = 1000
    noise: float = 0.7
    decay: float = 0.6
    seed: int = 0
    rotated: bool = False
    dtype: str = "<f4"

    def gallery(self, rows: int) -> np.ndarray:
        """(rows, dims), mapped; the beginning of a larger file where there is one."""
        for path in store.folder().glob(f"{self.name}-*.npy"):
            size = path.stem.rpartition("-")[2]
            if size.isdigit() and int(size) >= rows:
                return store.mapped(path.stem)[:rows]
        name = f"{self.name}-{rows}"
        store.write(name, (rows, self.dims), self._chunks(rows), self.dtype)
        return store.mapped(name)

    def queries(self) -> np.ndarray:
        """(QUERIES, dims) of the same distribution, not in the gallery."""
        return store.keep(f"{self.name}-queries", lambda: next(self._rotations([self._rows(QUERIES, 3)])))

    def _chunks(self, rows: int) -> Iterator[np.ndarray]:
        made = (self._rows(min(CHUNK, rows - at), 2, at // CHUNK) for at in range(0, rows, CHUNK))
        return self._rotations(made)

    def _rotations(self, chunks) -> Iterator[np.ndarray]:
        rotation = self._rotation() if self.rotated else None
        return (chunk if rotation is None else chunk @ rotation for chunk in chunks)

    def _rows(self, count: int, *stream: int) -> np.ndarray:
        """Drawn whole chunks at a time: a part of a chunk is its beginning."""
        scale = np.arange(1, self.dims + 1, dtype=np.float64) ** -self.decay
        centroids = np.random.default_rng([self.seed, 1]).standard_normal((self.classes, self.dims), np.float32)
        centroids *= scale.astype(np.float32)
        rng = np.random.default_rng([self.seed, *stream])
        labels = rng.integers(self.classes, size=max(count, CHUNK))[:count]
        x = rng.standard_normal((count, self.dims), np.float32)
        x *= (self.noise * scale).astype(np.float32)
        x += centroids[labels]
        return store.normalized(x)

    def _rotation(self) -> np.ndarray:
        square = np.random.default_rng([self.seed, 4]).standard_normal((self.dims, self.dims))
        q, r = np.linalg.qr(square)
        return (q * np.sign(np.diag(r))).astype(np.float32)


GENERATED = {
    which.name: which
    for which in (
        Structured("structured"),
        Structured("rotated", rotated=True),
        Structured("ten-million", dims=256, dtype="<f2"),
    )
}
