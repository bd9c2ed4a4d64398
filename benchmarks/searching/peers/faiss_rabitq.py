"""RaBitQ codes by FAISS (1 bit and more per dim, randomly rotated), refined at full width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from benchmarks.searching.peers.base import Base, Built, Setting
from benchmarks.searching.peers.faiss_funnel import Refined
from benchmarks.searching.peers.faiss_tools import FaissPeer, faiss, fill, full_store, prefixed, saved_bytes


class FaissRabitqRefine(FaissPeer):
    """RaBitQFastScan on a prefix or on all dims, then full width in float16.

    IndexRaBitQ (without FastScan) and 4 bits were slower at every recall.
    """

    name = "faiss-rabitq-refine"

    def shapes(self, rows: int, dims: int) -> Sequence[str]:
        del rows
        widths = [m for m in (128, 256, 64, 512, 2048) if m <= dims]
        return [f"FastScan{m}x{bits}→f16" for m in widths for bits in (1, 2)]

    def told(self, shape: str, setting: Setting) -> str:
        return f"{shape} keep={setting[0]:g}"

    def build(self, base: Base, shape: str) -> Built:
        coarse, seconds, size = base.keep(f"rabitq {shape}", lambda: self._coarse(base, shape))
        full, full_s = full_store(base, "f16")
        return Refined(coarse, None, full, seconds + full_s, size + base.gallery.size * 2)

    def _coarse(self, base: Base, shape: str) -> tuple[Any, float, int]:
        found = re.match(r"FastScan(\d+)x(\d+)", shape)
        assert found
        m, bits = int(found[1]), int(found[2])
        inner = faiss.IndexRaBitQFastScan(m, faiss.METRIC_INNER_PRODUCT, 32, bits)
        index = prefixed(base.gallery.shape[1], m, inner, rotate=True)
        return index, fill(index, base), saved_bytes(index)
