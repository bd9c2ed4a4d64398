"""Our own index as a system: built from the mapped base, tuned, searched through the public API alone."""

from __future__ import annotations

import gc
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.searching.data import Case
from benchmarks.searching.data.store import folder
from nestling.files import write_file
from nestling.nesting import Nesting
from nestling.search import Plan
from nestling.search.index import Index

SYSTEMS = ("nestling-scan", "nestling-cells", "nestling-exact")
GOALS = {"nestling-scan": (0.95, 0.98, 0.99), "nestling-cells": (0.95, 0.98, 0.99), "nestling-exact": (1.0,)}
STORED = (64, 128, 512)  # beside the full width: each ring of a row lies on a page of its own, so few are fastest
BOUND_DIMS, BOUNDING = 40, (128, 512)  # of an exact search: the sketch, and int8 copies before that of the full width
CELLS = (3.0, 0.75)  # times √n: short lists suit vectors that cluster, long ones text
_OPENINGS = 5
_FEW = 200  # tuning queries of a quick run


class Built(NamedTuple):
    """What building took and left; `build_s` until everything that the plan reads is on the disk."""

    build_s: float
    memory_bytes: int
    disk_bytes: int


class Ours:
    """One system on one case: an index in the data folder, remade at every run because building is measured."""

    def __init__(
        self, name: str, case: Case, *, plans: dict[float, str] | None = None, quick: bool = False, again: bool = False
    ) -> None:
        """`plans` by goal replace the tuned ones; `quick` serves the first goal only; `again` tunes anew."""
        self.name, self.case = name, case
        self.goals = GOALS[name][:1] if quick else GOALS[name]
        self.path = folder() / "indexes" / f"{name}-{case.name}"
        self._plans, self._again, self._quick = dict(plans or {}), again, quick
        self._index: Index | None = None
        self._seconds: dict[str, float] = {}  # of building, part by part

    @property
    def index(self) -> Index:
        """The open index with just the parts that the goals' plans read; made when it is first asked for."""
        if self._index is None:
            self._index = self._make()
            wanted = [part for goal in self.goals for part in self._parts(goal)]
            self._index.drop(*(part for part in self._index.info()["derived"] if part != "cells"))
            for part in dict.fromkeys(wanted):
                self._timed(part, lambda part=part: self._index.derive(part))
        return self._index

    def _make(self) -> Index:
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        width = self.case.gallery.shape[1]
        index = Index.create(self.path, Nesting((*(m for m in STORED if m < width), width)))
        self._timed("add", lambda: index.add(self.case.gallery))
        if self.name == "nestling-cells":
            cells = self._best_cells(index)
            self._timed("partition", lambda: index.partition(cells))
        return index

    def _best_cells(self, index: Index) -> int:
        """How many cells serve the first goal fastest: kept from an earlier run, or tried now."""
        n, plans = len(self.case.gallery), self._kept()
        if self._quick:
            return round(CELLS[0] * n**0.5)
        if self._again or "cells" not in plans:
            times: dict[int, float] = {}
            for factor in CELLS:
                cells = round(factor * n**0.5)
                index.partition(cells)
                tuned = index.tune(self._tuning, recall=self.goals[0], k=10, apply=False)
                times[cells] = next(point.time_ms for point in tuned.frontier if point.plan == tuned.plan)
                print(f"{self.case.name}: {cells} cells, {tuned.plan}, {times[cells]:.4f} ms", file=sys.stderr)
            plans["cells"] = min(times, key=lambda cells: times[cells])
            self._keep(plans)
        return int(plans["cells"])

    def _parts(self, goal: float) -> list[str]:
        """What the plan reads; an exact search bounds by an 8-bit sketch and int8 copies besides."""
        sketch = Plan.parse(self.plan(goal)).sketch
        found = [] if sketch is None else [f"sketch-{sketch[0]}@{sketch[1]}"]
        later = [stage for other in self.goals for stage in Plan.parse(self.plan(other)).stages[1:]]
        stops = sorted({stage.dims for stage in later if stage.bits == 8})  # one copy serves all goals
        if self.name == "nestling-exact":
            found.append(f"sketch-{BOUND_DIMS}@8")
            stops = _stops(self.case.gallery.shape[1])
        return [*found, f"copy-{','.join(map(str, stops))}"] if stops else found

    def _timed(self, what: str, do: Callable[[], object]) -> None:
        started = time.perf_counter()
        do()
        self._seconds[what] = time.perf_counter() - started

    def plan(self, goal: float) -> str:
        """The plan for a goal: given, kept from an earlier run, or tuned now; exact searches begin with .95's."""
        wish = 0.95 if goal == 1.0 else goal
        if wish not in self._plans:
            if self._again or str(wish) not in self._kept():
                index = self.index
                if wish in self._plans:  # making the index asked for the plan too
                    return self._plans[wish]
                tuned = index.tune(self._tuning, recall=wish, k=10)
                self._keep({**self._kept(), str(wish): str(tuned.plan)})
            self._plans[wish] = str(self._kept()[str(wish)])
        return self._plans[wish] if goal < 1 else _within(self._plans[wish], self.case.gallery.shape[1])

    @property
    def _tuning(self) -> np.ndarray:
        return self.case.tuning[: _FEW if self._quick else None]

    @property
    def _tuned(self) -> Path:
        name = "nestling-cells" if self.name == "nestling-cells" else "nestling-scan"
        return folder() / "tuned" / f"{name}-{self.case.name}{'-few' if self._quick else ''}.json"

    def _kept(self) -> dict[str, str | int]:
        return json.loads(self._tuned.read_text()) if self._tuned.exists() else {}

    def _keep(self, plans: dict[str, str | int]) -> None:
        write_file(self._tuned, json.dumps(plans, indent=1) + "\n")

    def built(self, goal: float) -> Built:
        """What a goal needs: the seconds of its parts and all rows, and the bytes without other goals' parts."""
        info, own = self.index.info(), self._parts(goal)
        others = {part: info["bytes_on_disk"][part] for part in info["derived"] if part not in (*own, "cells")}
        sketches = sum(size for part, size in others.items() if part.startswith("sketch"))  # what stays in memory
        seconds = sum(self._seconds[what] for what in ("add", "partition", *own) if what in self._seconds)
        return Built(seconds, info["bytes_in_memory"] - sketches, _size(self.path) - sum(others.values()))

    def searcher(self, goal: float) -> Callable[[np.ndarray, int], np.ndarray]:
        """``search(queries, threads)``: (q, 10) ids."""
        plan, index, exact = Plan.parse(self.plan(goal)), self.index, self.name == "nestling-exact"

        def search(queries: np.ndarray, threads: int) -> np.ndarray:
            return index.search(queries, 10, plan=plan, exact=exact, threads=threads).ids

        return search

    def scan_only(self) -> Callable[[np.ndarray, int], np.ndarray] | None:
        """The first stage alone, for the time that reading the sketch takes."""
        first = Plan.parse(self.plan(0.95)).stages[0]
        if self.name != "nestling-scan" or first.bits is None:
            return None
        plan, index = Plan.of([(first.dims, 10, first.bits)]), self.index
        return lambda queries, threads: index.search(queries, 10, plan=plan, threads=threads).ids

    def sketch_bytes(self) -> int:
        """What the first stage reads of all rows."""
        plan = Plan.parse(self.plan(0.95))
        return Plan.of([(plan.dims[0], 10, plan.stages[0].bits)]).bytes_read(len(self.case.gallery), 2)

    def open_ms(self) -> float:
        """Opening the index, its files in the page cache."""
        assert self.index, "made by now"
        seconds: list[float] = []
        for _ in range(_OPENINGS):
            started = time.perf_counter()
            Index.open(self.path).close()
            seconds.append(time.perf_counter() - started)
        return 1000 * statistics.median(seconds)

    def cold(self, goal: float, queries: np.ndarray) -> list[float]:
        """Seconds of single queries after the index's files have left the page cache."""
        self.close()
        for file in _files(self.path):
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)
        self._index = Index.open(self.path)
        search, seconds = self.searcher(goal), []
        for at in range(len(queries)):
            started = time.perf_counter()
            search(queries[at : at + 1], 1)
            seconds.append(time.perf_counter() - started)
        return seconds

    def mapped_bytes(self) -> int:
        """What of the index's files this process has mapped and touched."""
        found, inside = 0, False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            first = line.split(maxsplit=1)[0]
            if not first.endswith(":"):
                inside = str(self.path) in line
            elif inside and first == "Rss:":
                found += 1024 * int(line.split()[1])
        return found

    def close(self) -> None:
        """Unmap the files: mapped pages stay in the page cache."""
        if self._index is not None:
            self._index.close()
            self._index = None
            gc.collect()

    def remove(self) -> None:
        """Delete the index."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)


def _stops(width: int) -> list[int]:
    return [*(m for m in BOUNDING if 2 * m <= width), width]


def _within(plan: str, width: int) -> str:
    """The plan on the copies of an exact search."""
    stops = _stops(width)
    stages = [
        (next(stop for stop in stops if stop >= s.dims) if place and s.bits == 8 else s.dims, s.keep, s.bits)
        for place, s in enumerate(Plan.parse(plan).stages)
    ]
    return str(Plan.of(stages))


def _files(path: Path) -> Iterator[Path]:
    return (file for file in path.rglob("*") if file.is_file())


def _size(path: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in _files(path))
