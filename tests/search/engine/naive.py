"""Search as a stupid NumPy program on what an index stores, in float64: every vector is decoded, scored and sorted.

Where two scores differ by less than rounding either may come first. So a stage's shortlist is known as two sets: what
is on it surely, and what may be on it. Equal rows of a segment have equal scores and go by their number, in the end by
id.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from nestling.search.derived import CELLS, KMeans
from nestling.search.hits import Hits
from nestling.search.plan import Plan
from nestling.search.storage.segment import Segment
from nestling.search.storage.snapshot import Snapshot

ROUNDING = 6e-6  # of a float32 dot product, relative to |q| |x|
MOST = 127  # a query's largest weight (native/coded_query.cpp)
TOP = {1: 31, 2: 63}  # the largest entry of its tables


# --- the kernels' arithmetic -------------------------------------------------------------------------------


def dots(x: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Dot products (n,) of float32 rows with one query or as many, to the bit: 64 running sums, folded in one order."""
    sums = np.zeros((len(x), 64), np.float32)
    for start in range(0, x.shape[1], 64):
        part = x[:, start : start + 64] * query[..., start : start + 64]
        sums[:, : part.shape[1]] += part
    sums = (sums[:, :16] + sums[:, 16:32]) + (sums[:, 32:48] + sums[:, 48:])
    for half in (8, 4, 2, 1):
        sums = sums[:, :half] + sums[:, half:]
    return sums[:, 0]


def unit(query: np.ndarray) -> np.ndarray:
    """A query divided by its length as the kernels do it."""
    norm = dots(query[None], query)[0]
    return query * (np.float32(1) / np.sqrt(norm) if norm > 0 else np.float32(0))


def rounded(weights: np.ndarray, most: int) -> tuple[np.ndarray, float]:
    """Whole numbers and their unit: what a query becomes before it meets codes."""
    size = np.abs(weights).max(initial=np.float32(0)) / np.float32(most)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / size
    if not np.isfinite(inverse):
        return np.zeros(len(weights)), 0.0
    return np.clip(np.rint(weights * inverse), -most, most).astype(np.float64), float(size)


def tabulated(weights: np.ndarray, bits: int) -> tuple[np.ndarray, float, float]:
    """What each half byte of codes adds (halves, 16) for a query of so many weights, the unit, and half of the span."""
    each, most = 4 // bits, 2**bits - 1
    w = np.zeros((-(-len(weights) * bits // 8) * 2, each), np.float32)
    w.reshape(-1)[: len(weights)] = weights
    ranges, sums = np.zeros(len(w), np.float32), np.zeros((len(w), 16), np.float32)
    for j in range(each):
        ranges += np.float32(most) * np.abs(w[:, j])
        code = np.arange(16) >> j * bits & most
        away = np.where(w[:, j, None] < 0, most - code, code).astype(np.float32)
        sums += np.abs(w[:, j, None]) * away
    top = min(TOP[bits], 32767 // len(w))
    unit, coarse, up = stepped(ranges, bits, top)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / unit
    if not np.isfinite(inverse):
        return np.zeros(sums.shape), 0.0, 0.0
    times = np.where(np.arange(len(w)) < 2 * coarse, 2.0**up, 1.0).astype(np.float32)[:, None]
    entries = np.minimum(np.rint(sums * (inverse / times)), top) * times
    return entries.astype(np.float64), float(unit), float(np.float32(ranges.sum(dtype=np.float64) / 2 / float(unit)))


def stepped(ranges: np.ndarray, bits: int, top: int) -> tuple[np.float32, int, int]:
    """The unit, how many lines go in steps of so many units, and the logarithm of those: what loses least."""
    lines, run = len(ranges) // 2, 4 if bits == 1 else 2
    choices = [(0, 0)]
    choices += [(at, up) for at in range(run, lines, run) for up in (1, 2, 3, 4)]
    best, least = (np.float32(0), 0, 0), np.inf
    for at, up in choices:
        if at and 2 * top * ((at << up) + lines - at) > 32767:
            continue
        before, after = ranges[: 2 * at].max(initial=0), ranges[2 * at :].max(initial=0)
        times = np.float32(2**up)
        unit = max(np.float32(after), np.float32(before / times)) / np.float32(top)
        error = float(unit) * float(unit) * ((at << 2 * up) + lines - at)
        if error < least:
            best, least = (unit, at, up), error
    return best


def unpacked(codes: np.ndarray, m: int, bits: int) -> np.ndarray:
    """Codes (positions, m) of a sketch's blocks (blocks, bytes), by the drawing in native/kernels.h."""
    position, dim = np.arange(64)[:, None], np.arange(m)[None]
    group, place = position // 16, position % 16
    if bits <= 2:
        each = 8 // bits
        byte, shift = dim // each * 64 + 2 * place + 32 * (group % 2) + group // 2, dim % each * bits + 0 * position
    else:
        parts = 8 // bits
        lines = codes.shape[1] // 256
        byte = (group * lines + dim // (4 * parts)) * 64 + 4 * place + dim % 4
        shift = dim // 4 % parts * bits + 0 * position
    return (codes[:, byte] >> shift & (1 << bits) - 1).reshape(-1, m)


# --- an index in memory ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Stored:
    """All rows of a snapshot one after another, dead ones too."""

    snapshot: Snapshot

    @cached_property
    def segments(self) -> list[Segment]:
        return [segment for segment in self.snapshot.segments if segment.rows]

    @cached_property
    def values(self) -> np.ndarray:
        """(n, d) float32."""
        return np.concatenate([segment.values(slice(None)) for segment in self.segments])

    @cached_property
    def ids(self) -> np.ndarray:
        return np.concatenate([segment.ids.at(np.arange(segment.rows)) for segment in self.segments])

    @cached_property
    def ranks(self) -> np.ndarray:
        """(n,) the place of each row's id among all: deleted ids may be there twice."""
        return np.unique(self.ids.astype(str) if self.ids.dtype == object else self.ids, return_inverse=True)[1]

    @cached_property
    def classes(self) -> np.ndarray:
        """(n,) equal for equal rows of one segment."""
        segment = np.repeat(np.arange(len(self.segments)), [s.rows for s in self.segments])
        whole = np.concatenate([segment[:, None], self.values.astype(np.float64)], axis=1)
        return np.unique(whole, axis=0, return_inverse=True)[1].reshape(-1)

    def allowed(self, among: object) -> np.ndarray:
        """(n,) whether a row may be found."""
        if among is not None:
            return np.concatenate([mask for mask in self.snapshot.allowed(among) if len(mask)])
        return np.concatenate([np.ones(s.rows, bool) if s.dead is None else ~s.dead for s in self.segments])

    def order(self, segment: Segment) -> np.ndarray:
        """The row at each position of its sketches."""
        cells = segment.parts.get(CELLS)
        return np.arange(segment.rows) if cells is None else cells["order"].astype(np.int64)

    @cached_property
    def positions(self) -> np.ndarray:
        """(n,) where each row's sketch lies: what decides between equal scores of a scan."""
        found, first = [], 0
        for segment in self.segments:
            position = np.empty(segment.rows, np.int64)
            position[self.order(segment)] = np.arange(segment.rows)
            found.append(first + position)
            first += segment.rows
        return np.concatenate(found)

    def visited(self, query: np.ndarray, probe: int | None) -> np.ndarray:
        """(n,) whether a row lies in one of the cells that a query visits."""
        if probe is None:
            return np.ones(len(self.values), bool)
        assert self.snapshot.partition is not None
        cells = KMeans(self.snapshot.partition.arrays["centroids"], metric=self.snapshot.manifest.metric)
        chosen = cells.probe(query[None], probe)[0]
        centroids, prefix = cells.centroids.astype(np.float64), query[: cells.dims].astype(np.float64)
        if cells.metric == "cosine":
            prefix = prefix / (np.linalg.norm(prefix) or 1)
        near = centroids @ prefix - (centroids**2).sum(axis=1) / 2
        sizes = np.abs(centroids) @ np.abs(prefix) + (centroids**2).sum(axis=1)
        least = (near - ROUNDING * sizes)[np.setdiff1d(np.arange(cells.cells), chosen)].max(initial=-np.inf)
        assert len(set(chosen.tolist())) == probe
        assert ((near + ROUNDING * sizes)[chosen] >= least).all()  # few cells are all compared in float32
        found = []
        for segment in self.segments:
            offsets, visited = segment.parts[CELLS]["offsets"].astype(int), np.zeros(segment.rows, bool)
            for cell in chosen.tolist():
                visited[self.order(segment)[offsets[cell] : offsets[cell + 1]]] = True
            found.append(visited)
        return np.concatenate(found)


# --- the stages --------------------------------------------------------------------------------------------

Scores = tuple[np.ndarray, np.ndarray]  # (n,) larger is better, and how far off float32 may be


def sketched(stored: Stored, query: np.ndarray, m: int, bits: int) -> Scores:
    """Every row by its sketch: base + scale · ⟨rounded query, step · (code − middle)⟩ − bias."""
    prefix, middle = query[:m], (2**bits - 1) / 2
    if stored.snapshot.manifest.metric == "cosine":
        prefix = unit(prefix)
    scores, errors = [], []
    for segment in stored.segments:
        part = segment.parts[f"sketch-{m}@{bits}"]
        center, step = part["params"]
        codes = unpacked(part["codes"], m, bits)[: segment.rows].astype(np.int64)
        if bits <= 2:
            table, size, half = tabulated(prefix * step, bits)
            each = 4 // bits
            padded = np.zeros((len(codes), each * len(table)), np.int64)
            padded[:, :m] = codes
            at = (padded.reshape(len(codes), -1, each) << bits * np.arange(each)).sum(axis=2)
            looked = table[np.arange(len(table)), at].sum(axis=1)
            sums, spans = looked - half, looked + half
        else:
            weights, size = rounded(prefix * step, MOST)
            sums = ((codes - middle) * weights).sum(axis=1)
            spans = (codes * np.abs(weights)).sum(axis=1) + middle * np.abs(weights).sum()
        scale = part["scales"][: segment.rows] * part["limits"][3].astype(np.float64) if bits < 8 else 1.0
        bias = part["bias"][: segment.rows].astype(np.float64) if "bias" in part else 0.0
        base = float(prefix.astype(np.float64) @ center.astype(np.float64))
        products = size * scale * sums
        at = stored.order(segment)
        score, error = np.empty(segment.rows), np.empty(segment.rows)
        score[at] = base + products - bias
        sizes = size * scale * spans
        error[at] = 4e-7 * (abs(base) + sizes + np.abs(bias)) + 1e-40
        scores.append(score)
        errors.append(error)
    return np.concatenate(scores), np.concatenate(errors)


def copied(stored: Stored, query: np.ndarray, m: int) -> np.ndarray:
    """Dot products of every row's int8 copy with the rounded query."""
    name = next(name for name in stored.snapshot.derived if name.startswith("copy-"))
    stops = (0, *map(int, name.removeprefix("copy-").split(",")))
    found = []
    for segment in stored.segments:
        total = np.zeros(segment.rows)
        for k, (start, stop) in enumerate(pairwise(stops)):
            if stop <= m:
                weights, size = rounded(query[start:stop], 127)
                codes = segment.parts[name][f"codes{k}"][:, : stop - start].astype(np.float64) - 128
                total += size * segment.parts[name][f"meta{k}"][:, 0].astype(np.float64) * (codes * weights).sum(axis=1)
        found.append(total)
    return np.concatenate(found)


def ranked(stored: Stored, query: np.ndarray, m: int, bits: int | None) -> Scores:
    """Every row by the first m numbers of its rings or its copy: cosine, inner product, minus the squared distance."""
    metric, x, q = (
        stored.snapshot.manifest.metric,
        stored.values[:, :m].astype(np.float64),
        query[:m].astype(np.float64),
    )
    dot = (x * q).sum(axis=1) if bits is None else copied(stored, query, m)
    norms, norm = (x * x).sum(axis=1), float((q * q).sum())
    lengths = np.sqrt(norms * norm)
    if metric == "cosine":
        return dot / np.where(lengths > 0, lengths, np.inf), np.where(lengths > 0, ROUNDING, 0.0)
    if metric == "ip":
        return dot, ROUNDING * lengths
    return 2 * dot - norms - norm, ROUNDING * (2 * lengths + norms + norm)


@dataclass(frozen=True, eq=False)
class Shortlist:
    """What a stage keeps."""

    sure: np.ndarray
    maybe: np.ndarray

    def cut(self, keep: int, scores: Scores, numbers: np.ndarray, classes: np.ndarray) -> Shortlist:
        """The best `keep`; equal rows go by their number."""
        here = np.flatnonzero(self.maybe)
        score, error = scores[0][here], scores[1][here]
        same = classes[here, None] == classes[here]
        before = same & (numbers[here, None] < numbers[here])
        beats = ~same & (score[:, None] - error[:, None] > score + error) | before
        may_beat = ~same & (score[:, None] + error[:, None] >= score - error) | before
        beaten, maybe_beaten = beats[self.sure[here]].sum(axis=0), may_beat.sum(axis=0)
        sure, maybe = np.zeros_like(self.sure), np.zeros_like(self.maybe)
        sure[here] = self.sure[here] & (maybe_beaten < keep)
        maybe[here] = beaten < keep
        return Shortlist(sure, maybe)


def check(stored: Stored, query: np.ndarray, plan: Plan, hits: Hits, among: object = None) -> None:
    """Whether the hits of one query (1, k) are what a plan finds."""
    allowed = stored.allowed(among) & stored.visited(query, plan.probe)
    shortlist = Shortlist(allowed, allowed)
    metric, last = stored.snapshot.manifest.metric, plan.stages[-1]
    scores: Scores = (np.empty(0), np.empty(0))
    for place, stage in enumerate(plan.stages):
        numbers = stored.positions if place == 0 else np.arange(len(allowed))
        if place == 0 and stage.bits is not None:
            scores = sketched(stored, query, stage.dims, stage.bits)
        else:
            scores = ranked(stored, query, stage.dims, stage.bits)
        numbers = stored.ranks if stage is last and place else numbers
        shortlist = shortlist.cut(stage.keep, scores, numbers, stored.classes)
    found = hits.ids[0][~hits.missing[0]].tolist()
    assert len(found) == min(int(allowed.sum()), *(stage.keep for stage in plan.stages)), "as many as there are"
    row_of = {name: row for row, name in enumerate(stored.ids.tolist()) if allowed[row]}
    rows = np.array([row_of[name] for name in found], int)
    assert shortlist.maybe[rows].all(), f"{stored.ids[rows[~shortlist.maybe[rows]]]} should not be found"
    missed = np.setdiff1d(np.flatnonzero(shortlist.sure), rows)
    assert not len(missed), f"{stored.ids[missed]} should be found"
    wanted, errors = scores[0][rows], scores[1][rows]
    got = hits.scores[0, : len(rows)].astype(np.float64)
    if metric == "l2":
        got = -got
        if last.bits is not None and len(plan.stages) == 1:  # the scan leaves the query's own norm out
            norm = float((query[: last.dims].astype(np.float64) ** 2).sum())
            wanted, errors = 2 * wanted - norm, 2 * errors + 1e-6 * norm
    assert np.isnan(hits.scores[0, len(rows) :]).all()
    assert (np.abs(got - wanted) <= errors + 1e-38).all(), "scores"
    ranks = stored.ranks[rows]
    assert ((got[:-1] > got[1:]) | (got[:-1] == got[1:]) & (ranks[:-1] < ranks[1:])).all(), "best first, ties by id"


# --- exact search ------------------------------------------------------------------------------------------


def brute(stored: Stored, query: np.ndarray, k: int, among: object = None) -> tuple[np.ndarray, np.ndarray]:
    """Ids and float32 scores of the true k best, to the bit, by (score, id)."""
    metric, allowed = stored.snapshot.manifest.metric, np.flatnonzero(stored.allowed(among))
    x = stored.values[allowed]
    if metric == "l2":
        scores = dots(x - query, x - query)
    else:
        query = unit(query) if metric == "cosine" else query
        scores = np.zeros(len(x), np.float32)
        for ring in stored.snapshot.nesting.rings():
            scores = scores + dots(np.ascontiguousarray(x[:, ring]), query[ring])
    if metric == "cosine":
        norms = np.concatenate([segment.norms[-1] for segment in stored.segments])[allowed].astype(np.float64)
        lengths = np.sqrt(np.where(norms > 0, norms, np.inf))
        scores = (scores.astype(np.float64) / lengths).astype(np.float32)
    order = np.lexsort((stored.ranks[allowed], scores if metric == "l2" else -scores))[:k]
    return stored.ids[allowed[order]], scores[order]
