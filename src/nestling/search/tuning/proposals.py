"""Plans worth measuring: for each recall the few that the simulation says reach it and the model says are cheapest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from nestling.nesting import Nesting
from nestling.search.engine import Engine
from nestling.search.plan import Plan, Stage
from nestling.search.tuning.costs import Costs
from nestling.search.tuning.questions import Questions
from nestling.search.tuning.scratch import Gallery
from nestling.search.tuning.simulation import Lists, Order, listed, share
from nestling.search.tuning.sketches import places

_QUERIES, _FEWEST = 300, 50  # that are simulated
_NUMBERS = 12e6  # comparisons held at one time
_LISTED = 2000  # entries of a list; the first rerank can be no longer
_LATER = 400  # entries of a list in full width
_SHORT = 512  # dims of which a list in full width may be as long as the sketch's
_WHOLE = 512  # dims
_FAMILIES = 2  # plans of different sketches or stages for one recall
_SKETCHES = 3  # for one recall
_SERIES = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)
_PROBED = (2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256)
Stages = tuple[tuple[int, int | None], ...]


class Simulated(NamedTuple):
    """A plan before it is run: recall at least, seconds about."""

    plan: Plan
    recall: float
    seconds: float


def middles(nesting: Nesting) -> list[int]:
    """Where the int8 copy is cut: one to four cache lines a row, and the full width.

    Rows of eight lines stay whole, because each cut costs every deeper stage an access of its own.
    """
    if nesting.width <= _WHOLE:
        return [nesting.width]
    short = [m for m in nesting if 32 <= m <= 256 and 2 * m <= nesting.width]
    return [*short[-3:], nesting.width]


def keeps(k: int, most: int) -> Int64[np.ndarray, " a"]:
    """Preferred numbers from k to `most`."""
    series = [number * 10**power // 10 for power in range(1, 7) for number in _SERIES]
    found = {min(k, most), most, *(number for number in series if k < number < most)}
    return np.array(sorted(found), np.int64)


def safer(plan: Plan, factor: int, n: int) -> Plan:
    """The same stages with longer shortlists."""
    longer = [Stage(stage.dims, max(min(stage.keep * factor, n), plan.k), stage.bits) for stage in plan.stages[:-1]]
    return Plan((*longer, plan.stages[-1]), plan.probe)


@dataclass(frozen=True, eq=False)
class Proposer:
    """Simulates on some of the questions.

    Attributes:
        gallery: all of it.
        engine: with every sketch and copy in question.
        questions: tuned on.
        costs: calibrated.
        threads: of batches.
    """

    gallery: Gallery
    engine: Engine
    questions: Questions
    costs: Costs
    threads: int

    @cached_property
    def cells(self) -> Int64[np.ndarray, " rows"]:
        """The cell of every row number."""
        return cells_of(self.gallery)

    def plans(
        self, sketches: Sequence[tuple[int, int]], levels: Sequence[float], told: Callable[[], None]
    ) -> list[Simulated]:
        """The cheapest families of each level, once each."""
        best: dict[float, list[tuple[float, int, Simulated]]] = {level: [] for level in levels}
        for number, sketch in enumerate(sketches):
            for family, one in enumerate(self._families(sketch, levels)):
                for level, simulated in one:
                    best[level].append((simulated.seconds, 1000 * number + family, simulated))
            told()
        found: dict[Plan, Simulated] = {}
        for level in levels:
            ordered = sorted(best[level], key=lambda item: item[:2])
            for _, _, one in ordered[:_FAMILIES]:
                found[one.plan] = one
            others: dict[
                tuple[int, int] | None, list[Simulated]
            ] = {}  # the model may be wrong about a sketch as a whole
            for _, _, one in ordered:
                others.setdefault(one.plan.sketch, []).append(one)
            for ones in list(others.values())[:_SKETCHES]:
                found |= {one.plan: one for one in ones[:_FAMILIES]}
            for probing in (False, True):  # neither cells nor a scan of all shall be missing
                some = [item for item in best[level] if (item[2].plan.probe is not None) == probing]
                for _, _, one in sorted(some, key=lambda item: item[:2])[:1]:
                    found[one.plan] = one
        return list(found.values())

    def _families(self, sketch: tuple[int, int], levels: Sequence[float]) -> Iterator[list[tuple[float, Simulated]]]:
        """For each way to build a plan on a sketch, its cheapest at each level that it reaches."""
        length = min(len(self.gallery.live), max(_LISTED, 40 * self.questions.k))
        count = int(np.clip(_NUMBERS / (self.questions.k * length), _FEWEST, _QUERIES))
        some = self.questions.part(np.arange(min(len(self.questions), count)))
        head = f"{sketch[0]}@{sketch[1]}"
        flat = Lists.of(listed(self.engine, some, f"{head}:{length}", self.threads), some.rows)
        stops = [stop for stop in sorted(self.engine.stored.copies) if stop >= sketch[0]]
        orders = [(stop, *self._orders(head, stop, flat.rows, some)) for stop in stops]
        for probe, lists in self._views(flat, some, min(levels)):
            keep = keeps(some.asked, length)
            reach = lists.reach(keep)
            yield list(self._cheapest(sketch, probe, (), [keep], lists.kept(keep), levels))
            for stop, order, third in orders:
                first = keep[keep <= order.length]
                second = keeps(some.asked, int(min(first[-1], max(_LATER, 8 * some.asked))))
                ranks = order.ranks(reach[:, :, : len(first)])
                kept = lists.kept(first)[..., None] & (ranks[..., None] < second)
                yield list(self._cheapest(sketch, probe, ((stop, 8),), [first, second], kept, levels))
                if third is None:
                    continue
                last = second[second <= 5 * some.asked]
                kept = kept[..., None] & (third[:, :, None, None, None] < last)
                chain = ((stop, 8), (self.gallery.width, 8))
                yield list(self._cheapest(sketch, probe, chain, [first, second, last], kept, levels))

    def _views(self, flat: Lists, some: Questions, least: float) -> Iterator[tuple[int | None, Lists]]:
        """The list as a whole, and inside the cells that may be probed: from where they hold `least` of the neighbours
        up to where more cells add none."""
        yield None, flat
        partition = self.engine.partition
        probes = [probe for probe in _PROBED if partition is not None and probe < partition.cells // 2]
        if partition is None or not probes:
            return
        nearest = partition.probe(some.x, probes[-1], self.threads).astype(np.int64)
        order = np.full((len(some), partition.cells), partition.cells, np.int32)
        np.put_along_axis(order, nearest, np.arange(probes[-1], dtype=np.int32)[None], axis=1)
        visit = np.take_along_axis(order, self.cells[flat.rows], axis=1)
        visit[flat.rows < 0] = partition.cells
        true = np.take_along_axis(order, self.cells[some.rows], axis=1)
        for probe in probes:
            if (true < probe).mean() >= least:
                yield probe, flat.probed(visit < probe)
            if (true < probe).all():
                return

    def _orders(
        self, head: str, stop: int, rows: Int64[np.ndarray, "q L"], some: Questions
    ) -> tuple[Order, np.ndarray | None]:
        """The order that the copy up to `stop` gives the list, or the first part of it; and behind it, if that is not
        the full width, the place of the true neighbours in the order of the copy's full width."""
        width, most = self.gallery.width, max(_LATER, 8 * some.asked)
        length = rows.shape[1] if stop < width or width <= _SHORT else min(rows.shape[1], most)
        first = listed(self.engine, some, f"{head}:{length},{stop}@8:{length}", self.threads)
        order = Order.of(rows[:, :length], first, some.rows)
        if stop == width or width not in self.engine.stored.copies:
            return order, None
        later = min(length, most)
        plan = f"{head}:{length},{stop}@8:{later},{width}@8:{later}"
        return order, places(listed(self.engine, some, plan, self.threads), some.rows)

    def _cheapest(
        self,
        sketch: tuple[int, int],
        probe: int | None,
        chain: Stages,
        grids: Sequence[np.ndarray],
        kept: Bool[np.ndarray, "q k *grid"],
        levels: Sequence[float],
    ) -> Iterator[tuple[float, Simulated]]:
        """For each level the cheapest point of a grid of keeps that reaches it."""
        k, asked = self.questions.k, self.questions.asked
        recall = share(kept)
        seconds = self._seconds(sketch, probe, chain, grids)
        for level in levels:
            able = np.flatnonzero((recall.reshape(-1) >= level) & np.isfinite(seconds.reshape(-1)))
            if not len(able):
                continue
            best = int(able[np.argmin(seconds.reshape(-1)[able])])
            at = [int(i) for i in np.unravel_index(best, recall.shape)]
            kept_of = [int(grid[i]) for grid, i in zip(grids, at, strict=True)]
            chosen = [k if keep == asked else keep for keep in kept_of]
            stages = [Stage(m, keep, bits) for (m, bits), keep in zip((sketch, *chain), chosen, strict=True)]
            plan = Plan((*stages, Stage(self.gallery.width, k)), probe)
            yield level, Simulated(plan, float(recall.reshape(-1)[best]), float(seconds.reshape(-1)[best]))

    def _seconds(
        self, sketch: tuple[int, int], probe: int | None, chain: Stages, grids: Sequence[np.ndarray]
    ) -> np.ndarray:
        """The model on a grid of keeps; no keep may be larger than the one before."""
        width = self.gallery.width
        mesh = np.meshgrid(*grids, indexing="ij")
        total = np.full(mesh[0].shape, self.costs.scan(sketch, probe))
        for place, (m, bits) in enumerate((*chain, (width, None))):
            each = self.costs.rerank[m, bits]
            before = chain[place - 1] if place else None
            if before is not None and before[1] == bits:  # only what the stage before has not read
                each *= 1 - before[0] / m
            total += each * mesh[place]
        for larger, smaller in pairwise(mesh):
            total[smaller > larger] = np.inf
        return total


def cells_of(gallery: Gallery) -> Int64[np.ndarray, " rows"]:
    """The cell of every row number."""
    found = np.empty(int(gallery.starts[-1]), np.int64)
    for segment, start in zip(gallery.segments, gallery.starts, strict=False):
        part = segment.parts["cells"]
        sizes = np.diff(part["offsets"].astype(np.int64))
        found[start + part["order"].astype(np.int64)] = np.repeat(np.arange(len(sizes)), sizes)
    return found
