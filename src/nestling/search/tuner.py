"""Tuning: the cheapest plan that reaches a wanted recall, found on some queries and measured on others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from nestling.errors import InputError
from nestling.search.engine import Engine
from nestling.search.plan import Plan, Stage
from nestling.search.storage.derived import Registry
from nestling.search.storage.snapshot import Snapshot
from nestling.search.storage.transaction import Progress
from nestling.search.tuning import advice, applied, proposals, questions, sketches
from nestling.search.tuning.applied import needed_parts
from nestling.search.tuning.costs import Costs, plan_times
from nestling.search.tuning.questions import Questions, interval
from nestling.search.tuning.scratch import Gallery, copy_name, engine_with, sketch_name, warmed

Measure = Literal["recall", "map"]

_LEVELS = (0.9, 0.95, 0.98, 0.99, 0.995)
_LOOSE = (0.5, 0.7, 0.8)  # a class is told by fewer than all neighbours
_ONE_SIDED = 1.645  # standard deviations that leave 5 % beyond one end
_LENGTHENED = 3  # plans of the highest recalls that are tried with longer shortlists too
_EQUAL = 1.02  # times that differ by less are alike, and the plan with fewer parts is taken
BUDGET = 64


@dataclass(frozen=True, slots=True)
class Measured:
    """A plan that was run.

    Attributes:
        plan: it.
        recall: mean over the held-out queries of recall@k, or mAP@k.
        low, high: its 95 % interval.
        mflops: as `Plan.mflops_rings` counts.
        bytes_read: as `Plan.bytes_read` counts.
        time_ms: of a single query on one thread, the median, pages in memory.
    """

    plan: Plan
    recall: float
    low: float
    high: float
    mflops: float
    bytes_read: int
    time_ms: float

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        names = ("recall", "low", "high", "mflops", "bytes_read", "time_ms")
        return {"plan": str(self.plan), **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a tuning found.

    Attributes:
        plan: the cheapest that reaches the wish.
        recall: its recall@k (mAP@k with metric "map") on queries it was not tuned on.
        low, high: the 95 % interval of that.
        wish: what recall had to reach: the wished recall, or that part of exact search's mAP.
        metric: "recall" or "map".
        k: neighbours.
        frontier: the measured plans of which none is both faster and better, and the exact one, fastest first.
        warnings: sentences.
    """

    plan: Plan
    recall: float
    low: float
    high: float
    wish: float
    metric: Measure
    k: int
    frontier: list[Measured] = field(default_factory=list[Measured])
    warnings: list[str] = field(default_factory=list[str])

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        names = ("recall", "low", "high", "wish", "metric", "k", "warnings")
        own = {name: getattr(self, name) for name in names}
        return {"plan": str(self.plan), **own, "frontier": [point.to_json() for point in self.frontier]}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a tuning; see `Index.tune`.

    Raises:
        InputError: a number is out of range.
    """

    recall: float = 0.99
    k: int = 10
    metric: Measure = "recall"
    seed: int = 0
    budget: int | None = None

    def __post_init__(self) -> None:
        if self.metric not in get_args(Measure):
            raise InputError.of("metric", "recall or map", repr(self.metric))
        if not 0 < self.recall <= 1:
            raise InputError.of("recall", "above 0 and at most 1", self.recall)
        if self.budget is not None and self.budget < 1:
            raise InputError.of("budget", "a positive number of bytes", self.budget)

    @property
    def levels(self) -> list[float]:
        """Recalls of neighbours at which plans are proposed: those of the frontier, and densely about the wish."""
        if self.metric == "map":
            return [*_LOOSE, *_LEVELS]
        above = [1 - (1 - self.recall) * part for part in (1.0, 0.9, 0.8, 0.7, 0.6, 0.4, 0.2, 0.1)]
        return sorted({*_LEVELS, *above})


class _Progress:
    """Steps of a tuning, as `Progress` wants them."""

    def __init__(self, tell: Progress | None) -> None:
        self.tell, self.done = tell, 0

    def __call__(self, words: str = "", steps: int = 1) -> None:
        self.done += steps
        if self.tell is not None:
            self.tell(min(self.done, _STEPS), _STEPS, words)


_STEPS = 20


@dataclass(eq=False)
class _Tuning:
    """One run."""

    snapshot: Snapshot
    wish: Wish
    progress: _Progress
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)

    def __post_init__(self) -> None:
        self.gallery = Gallery(self.snapshot)
        self.rng = np.random.default_rng(self.wish.seed)
        self.nearer = self.snapshot.manifest.metric == "l2"
        self.warnings: list[str] = []

    def run(self, queries: Any, labels: Any, query_labels: Any) -> Tuned:
        """Everything but changing the index."""
        tuned, held = self._halves(queries, labels, query_labels)
        self.progress("sketches")
        names = self._sketches(tuned)
        self.progress("int8 copies", 3)
        stops = proposals.middles(self.snapshot.nesting)
        parts = [sketch_name(*name) for name in names]
        engine = engine_with(self.snapshot, [*parts, copy_name(stops, self.snapshot.nesting)])
        warmed(engine)
        self.progress("plans", 3)
        plans = self._proposed(engine, names, stops, tuned)
        return self._chosen(engine, plans, tuned, held)

    def _halves(self, queries: Any, labels: Any, query_labels: Any) -> tuple[Questions, Questions]:
        self.progress("true neighbours", 0)
        x, own, chosen = questions.taken(self.gallery, queries, self.wish.k, self.wish.seed)
        codes = None
        if self.wish.metric == "map":
            given = None if queries is None else len(np.atleast_2d(np.asarray(queries)))
            codes = questions.classes(self.gallery, labels, query_labels, given)
        elif labels is not None or query_labels is not None:
            raise InputError.of("labels", "left out", "labels with metric='recall'", "Ask for metric='map'.")
        m = min(32, self.gallery.width)
        bounding = engine_with(self.snapshot, [sketch_name(m, 8)], keep=self.snapshot.derived)
        asked = questions.true_neighbours(self.gallery, bounding, x, own, self.wish.k, self.threads)
        if codes is not None:
            asked = replace(asked, gallery_labels=codes[0], labels=codes[1][chosen])
        self.progress("true neighbours", 4)
        middle = (len(x) + 1) // 2
        tuned, held = asked.part(np.arange(middle)), asked.part(np.arange(middle, len(x)))
        said = (
            advice.STANDING_IN if own is not None else None,
            advice.few(held),
            advice.flat_prefixes(self.gallery, tuned, self.rng),
            advice.cells(self.gallery),
        )
        self.warnings += [words for words in said if words is not None]
        return tuned, held

    def _sketches(self, tuned: Questions) -> list[tuple[int, int]]:
        budget = BUDGET if self.wish.budget is None else self.wish.budget
        names = sketches.candidates(
            self.snapshot.nesting, sketches.room(self.gallery, budget), metric=self.snapshot.manifest.metric
        )
        tries = sketches.tried(self.gallery, tuned, names, self.rng)
        probed = self.snapshot.partition is not None
        return sketches.worth(tries, len(self.gallery.live), self.wish.levels, probed=probed)

    def _proposed(
        self, engine: Engine, names: Sequence[tuple[int, int]], stops: Sequence[int], tuned: Questions
    ) -> list[Plan]:
        flat = Plan.of([(self.gallery.width, self.wish.k)])
        if not names:
            return [flat]
        costs = Costs(engine, tuned.x, self.wish.k)
        costs.calibrate(names, [*((m, 8) for m in stops), (self.gallery.width, None)])
        self.progress("plans", 2)
        proposer = proposals.Proposer(self.gallery, engine, tuned, costs, self.threads)
        found = [one.plan for one in proposer.plans(names, self.wish.levels, lambda: None)]
        n = len(self.gallery.live)  # few queries promise too much: between the best of these and all there is more
        longer = [proposals.safer(plan, factor, n) for plan in found[-_LENGTHENED:] for factor in (2, 4)]
        return [*dict.fromkeys([*found, *longer]), flat]

    def _chosen(self, engine: Engine, plans: Sequence[Plan], tuned: Questions, held: Questions) -> Tuned:
        """Measure all of them, the exact plan last; take the fastest that reaches the wish."""
        self.progress("measuring", 2)
        found, exact = [self.values(engine, plan, tuned) for plan in plans], tuned.exact_values()
        times = plan_times(engine, plans, tuned.x)
        self.progress("measuring", 3)
        measured = [self.measured(engine, plan, held, ms) for plan, ms in zip(plans, times, strict=True)]
        able = [place for place in range(len(plans) - 1) if self._reaches(found[place], exact)] + [len(plans) - 1]
        least = min(times[place] for place in able)
        able.sort(key=lambda place: (_rank_time(times[place], least), _parts(plans[place]), times[place]))
        wish = self.wish.recall * float(held.exact_values().mean())
        able = able[: able.index(len(plans) - 1) + 1]  # nothing is slower than the exact plan for less
        place, point = self._confirmed([(i, measured[i], float(found[i].mean())) for i in able], held, wish)
        measured[place] = point
        if place == len(plans) - 1 > 0 and point.time_ms > 2 * min(times):
            self.warnings.append(advice.NOTHING_LASTS.format(budget=self.wish.budget or BUDGET))
        best = (point.recall, point.low, point.high, wish, self.wish.metric, self.wish.k)
        return Tuned(point.plan, *best, frontier(measured, (point, measured[-1])), self.warnings)

    def _confirmed(
        self, able: Sequence[tuple[int, Measured, float]], held: Questions, wish: float
    ) -> tuple[int, Measured]:
        """The first plan that reaches the wish on the other half too, with exactly the parts that it will have.

        What one falls short by, the next must have had in reserve.

        Args:
            able: place, measured on the other half, and mean on the half that chose; the exact plan last.
        """
        least, most = 0.0, max(chosen for _, _, chosen in able[:-1] or able)
        for place, point, chosen in able[:-1]:
            if chosen < least:
                continue
            if point.recall >= wish:
                point = self._as_stored(point, held)
            if point.recall >= wish:
                return place, point
            if not least:
                self.warnings.append(advice.STEPPED_ON.format(plan=point.plan, recall=point.recall))
            least = min(chosen + wish - point.recall, most)
        return able[-1][0], self._as_stored(able[-1][1], held)

    def _as_stored(self, point: Measured, held: Questions) -> Measured:
        """Measured again on the parts that the index will have."""
        names, _ = needed_parts(self.snapshot, point.plan)
        if not names:
            return point
        engine = engine_with(self.snapshot, names)
        warmed(engine)
        return self.measured(engine, point.plan, held, plan_times(engine, [point.plan], held.x)[0])

    def _reaches(self, found: np.ndarray, exact: np.ndarray) -> bool:
        """Whether the wish lies below with 95 % confidence, or the mean is well beyond it."""
        wish = self.wish.recall
        if self.wish.metric == "recall":
            mean, low, _ = interval(found, _ONE_SIDED)
            return wish < 1 and (low >= wish or mean >= (1 + wish) / 2)
        margin = found - wish * exact
        return float(margin.mean() - _ONE_SIDED * margin.std() / len(margin) ** 0.5) >= 0

    def values(self, engine: Engine, plan: Plan, asked: Questions) -> np.ndarray:
        """(q,) how good its results are. The query itself, if a gallery row stands in, takes a place of each list."""
        if plan.stages == (Stage(self.gallery.width, plan.k),):
            return asked.exact_values()
        more = asked.asked - asked.k
        wider = Plan.of([(stage.dims, stage.keep + more, stage.bits) for stage in plan.stages], probe=plan.probe)
        rows, scores = engine.search(asked.x, engine.resolved(wider, None), threads=self.threads)
        return asked.values(rows, scores, nearer=self.nearer)

    def measured(self, engine: Engine, plan: Plan, held: Questions, ms: float) -> Measured:
        """On held-out queries."""
        mean, low, high = interval(self.values(engine, plan, held))
        stored = engine.stored
        return Measured(plan, mean, low, high, plan.mflops_rings(stored), plan.bytes_read(stored), ms)


def _rank_time(ms: float, least: float) -> int:
    """Times in steps within which they are alike."""
    return int(np.log(max(ms, 1e-9) / max(least, 1e-9)) / np.log(_EQUAL))


def _parts(plan: Plan) -> int:
    return len({stage.dims for stage in plan.stages[1:] if stage.bits is not None})


def frontier(measured: Sequence[Measured], always: Sequence[Measured]) -> list[Measured]:
    """Those of which no other is both faster and better, and some in any case; fastest first."""
    found: list[Measured] = []
    for point in sorted(measured, key=lambda point: (point.time_ms, -point.recall)):
        if not found or point.recall > max(other.recall for other in found) or point in always:
            found.append(point)
    return found


def tune(
    snapshot: Snapshot,
    registry: Registry,
    queries: Any,
    wish: Wish,
    *,
    labels: Any = None,
    query_labels: Any = None,
    progress: Progress | None = None,
    apply: bool = True,
) -> tuple[Snapshot, Tuned]:
    """`Index.tune`: the state of the index afterwards, and what was found.

    Raises:
        InputError, ShapeError: as `Index.tune` tells.
    """
    if not len(snapshot):
        raise InputError.of("the index", "filled before it is tuned", "no vectors", "Add some.")
    run = _Tuning(snapshot, wish, _Progress(progress))
    tuned = run.run(queries, labels, query_labels)
    if apply:
        snapshot = applied.applied(snapshot, registry, tuned.plan, tuned.to_json())
    run.progress("done", _STEPS)
    return snapshot, tuned
