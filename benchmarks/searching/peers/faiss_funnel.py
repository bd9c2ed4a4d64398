"""FAISS's own funnel: nested IndexRefine over prefixes that are normalised anew."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from benchmarks.searching.peers.base import Base, Built, Setting, geometric
from benchmarks.searching.peers.faiss_tools import (
    FaissBuilt,
    FaissPeer,
    faiss,
    fill,
    full_store,
    prefixed,
    saved_bytes,
    store_of,
)


class Refined(FaissBuilt):
    """A coarse index, perhaps a middle store, a full-width store: the shortlist of each stage is a setting.

    FAISS multiplies: the outer search asks its base for k × k_factor.
    """

    def __init__(self, coarse: Any, middle: Any | None, full: Any, build_s: float, disk_bytes: int) -> None:
        self.coarse, self.middle, self.full = coarse, middle, full
        inner = coarse if middle is None else faiss.IndexRefine(coarse, middle)
        super().__init__(faiss.IndexRefine(inner, full), build_s, disk_bytes)
        self.inner = inner

    def ladders(self) -> Sequence[Sequence[Setting]]:
        coarse = geometric(10, 2000)
        if self.middle is None:
            return [[(keep,) for keep in coarse]]
        return [[(keep, kept) for keep in coarse if keep >= kept] for kept in (10, 13, 16, 20, 30, 50, 100)]

    def parameters(self, setting: Setting, k: int = 10) -> Any:
        *before, last = setting
        inner = None
        if before:
            inner = faiss.IndexRefineSearchParameters(k_factor=before[0] / last)
        return faiss.IndexRefineSearchParameters(k_factor=last / k, base_index_params=inner)


class FaissFunnel(FaissPeer):
    """Flat or PQFastScan on m dims, perhaps a middle prefix, then full width."""

    name = "faiss-funnel"
    goals = (0.95, 0.98, 0.99)

    def shapes(self, rows: int, dims: int) -> Sequence[str]:
        """A middle prefix pays where a full row is long, finer parts where early dims carry most."""
        del rows
        found = []
        for m in (64, 128, 96, 48, 32, 24, 256):
            long = dims > 512
            parts = [count for count in ((m, m // 2) if long else (m // 2, m // 4, m)) if 8 <= count <= 128]
            middles = [f"→{middle} f32" for middle in (128, 256) if m < middle]
            if m <= dims and not (long and m == 256):
                found += [f"PQ{m}x{count}{middle}→f16" for count in parts for middle in (middles if long else [""])]
        return [*found, *(f"Flat{m}→f16" for m in (24, 32) if m < dims)]

    def told(self, shape: str, setting: Setting) -> str:
        return f"{shape} keep={'→'.join(f'{keep:g}' for keep in setting)}"

    def build(self, base: Base, shape: str) -> Built:
        how, *middle, last = shape.split("→")
        coarse, coarse_s, coarse_bytes = base.keep(f"funnel {how}", lambda: self._coarse(base, how))
        full, full_s = full_store(base, last)
        refiner, middle_s, middle_bytes = None, 0.0, 0
        if middle:
            refiner, middle_s, middle_bytes = base.keep(f"funnel {middle[0]}", lambda: self._middle(base, middle[0]))
        width = {"f32": 4, "f16": 2, "sq8": 1}[last]
        disk = coarse_bytes + middle_bytes + base.gallery.size * width
        return Refined(coarse, refiner, full, coarse_s + middle_s + full_s, disk)

    def _coarse(self, base: Base, how: str) -> tuple[Any, float, int]:
        found = re.fullmatch(r"(Flat|PQ)(\d+)(?:x(\d+))?", how)
        assert found
        m = int(found[2])
        if found[1] == "Flat":
            inner = faiss.IndexFlatIP(m)
        else:
            inner = faiss.IndexPQFastScan(m, int(found[3]), 4, faiss.METRIC_INNER_PRODUCT)
        index = prefixed(base.gallery.shape[1], m, inner)
        return index, fill(index, base), saved_bytes(index)

    def _middle(self, base: Base, text: str) -> tuple[Any, float, int]:
        m, kind = text.split(" ")
        index = prefixed(base.gallery.shape[1], int(m), store_of(kind, int(m)))
        return index, fill(index, base), saved_bytes(index)
