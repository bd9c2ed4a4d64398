"""HNSW by FAISS at full width, 32 links; the graph is kept on disk, its vectors are the shared flat store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.searching.peers import saved
from benchmarks.searching.peers.base import BUILD_THREADS, Base, Built, Setting, geometric
from benchmarks.searching.peers.faiss_tools import FaissBuilt, FaissPeer, faiss, fill, full_store


class _Graph(FaissBuilt):
    def ladders(self) -> Sequence[Sequence[Setting]]:
        return [[(ef,) for ef in geometric(10, 2000, 1.15)]]

    def parameters(self, setting: Setting) -> Any:
        return faiss.SearchParametersHNSW(efSearch=int(setting[0]))


class FaissHnsw(FaissPeer):
    """IndexHNSWFlat; ``efC`` is efConstruction, 40 unless said."""

    name = "faiss-hnsw"
    goals = (0.95, 0.98, 0.99)
    words = ("efSearch",)
    slow_build = True

    def shapes(self, rows: int, dims: int) -> Sequence[str]:
        del rows, dims
        return ["HNSW32"]

    def build(self, base: Base, shape: str) -> Built:
        path = saved.place(self.name, base.name, shape)
        graph = saved.found(path) or self._save(base, shape, path)
        index = faiss.read_index(str(graph.file))
        index.storage, _ = full_store(base, "f32")
        index.own_fields = False
        return _Graph(index, graph.build_s, graph.file.stat().st_size + base.gallery.nbytes)

    def _save(self, base: Base, shape: str, path: Any) -> saved.Saved:
        _, _, width = shape.partition(" efC=")
        index = faiss.IndexHNSWFlat(base.gallery.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = int(width or 40)
        clock = saved.Clock(BUILD_THREADS)
        fill(index, base)
        seconds = clock.seconds()
        faiss.write_index(index, str(path), faiss.IO_FLAG_SKIP_STORAGE)
        return saved.finish(path, seconds, BUILD_THREADS)
