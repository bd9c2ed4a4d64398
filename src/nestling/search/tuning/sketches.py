"""Which sketches are worth trying: many on a sample of the rows, the few that nothing beats on all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from nestling.nesting import Nesting
from nestling.search.derived import CELLS, Sketch
from nestling.search.derived.sketch import WIDEST
from nestling.search.tuning.questions import Questions
from nestling.search.tuning.scratch import Gallery, engine_with, sample_of, sketch_name

BYTES = (8, 12, 16, 24, 32, 48, 64)
BITS = (8, 4, 2, 1)
_ALL = 60_000  # rows up to which the sample is the gallery
_SOME = 32_000
_QUERIES = 200
_DEEP = 2000  # ranks of the whole gallery that are told apart
_PER_TARGET = 2
_AT_MOST = 7

# What a scan costs, roughly; measured times decide later, among the few that are left.
_SECONDS_A_BYTE = 1 / 25e9
_SECONDS_A_CANDIDATE = 60e-9


class Tried(NamedTuple):
    """A sketch and the rank that it gives each true neighbour in the whole gallery, about; inf beyond the list."""

    m: int
    bits: int
    bytes: float
    ranks: Float64[np.ndarray, "q k"]


def room(gallery: Gallery, budget: int) -> int:
    """Bytes of the budget that ids of int64 and the order of cells leave to a sketch."""
    manifest = gallery.snapshot.manifest
    return budget - (0 if manifest.ids == "string" else 8) - (4 if CELLS in manifest.derived else 0)


def candidates(nesting: Nesting, most: int, *, metric: str = "cosine") -> list[tuple[int, int]]:
    """(dims, bits) of sketches with at most so many bytes a vector."""
    found: dict[tuple[int, int], None] = {}
    for bits in BITS:
        widest = min(nesting.width, WIDEST.get(bits, nesting.width))
        for size in BYTES:
            m = min(size * 8 // bits, widest)
            if stored_bytes(Sketch(m, bits, nesting=nesting, metric=metric)) <= most:
                found[m, bits] = None
    return list(found)


def stored_bytes(sketch: Sketch) -> float:
    """Of one vector: codes, scales, bounds, norms."""
    few, many = (sum(s.bytes for s in sketch.sections(64 * blocks)) for blocks in (1, 2))
    return (many - few) / 64


def tried(
    gallery: Gallery, questions: Questions, names: Iterable[tuple[int, int]], rng: np.random.Generator
) -> list[Tried]:
    """Rank the true neighbours of some queries by each sketch, in a sample of the rows that holds them all."""
    names = list(names)
    if not names:
        return []
    some = questions.part(np.arange(min(len(questions), _QUERIES)))
    rows, random = _sampled(gallery, some, rng)
    snapshot = sample_of(gallery, rows, max(m for m, _ in names))
    weight = len(gallery.live) / max(int(random.sum()), 1)
    depth = min(len(rows), int(_DEEP / weight) + int((~random).sum()) + 20 * questions.asked)
    found: list[Tried] = []
    engine = engine_with(snapshot, [sketch_name(m, bits) for m, bits in names])
    true = np.searchsorted(rows, some.rows)
    x = np.ascontiguousarray(some.x[:, : snapshot.nesting.width])
    for m, bits in names:
        ranked, _ = engine.search(x, engine.resolved(f"{m}@{bits}:{depth}", None), threads=2)
        size = stored_bytes(Sketch(m, bits, nesting=snapshot.nesting, metric=snapshot.manifest.metric))
        found.append(Tried(m, bits, size, _ranks(ranked, true, random, weight)))
    return found


def worth(tries: Sequence[Tried], n: int, levels: Sequence[float], *, probed: bool) -> list[tuple[int, int]]:
    """The sketches that are cheapest at some recall; `probed` also counts those whose scan will read few rows."""
    wins: dict[tuple[int, int], int] = {}
    for part in (1.0, 0.05) if probed else (1.0,):
        for level in levels:
            priced = sorted((_price(one, n * part, level), one.bytes, one.m, one.bits) for one in tries)
            for place, (price, _, m, bits) in enumerate(priced[:_PER_TARGET]):
                if np.isfinite(price):
                    wins[m, bits] = wins.get((m, bits), 0) + _PER_TARGET - place
    if not wins and tries:  # none reaches any level within its list: the best there is may still help
        best = min(tries, key=lambda one: float(np.isinf(one.ranks).mean()))
        wins[best.m, best.bits] = 1
    return sorted(wins, key=lambda name: -wins[name])[:_AT_MOST]


def _price(one: Tried, n: float, level: float) -> float:
    """Seconds until a shortlist holds this share of the true neighbours."""
    keep = float(np.quantile(one.ranks, level, method="inverted_cdf"))
    return n * one.bytes * _SECONDS_A_BYTE + keep * _SECONDS_A_CANDIDATE


def _sampled(
    gallery: Gallery, some: Questions, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " s"], Bool[np.ndarray, " s"]]:
    """Rows in order, and which of them were drawn."""
    n = len(gallery.live)
    if n <= _ALL:
        return gallery.live, np.ones(n, bool)
    drawn = gallery.live[rng.choice(n, _SOME, replace=False)]
    rows = np.union1d(drawn, some.rows)
    return rows, np.isin(rows, drawn)


def _ranks(
    ranked: Int64[np.ndarray, "q L"], true: Int64[np.ndarray, "q k"], random: Bool[np.ndarray, " s"], weight: float
) -> Float64[np.ndarray, "q k"]:
    """Each drawn row before a neighbour stands for `weight` rows of the gallery."""
    drawn = random[ranked] & (ranked >= 0)
    before = np.cumsum(drawn, axis=1) * weight
    place = places(ranked, true)
    last = np.minimum(place, ranked.shape[1] - 1)
    return np.where(place < ranked.shape[1], np.take_along_axis(before, last, axis=1), np.inf)


def places(ranked: Int64[np.ndarray, "q L"], true: Int64[np.ndarray, "q k"]) -> Int64[np.ndarray, "q k"]:
    """Where each true neighbour stands in its query's list; L if it does not."""
    found = np.full(true.shape, ranked.shape[1], np.int64)
    for i in range(len(true)):
        row, wanted = np.asarray(ranked[i]), np.asarray(true[i])
        order = np.argsort(row, kind="stable")
        at = np.minimum(np.searchsorted(row, wanted, sorter=order), len(row) - 1)
        there = row[order[at]] == wanted
        found[i, there] = order[at[there]]
    return found
