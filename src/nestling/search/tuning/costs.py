"""What plans cost on this machine: single queries timed on one thread, and a model of the parts of a plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from jaxtyping import Float32

from nestling.search.engine import Engine
from nestling.search.plan import Plan, Stage

_SECONDS = 0.25  # for one plan, when it is measured for good
_ROUGHLY = 0.06  # for one that only calibrates
_LEAST = 1e-9
_FEWEST_CELLS = 8  # of fewer, no plan probes some


def timed(
    run: Callable[[Float32[np.ndarray, "1 d"]], object], x: Float32[np.ndarray, "q d"], seconds: float
) -> list[float]:
    """Seconds of single queries, one after another, until so many have passed; the first is not counted."""
    found: list[float] = []
    run(x[:1])
    until = time.perf_counter() + seconds
    at = 0
    while not found or time.perf_counter() < until:
        query = x[at % len(x)][None]
        began = time.perf_counter()
        run(query)
        found.append(time.perf_counter() - began)
        at += 1
    return found


def plan_times(engine: Engine, plans: Sequence[Plan], x: Float32[np.ndarray, "q d"], *, rounds: int = 3) -> list[float]:
    """Median milliseconds of a single query on one thread; plans take turns, so that a busy moment is shared."""
    found: list[list[float]] = [[] for _ in plans]
    for _ in range(rounds):
        for place, plan in enumerate(plans):
            found[place] += timed(_searched(engine, plan), x, _SECONDS / rounds)
    return [1000 * median(times) for times in found]


def _searched(engine: Engine, plan: Plan) -> Callable[[np.ndarray], object]:
    ready = engine.resolved(plan, None)
    return lambda query: engine.hits(*engine.search(query, ready))


@dataclass(eq=False)
class Costs:
    """Seconds of the parts of a plan on one engine, measured on two plans each that differ in one keep or in probes.

    Attributes:
        engine: has all that the plans need.
        x: queries.
        k: last keep.
        rerank: seconds of a candidate by (dims, bits).
    """

    engine: Engine
    x: Float32[np.ndarray, "q d"]
    k: int
    rerank: dict[tuple[int, int | None], float] = field(default_factory=dict[tuple[int, int | None], float])
    _scans: dict[tuple[int, int], tuple[float, float]] = field(
        default_factory=dict[tuple[int, int], tuple[float, float]]
    )

    def calibrate(self, sketches: Sequence[tuple[int, int]], later: Sequence[tuple[int, int | None]]) -> None:
        """Measure each later stage behind the first sketch that may precede it, then each scan, with cells twice."""
        width, n = self.engine.snapshot.nesting.width, len(self.engine.snapshot)
        low, high = min(n, 4 * self.k), min(n, 24 * self.k + 200)
        for stage in later:
            first = next((sketch for sketch in sketches if sketch[0] <= stage[0]), None)
            if first is None:  # no plan may use it: dims never fall
                continue
            both = [self._seconds([(*first, keep), (*stage, self.k)]) for keep in (low, high)]
            known = both[1] - both[0]
            self.rerank[stage] = max(known / max(high - low, 1), _LEAST)
        tail = low * self.rerank[width, None]
        cells = self.engine.stored.cells
        for m, bits in sketches:
            plan = [(m, bits, low), (width, None, self.k)]
            if cells is None or cells < _FEWEST_CELLS:
                self._scans[m, bits] = (max(self._seconds(plan) - tail, _LEAST), 0.0)
                continue
            few, many = max(1, cells // 64), max(2, cells // 8)
            times = [max(self._seconds(plan, probe) - tail, _LEAST) for probe in (few, many)]
            slope = max(times[1] - times[0], 0.0) / (many - few)
            self._scans[m, bits] = (max(times[0] - few * slope, _LEAST), slope)

    def scan(self, sketch: tuple[int, int], probe: int | None) -> float:
        """Seconds of the first stage without its shortlist; probing all cells stands for visiting the whole gallery."""
        fixed, each = self._scans[sketch]
        return fixed + each * (self.engine.stored.cells or 0 if probe is None else probe)

    def _seconds(self, stages: Sequence[tuple[int, int | None, int]], probe: int | None = None) -> float:
        plan = Plan(tuple(Stage(m, keep, bits) for m, bits, keep in stages), probe)
        return median(timed(_searched(self.engine, plan), self.x, _ROUGHLY))
