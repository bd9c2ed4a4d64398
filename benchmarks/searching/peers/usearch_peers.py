"""USearch: its exact search over a matrix, and its HNSW."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.searching.peers import saved
from benchmarks.searching.peers.base import BUILD_THREADS, Base, Built, Peer, Setting, geometric

_BYTES = {"f32": 4, "f16": 2, "i8": 1}


class _Matrix(Built):
    def __init__(self, x: np.ndarray, seconds: float) -> None:
        self.x, self.build_s = x, seconds
        self.memory_bytes = self.disk_bytes = x.nbytes

    def ladders(self) -> Sequence[Sequence[Setting]]:
        return [[()]]

    def search(self, queries: np.ndarray, k: int, setting: Setting, threads: int) -> np.ndarray:
        from usearch.index import MetricKind
        from usearch.index import search as exact

        del setting

        found = exact(self.x, queries.astype(self.x.dtype), k, MetricKind.IP, exact=True, threads=threads)
        return found.keys.reshape(len(queries), -1).astype(np.int64)


class UsearchExact(Peer):
    """Every product at full width; float32, and float16, which is what we store."""

    name = "usearch-exact"
    package = "usearch"
    goals = (1.0,)

    def shapes(self, rows: int, dims: int) -> Sequence[str]:
        del rows, dims
        return ["f32"]

    def build(self, base: Base, shape: str) -> Built:
        started = time.perf_counter()
        x = np.array(base.gallery, {"f32": np.float32, "f16": np.float16}[shape])
        return _Matrix(x, time.perf_counter() - started)


class _Graph(Built):
    def __init__(self, index: Any, seconds: float, size: int) -> None:
        self.index, self.build_s = index, seconds
        self.memory_bytes, self.disk_bytes = index.memory_usage, size

    def ladders(self) -> Sequence[Sequence[Setting]]:
        return [[(ef,) for ef in geometric(10, 2000, 1.15)]]

    def search(self, queries: np.ndarray, k: int, setting: Setting, threads: int) -> np.ndarray:
        self.index.expansion_search = int(setting[0])
        found = self.index.search(queries, k, threads=threads)
        return found.keys.reshape(len(queries), -1).astype(np.int64)


class UsearchHnsw(Peer):
    """Its graph in float16 or int8 rows, 16 links (its own default) or 32."""

    name = "usearch-hnsw"
    package = "usearch"
    goals = (0.95, 0.98, 0.99)
    words = ("expansion_search",)
    slow_build = True

    def shapes(self, rows: int, dims: int) -> Sequence[str]:
        del rows, dims
        return ["f16 M=16", "f16 M=32", "i8 M=16"]

    def build(self, base: Base, shape: str) -> Built:
        from usearch.index import Index

        path = saved.place(self.name, base.name, shape)
        graph = saved.found(path)
        if graph is None:
            index, seconds = self._fill(base, shape)
            index.save(str(path))
            graph = saved.finish(path, seconds, BUILD_THREADS)
        else:
            index = Index.restore(str(path))
        return _Graph(index, graph.build_s, graph.file.stat().st_size)

    def _fill(self, base: Base, shape: str) -> tuple[Any, float]:
        from usearch.index import Index, MetricKind

        kind, _, links = shape.partition(" M=")
        metric = MetricKind.Cos if kind == "i8" else MetricKind.IP
        index = Index(ndim=base.gallery.shape[1], metric=metric, dtype=kind, connectivity=int(links))
        clock = saved.Clock(BUILD_THREADS)
        for at in range(0, len(base.gallery), 16_384):
            chunk = np.ascontiguousarray(base.gallery[at : at + 16_384], np.float32)
            index.add(np.arange(at, at + len(chunk)), chunk, threads=BUILD_THREADS)
        return index, clock.seconds()
