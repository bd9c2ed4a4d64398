"""Searching an opened index: its segments handed to the kernels once, then plans, exact search and masks."""

from __future__ import annotations

import os
import threading
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64

from nestling.errors import InputError, PlanError, ShapeError
from nestling.search import _native
from nestling.search.derived import CELLS, Copies, KMeans, Sketch
from nestling.search.derived.cells import Partition
from nestling.search.hits import Hits
from nestling.search.plan import Plan, Stored
from nestling.search.storage.blocks import damaged
from nestling.search.storage.ids import TextColumn, WholeColumn
from nestling.search.storage.segment import Segment
from nestling.search.storage.snapshot import Snapshot

_METRICS = {"cosine": 0, "ip": 1, "l2": 2}
_BOUND_DIMS = 24  # an exact search begins with the 8-bit sketch next above (measured: docs/LOG.md)
_REMEMBERED = 256  # plans
_MOST_PLACES = (1 << 32) - 1  # an index has fewer rows
_making = threading.Lock()


class Resolved(NamedTuple):
    """A plan that was checked against an index.

    Attributes:
        plan: it.
        k: hits.
        stages: (stages, 3) dims, bits (0 for stored) and keeps, as the kernels take them.
        probe: cells to visit, or None.
        wanted: somebody chose it; without, it serves exact searches only.
    """

    plan: Plan
    k: int
    stages: Int64[np.ndarray, "stages 3"]
    probe: int | None
    wanted: bool


class Engine:
    """One snapshot of an index, ready for queries. Make it through `engine_of`, which keeps it with the snapshot.

    Attributes:
        snapshot: what is searched.
        stored: what plans may use of it.
        partition: the cells, or None.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        """Map the segments and load their sketches into memory."""
        self.snapshot = snapshot
        self.segments = [segment for segment in snapshot.segments if segment.rows]
        self.partition: Partition | None = None
        if snapshot.partition is not None:
            self.partition = KMeans(snapshot.partition.arrays["centroids"], metric=snapshot.manifest.metric)
        made = list(snapshot.derived.values())
        self.sketches = sorted((p for p in made if isinstance(p, Sketch)), key=lambda p: (p.m, p.bits))
        self.copies = next((p for p in made if isinstance(p, Copies)), None)
        self.stored = stored_of(snapshot)
        half = snapshot.manifest.dtype == "float16"
        self._native = _native.Snapshot(list(snapshot.nesting), _METRICS[snapshot.manifest.metric], half)
        for place, segment in enumerate(self.segments):
            self._load(place, segment)
        self._starts = np.cumsum([0, *(segment.rows for segment in self.segments)])
        self._resolved: dict[tuple[Plan | str | None, int | None], Resolved] = {}

    @property
    def resident(self) -> int:
        """Bytes that were copied into memory: sketches and what belongs to them."""
        return self._native.resident

    def search(
        self,
        queries: Float32[np.ndarray, "q d"],
        resolved: Resolved,
        *,
        among: Any = None,
        threads: int = 1,
    ) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
        """Row numbers in the snapshot (of all its segments, dead rows counted) and scores; −1 and NaN if none is left.

        Raises:
            InputError: a query is not finite, or `among` is not what it should be.
        """
        cells = None if resolved.probe is None else self._probe(queries, resolved.probe, threads)
        try:
            rows, scores = self._native.search(queries, resolved.stages, cells, self._masks(among), threads)
        except ValueError as error:
            raise _told(error) from None
        return rows.view(np.int64), scores  # nanobind names the same numbers long long

    def exact(
        self,
        queries: Float32[np.ndarray, "q d"],
        k: int,
        *,
        guess: Resolved | None = None,
        among: Any = None,
        threads: int = 1,
    ) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"], Int64[np.ndarray, "q reads"]]:
        """The true k best, and how many rows were bounded by the sketch, compared by copies, and compared in full.

        Args:
            guess: finds k rows whose true scores are the first threshold: the better, the less is read.
        """
        rows = None if guess is None else self.search(queries, guess, among=among, threads=threads)[0]
        try:
            found = self._native.exact(queries, k, rows, self._bounding(), self._masks(among), threads)
        except ValueError as error:
            raise _told(error) from None
        return found[0].view(np.int64), found[1], found[2].view(np.int64)

    def hits(self, rows: Int64[np.ndarray, "q k"], scores: Float32[np.ndarray, "q k"]) -> Hits:
        """Rows of the snapshot as hits with the ids of the index."""
        whole = self.snapshot.manifest.ids != "string"
        if whole and len(self.segments) == 1 and rows.min(initial=0) >= 0:
            return Hits(self.segments[0].ids.at(rows.reshape(-1)).reshape(rows.shape), scores)
        ids = np.full(rows.shape, -1, np.int64) if whole else np.full(rows.shape, None, object)
        at = np.searchsorted(self._starts, rows, side="right") - 1
        for place, segment in enumerate(self.segments):
            here = (at == place) & (rows >= 0)
            ids[here] = segment.ids.at(rows[here] - self._starts[place])
        return Hits(ids, scores)

    def resolved(self, plan: Plan | str | None, k: int | None) -> Resolved:
        """A plan ready to run, found again at the next search: the given one, else the index's own, else a guess.

        Raises:
            PlanError: it cannot be read, does not fit the index, or keeps another number than k.
            InputError: k is below 1.
        """
        key = (plan, k)
        found = self._resolved.get(key)
        if found is None:
            found = self._resolve(plan, k)
            if len(self._resolved) > _REMEMBERED:
                self._resolved.clear()
            self._resolved[key] = found
        return found

    def _resolve(self, plan: Plan | str | None, k: int | None) -> Resolved:
        given = Plan.parse(plan) if isinstance(plan, str) else plan
        k = checked_k(k, given)
        own = self.snapshot.manifest.plan
        chosen = given or (_for_k(Plan.parse(own), k) if own else self._guess(k))
        chosen.check(self._open_stored())
        stages = np.array([(s.dims, s.bits or 0, min(s.keep, _MOST_PLACES)) for s in chosen.stages], np.int64)
        return Resolved(chosen, k, stages, chosen.probe, given is not None or own is not None)

    def _guess(self, k: int) -> Plan:
        """A plan for an index that was not tuned: what an exact search begins with."""
        width, bound = self.snapshot.nesting.width, self._bounding()
        stages: list[tuple[int, int, int | None]] = []
        if bound:
            stages.append((bound, 20 * k + 200, 8))
            copies = self.copies.stops if self.copies is not None else ()
            stages += [(stop, 4 * k + 40, 8) for stop in copies if stop >= bound][:1]
        else:
            stages.append((next((m for m in self.snapshot.nesting if m >= _BOUND_DIMS), width), 20 * k + 200, None))
        return Plan.of([*stages, (width, k, None)])

    def _open_stored(self) -> Stored:
        """What a plan may use; it may ask for more hits than there are, and finds empty places then."""
        s = self.stored
        return Stored(s.nesting, 1 << 62, s.itemsize, s.sketches, s.copies, s.cells, s.cell_dims)

    def _probe(self, queries: np.ndarray, count: int, threads: int) -> Int32[np.ndarray, "q p"]:
        if self.partition is None:
            raise PlanError(f"probe={count} needs cells, and this index has none. Partition it first.")
        return self.partition.probe(queries, count, threads)

    def _bounding(self) -> int:
        """The dims of the 8-bit sketch that bounds scores best for what it costs; 0 for none."""
        able = [sketch.m for sketch in self.sketches if sketch.bits == 8]
        return next((m for m in able if m >= _BOUND_DIMS), able[-1] if able else 0)

    def _masks(self, among: Any) -> list[np.ndarray] | None:
        if among is None:
            return None
        allowed = self.snapshot.allowed(among)
        return [np.packbits(mask, bitorder="little") for mask in allowed if len(mask)]

    def _load(self, place: int, segment: Segment) -> None:
        rings = [ring.view(np.uint16) if ring.dtype == np.float16 else ring for ring in segment.rings]
        column = segment.ids
        numbers = column.values if isinstance(column, WholeColumn) else None
        offsets, text = (column.offsets, column.text) if isinstance(column, TextColumn) else (None, None)
        cells = segment.parts.get(CELLS, {})
        live = None if segment.dead is None else np.packbits(~segment.dead, bitorder="little")
        order, edges = cells.get("order"), cells.get("offsets")
        try:
            self._native.add_segment(rings, segment.norms, numbers, offsets, text, order, edges, live)
            for sketch in self.sketches:
                self._load_sketch(place, sketch, segment.parts[sketch.name])
        except ValueError as error:
            raise damaged(segment.folder, f"segment {segment.name} does not fit together ({error})") from error
        if self.copies is not None:
            part, start = segment.parts[self.copies.name], 0
            for k, stop in enumerate(self.copies.stops):
                self._native.add_copy(place, start, stop, part[f"codes{k}"], part[f"meta{k}"])
                start = stop

    def _load_sketch(self, place: int, sketch: Sketch, part: Any) -> None:
        optional = [part.get(name) for name in ("scales", "bias", "shares", "tails")]
        self._native.add_sketch(place, sketch.bits, part["params"], part["limits"], part["codes"], *optional)


def _for_k(plan: Plan, k: int) -> Plan:
    """The plan with k hits; for more than it was made for, every stage keeps as many more."""
    if plan.k == k:
        return plan
    stages = [(s.dims, max(s.keep, -(-s.keep * k // plan.k)), s.bits) for s in plan.stages]
    return Plan.of([*stages[:-1], (plan.stages[-1].dims, k, plan.stages[-1].bits)], probe=plan.probe)


def stored_of(snapshot: Snapshot) -> Stored:
    """What plans may use of a snapshot."""
    made, partition = snapshot.derived.values(), snapshot.partition
    return Stored(
        nesting=snapshot.nesting,
        n=len(snapshot),
        itemsize=snapshot.manifest.stored.itemsize,
        sketches=frozenset((part.m, part.bits) for part in made if isinstance(part, Sketch)),
        copies=frozenset(stop for part in made if isinstance(part, Copies) for stop in part.stops),
        cells=None if partition is None else partition.cells,
        cell_dims=0 if partition is None else partition.dims,
    )


def engine_of(snapshot: Snapshot) -> Engine:
    """The engine of a snapshot, made at its first search."""
    engine = snapshot.cache.get("engine")
    if engine is None:
        with _making:
            engine = snapshot.cache.get("engine") or Engine(snapshot)
            snapshot.cache["engine"] = engine
    return engine


def checked_queries(queries: Any, width: int) -> Float32[np.ndarray, "q d"]:
    """Queries as the kernels read them.

    Raises:
        ShapeError: not (q, d), or (d,) for one, with the index's d.
    """
    x = np.asarray(queries)
    if x.ndim == 1:
        x = x[None]
    if x.dtype == np.float32 and x.ndim == 2 and x.shape[1] == width and x.flags.c_contiguous:
        return x
    if x.ndim != 2 or x.shape[1] != width or x.dtype.kind not in "fiu":
        shape = f"shape {np.shape(queries)}, dtype {x.dtype}"
        raise ShapeError.of("queries", f"(q, {width}) numbers, as wide as the index", shape)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(x, np.float32)


def default_threads(queries: int) -> int:
    """One query runs on one thread, a batch on all cores."""
    return 1 if queries == 1 else os.cpu_count() or 1


def _told(error: ValueError) -> Exception:
    what = str(error)
    if what.startswith("query "):
        return InputError.of("queries", "finite numbers", f"NaN, infinity or overflow in row {what[6:]}")
    return error


def checked_k(k: int | None, plan: Plan | None) -> int:
    """How many hits: k, or the plan's.

    Raises:
        InputError: k is below 1, or larger than any index.
        PlanError: k and the plan disagree.
    """
    if k is None:
        k = plan.k if plan is not None else 10
    if isinstance(k, bool) or not 1 <= k <= _MOST_PLACES:
        raise InputError.of("k", "a positive whole number below 2³²", k)
    if plan is not None and plan.k != k:
        raise PlanError.of("k", f"the plan's last keep {plan.k}, or left out", k, f"Change one of them: {plan}.")
    return k


def nothing(queries: int, k: int, kind: str | None) -> Hits:
    """Hits of an empty index."""
    ids = np.full((queries, k), None, object) if kind == "string" else np.full((queries, k), -1, np.int64)
    return Hits(ids, np.full((queries, k), np.nan, np.float32))
