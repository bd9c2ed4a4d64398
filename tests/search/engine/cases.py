"""Indexes for the tests, made of vectors of many kinds; examples are drawn by hypothesis."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nestling.nesting import Nesting
from nestling.search import _native
from nestling.search.exact import Metric
from nestling.search.index import Dtype, Index

KINDS = ("normal", "decaying", "rotated", "heavy", "copied", "spikes", "levels", "empty", "far", "clusters")
SETS = tuple(name for name in ("plain", "avx2", "avx512", "neon") if _native.choose_kernels(name))
_native.choose_kernels("auto")


def vectors(kind: str, n: int, d: int, seed: int) -> np.ndarray:
    """(n, d) float32 whose norms are about one, but for "heavy"."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    decay = (np.arange(1, d + 1) ** -0.6).astype(np.float32)
    if kind in ("decaying", "rotated", "clusters"):
        centers = rng.standard_normal((max(1, n // 20), d)).astype(np.float32)
        x = (0.7 * x + centers[rng.integers(len(centers), size=n)]) * decay
    if kind == "clusters":
        x = x[np.lexsort(x.T[:1])]
    if kind == "rotated":
        x = x @ np.linalg.qr(rng.standard_normal((d, d)))[0].astype(np.float32)
    if kind == "heavy":
        x = (x * np.abs(rng.standard_cauchy((n, 1))) ** 1.5).clip(-1000, 1000).astype(np.float32)
        return x / np.float32(max(1, np.abs(x).max() / 30))
    if kind == "copied":
        x = x[rng.integers(max(1, n // 5), size=n)]
    if kind == "spikes":
        x = np.where(np.abs(x) > 1.5, x, 0).astype(np.float32)
    if kind == "levels":
        return rng.integers(-1, 2, (n, d)).astype(np.float32)
    if kind == "empty":
        x[rng.random(n) < 0.4] = 0
    if kind == "far":
        return (x / 8 + 3 * rng.standard_normal(d)).astype(np.float32)
    return (x / np.sqrt(np.float32(d))).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """How to make an index."""

    seed: int
    kind: str = "normal"
    metric: Metric = "cosine"
    dtype: Dtype = "float16"
    dims: tuple[int, ...] = (8, 24, 50)
    sizes: tuple[int, ...] = (200,)
    parts: tuple[str, ...] = ()
    deleted: float = 0.0
    texts: bool = False
    cells: int | None = None
    scale: float = 1.0
    query_scale: float = 1.0
    offset: float = 0.0
    decades: int = 0

    @property
    def rows(self) -> np.ndarray:
        """(n, d), all segments one after another."""
        x = vectors(self.kind, sum(self.sizes), self.dims[-1], self.seed) + np.float32(self.offset)
        lengths = 10 ** np.random.default_rng(self.seed + 5).uniform(-self.decades, 0, (len(x), 1))
        return (x * (self.scale * lengths)).astype(np.float32)

    @property
    def ids(self) -> list[Any]:
        """Shuffled, so that their order is not that of the rows."""
        order = np.random.default_rng(self.seed + 1).permutation(3 * sum(self.sizes))[: sum(self.sizes)]
        return [f"ü{i:x}" * (1 + i % 2) for i in order] if self.texts else order.tolist()

    def queries(self, q: int) -> np.ndarray:
        """Some drawn like the rows, some of them rows, one now and then all zeros."""
        rng = np.random.default_rng(self.seed + 2)
        found = vectors(self.kind, max(q, 2), self.dims[-1], self.seed + 3)[:q] + np.float32(self.offset)
        found[rng.random(q) < 0.05] = 0
        found = (found * self.query_scale).astype(np.float32)
        copied = rng.random(q) < 0.3
        found[copied] = self.rows[rng.integers(sum(self.sizes), size=int(copied.sum()))]
        return found


@contextmanager
def made(case: Case) -> Iterator[Index]:
    """The index of a case: its later segments come after its parts were derived, the last after it was partitioned."""
    folder = Path(tempfile.mkdtemp())
    try:
        index = Index.create(folder / "x.nest", Nesting(case.dims), metric=case.metric, dtype=case.dtype)
        rows, ids, start = case.rows, case.ids, 0
        for place, size in enumerate(case.sizes):
            index.add(rows[start : start + size], ids[start : start + size])
            start += size
            if place == 0 and case.parts:
                index.derive(*case.parts)
            if place == max(0, len(case.sizes) - 2) and case.cells is not None:
                index.partition(min(case.cells, len(index)), case.dims[case.seed % len(case.dims)])
        gone = np.random.default_rng(case.seed + 4).random(len(ids)) < case.deleted
        if gone.any():
            index.delete([name for name, dead in zip(ids, gone, strict=True) if dead])
        with index:
            yield index
    finally:
        shutil.rmtree(folder)


@st.composite
def cases(draw: st.DrawFn, *, most: int = 200) -> Case:
    """Any index."""
    dims = tuple(
        np.cumsum(draw(st.lists(st.sampled_from((1, 2, 3, 5, 8, 13, 16, 31, 40, 64)), min_size=1, max_size=3))).tolist()
    )
    width = dims[-1]
    sketches = draw(st.lists(st.tuples(st.integers(1, width), st.sampled_from((1, 2, 4, 8))), max_size=2, unique=True))
    stops = [str(m) for m in dims if draw(st.booleans())]
    parts = [f"sketch-{m}@{bits}" for m, bits in sketches] + (["copy-" + ",".join(stops)] if stops else [])
    return Case(
        seed=draw(st.integers(0, 10_000)),
        kind=draw(st.sampled_from(KINDS)),
        metric=draw(st.sampled_from(("cosine", "ip", "l2"))),
        dtype=draw(st.sampled_from(("float16", "float32"))),
        dims=dims,
        sizes=tuple(draw(st.lists(st.integers(1, most), min_size=1, max_size=3))),
        parts=tuple(parts),
        deleted=draw(st.sampled_from((0.0, 0.0, 0.3, 0.9))),
        texts=draw(st.booleans()),
        cells=draw(st.sampled_from((None, None, 1, 3, 9))),
    )


@st.composite
def plans(draw: st.DrawFn, case: Case, cells: int | None) -> str:
    """Any plan that fits a case."""
    keeps = st.one_of(st.integers(1, 40), st.integers(1, 3 * sum(case.sizes)))
    sketches = [part.removeprefix("sketch-") for part in case.parts if part.startswith("sketch")]
    copies = [int(m) for part in case.parts if part.startswith("copy") for m in part.removeprefix("copy-").split(",")]
    stages, m = [], 0
    if sketches and draw(st.integers(0, 3)):
        stages.append(draw(st.sampled_from(sketches)))
        m = int(stages[0].partition("@")[0])
        stages += [f"{stop}@8" for stop in copies if stop >= m and draw(st.booleans())]
        m = int(stages[-1].partition("@")[0])
    stored = [stop for stop in case.dims if stop >= m]
    chosen = [stop for stop in stored if draw(st.booleans())] or ([] if stages else stored[-1:])
    stages += [str(stop) for stop in chosen]
    lengths = sorted((draw(keeps) for _ in stages), reverse=True)
    text = ",".join(f"{stage}:{keep}" for stage, keep in zip(stages, lengths, strict=True))
    return f"probe={draw(st.integers(1, cells))};{text}" if cells and draw(st.booleans()) else text


def permitted(index: Index, share: float, seed: int, *, mask: bool) -> Any:
    """Some of an index's vectors, as a mask or as ids."""
    ids = index.ids()
    allowed = np.random.default_rng(seed).random(len(ids)) < share
    return allowed if mask else ids[allowed].tolist()


def equal_bits(hits: Sequence[Any]) -> bool:
    """Whether all of these Hits are the same to the bit."""
    first = hits[0]
    return all(h.ids.tolist() == first.ids.tolist() and h.scores.tobytes() == first.scores.tobytes() for h in hits[1:])
