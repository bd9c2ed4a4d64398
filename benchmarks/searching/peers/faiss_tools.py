"""What the FAISS peers share: streaming adds, prefixes, full-width stores, sizes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.searching.peers.base import BUILD_THREADS, Base, Built, Peer

try:
    import faiss
except ImportError:  # the peers say so
    faiss = None

CHUNK = 16_384
TRAIN = 160_000
_STORES: dict[str, Callable[[int, int], Any]] = {
    "f32": lambda d, metric: faiss.IndexFlat(d, metric),
    "f16": lambda d, metric: faiss.IndexScalarQuantizer(d, faiss.ScalarQuantizer.QT_fp16, metric),
    "sq8": lambda d, metric: faiss.IndexScalarQuantizer(d, faiss.ScalarQuantizer.QT_8bit, metric),
}


class FaissPeer(Peer):
    """A peer of the module faiss."""

    package = "faiss"


class FaissBuilt(Built):
    """An index, and the full-width store that it refines with, if any."""

    def __init__(self, index: Any, build_s: float, disk_bytes: int) -> None:
        self.index, self.build_s, self.disk_bytes = index, build_s, disk_bytes
        self.memory_bytes = disk_bytes  # FAISS holds in memory what it saves
        self._parameters: dict[tuple[float, ...], Any] = {}  # making them takes microseconds

    def search(self, queries: np.ndarray, k: int, setting: tuple[float, ...], threads: int) -> np.ndarray:
        faiss.omp_set_num_threads(threads)
        if setting not in self._parameters:
            self._parameters[setting] = self.parameters(setting)
        return self.index.search(queries, k, params=self._parameters[setting])[1]

    def parameters(self, setting: tuple[float, ...]) -> Any:
        """The search parameters of a setting."""
        del setting
        return None


def fill(index: Any, base: Base) -> float:
    """Train on a sample and add all rows in chunks; returns the seconds."""
    faiss.omp_set_num_threads(BUILD_THREADS)
    started = time.perf_counter()
    if not index.is_trained:
        index.train(sample(base))
    for at in range(0, len(base.gallery), CHUNK):
        index.add(np.ascontiguousarray(base.gallery[at : at + CHUNK], np.float32))
    return time.perf_counter() - started


def sample(base: Base) -> np.ndarray:
    """At most TRAIN rows, drawn by seed."""
    rows = len(base.gallery)
    if rows <= TRAIN:
        return np.ascontiguousarray(base.gallery, np.float32)
    chosen = np.sort(np.random.default_rng(0).choice(rows, TRAIN, replace=False))
    return np.ascontiguousarray(base.gallery[chosen], np.float32)


def prefixed(dims: int, m: int, inner: Any, *, rotate: bool = False) -> Any:
    """`inner` on the first m dims, normalised anew; each row's prefix is used as it is when m is all."""
    index = faiss.IndexPreTransform(inner)
    if rotate:
        rotation = faiss.RandomRotationMatrix(m, m)
        rotation.init(1234)
        index.prepend_transform(rotation)
    if m < dims:
        index.prepend_transform(faiss.NormalizationTransform(m, 2.0))
        index.prepend_transform(faiss.RemapDimensionsTransform(dims, m, False))
    return index


def full_store(base: Base, kind: str) -> tuple[Any, float]:
    """The full-width vectors in FAISS (f32, f16, sq8) and the seconds that filling took; one for all peers."""

    def make() -> tuple[Any, float]:
        index = _STORES[kind](base.gallery.shape[1], faiss.METRIC_INNER_PRODUCT)
        return index, fill(index, base)

    return base.keep(f"faiss {kind}", make)


def store_of(kind: str, d: int) -> Any:
    """An empty store of one kind."""
    return _STORES[kind](d, faiss.METRIC_INNER_PRODUCT)


def saved_bytes(index: Any) -> int:
    """How long the index would be on disk, without writing it there."""
    total = 0

    def count(block: bytes) -> None:
        nonlocal total
        total += len(block)

    faiss.write_index(index, faiss.BufferedIOWriter(faiss.PyCallbackIOWriter(count), 1 << 22))
    return total
