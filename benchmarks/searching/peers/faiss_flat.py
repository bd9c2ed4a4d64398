"""Exact search by FAISS: IndexFlatIP, and Panorama, which stops a row's product where a bound on the rest allows."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.searching.peers.base import Base, Built, Setting
from benchmarks.searching.peers.faiss_tools import FaissBuilt, FaissPeer, faiss, fill, full_store, saved_bytes


class _Exact(FaissBuilt):
    def ladders(self) -> Sequence[Sequence[Setting]]:
        return [[()]]


class FaissFlat(FaissPeer):
    """Every product at full width, float32."""

    name = "faiss-flat"
    goals = (1.0,)

    def shapes(self, rows: int, dims: int) -> Sequence[str]:
        del rows, dims
        return ["IndexFlatIP"]

    def build(self, base: Base, shape: str) -> Built:
        del shape
        index, seconds = full_store(base, "f32")
        return _Exact(index, seconds, base.gallery.nbytes)


class FaissPanorama(FaissPeer):
    """Exact, by levels; their number decides its speed (8 levels are many times slower than 64 on nested vectors)."""

    name = "faiss-panorama"
    goals = (1.0,)

    def shapes(self, rows: int, dims: int) -> Sequence[str]:
        del rows
        return [f"{metric} levels={levels}" for metric in ("IP", "L2") for levels in (16, 32, 64, 128) if levels < dims]

    def build(self, base: Base, shape: str) -> Built:
        metric, _, levels = shape.partition(" levels=")
        made = {"IP": faiss.IndexFlatIPPanorama, "L2": faiss.IndexFlatL2Panorama}[metric]
        index = made(base.gallery.shape[1], int(levels), 128)
        seconds = fill(index, base)
        return _Exact(index, seconds, saved_bytes(index))
