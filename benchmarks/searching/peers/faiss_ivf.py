"""Inverted lists by FAISS on a prefix, refined at full width."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.searching.peers.base import BUILD_THREADS, Base, Built, Setting, geometric
from benchmarks.searching.peers.faiss_funnel import Refined
from benchmarks.searching.peers.faiss_tools import FaissPeer, faiss, fill, full_store, prefixed, sample, saved_bytes

_IP = 0  # faiss.METRIC_INNER_PRODUCT, when faiss is not installed too


class _Probed(Refined):
    def __init__(self, lists: int, *parts: Any) -> None:
        super().__init__(*parts)
        self.lists = lists

    def ladders(self) -> Sequence[Sequence[Setting]]:
        probes = [probe for probe in geometric(1, 256, 1.3) if probe <= self.lists]
        return [[(probe, keep) for probe in probes] for keep in (20, 40, 70, 120, 220, 500)]

    def parameters(self, setting: Setting, k: int = 10) -> Any:
        probe, keep = setting
        lists = faiss.SearchParametersIVF(nprobe=int(probe))
        chain = faiss.SearchParametersPreTransform(index_params=lists)
        return faiss.IndexRefineSearchParameters(k_factor=keep / k, base_index_params=chain)


class FaissIvfRefine(FaissPeer):
    """k-means cells on m dims; in the cells PQFastScan (m/2 parts, or m: PQ1) or 8-bit codes; then float16 rows.

    Float prefixes and RaBitQ in the cells were slower at every recall.
    """

    name = "faiss-ivf-refine"
    words = ("nprobe", "keep")

    def shapes(self, rows: int, dims: int) -> Sequence[str]:
        lists = [n for n in (256, 512, 1024, 2048, 4096, 8192) if rows / 500 <= n <= rows / 30]
        widths = [m for m in (64, 128, 32, 256) if m <= dims]
        return [f"IVF{n}({m}),{kind}→f16" for m in widths for n in lists for kind in ("PQ", "PQ1", "SQ8")]

    def like(self, shapes: Sequence[str], best: Sequence[str]) -> Sequence[str]:
        """The same prefix and codes, with each number of lists that suits the larger gallery."""
        codes = {shape[shape.index("(") :] for shape in best}
        return [shape for shape in shapes if shape[shape.index("(") :] in codes]

    def build(self, base: Base, shape: str) -> Built:
        found = re.match(r"IVF(\d+)\((\d+)\),(\w+)", shape)
        assert found
        lists, m, kind = int(found[1]), int(found[2]), found[3]
        centroids, seconds = base.keep(f"ivf {lists} {m}", lambda: _centroids(base, lists, m))
        quantizer = faiss.IndexFlatIP(m)
        quantizer.add(centroids)
        index = prefixed(base.gallery.shape[1], m, _lists(quantizer, lists, kind))
        seconds += fill(index, base)
        full, full_s = full_store(base, "f16")
        size = saved_bytes(index) + base.gallery.size * 2
        return _Probed(lists, index, None, full, seconds + full_s, size)


def _centroids(base: Base, lists: int, m: int) -> tuple[np.ndarray, float]:
    """k-means of a sample's normalised prefixes, and its seconds: the same for all codes in the lists."""
    index = prefixed(base.gallery.shape[1], m, faiss.IndexIVFFlat(faiss.IndexFlatIP(m), m, lists, _IP))
    faiss.omp_set_num_threads(BUILD_THREADS)
    started = time.perf_counter()
    index.train(sample(base))
    seconds = time.perf_counter() - started
    return faiss.downcast_index(faiss.extract_index_ivf(index).quantizer).reconstruct_n(0, lists), seconds


def _lists(quantizer: Any, lists: int, kind: str) -> Any:
    m = quantizer.d
    if kind == "SQ8":
        return faiss.IndexIVFScalarQuantizer(quantizer, m, lists, faiss.ScalarQuantizer.QT_8bit, _IP)
    return faiss.IndexIVFPQFastScan(quantizer, m, lists, m if kind == "PQ1" else m // 2, 4, _IP)
