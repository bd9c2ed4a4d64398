"""The best setting of a peer for a recall, found on the tuning queries and kept in the data folder."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.searching.data import Case, K, Truth, load, recall
from benchmarks.searching.data.store import folder
from benchmarks.searching.peers import Base, Built, Peer, Setting
from nestling.files import write_file

SMALL = 125_000
_FEW = 1  # shapes of a quick run
_FINALISTS = 3  # shapes a goal that a large gallery tries
_TIMED = 100  # single queries a candidate is timed on
_TRIED = 200  # tuning queries that find the right rung; the last steps use them all
_SLOWER = 1.5  # in a batch, where a query takes less than alone
_found: set[Path] = set()  # by this process


class Chosen(NamedTuple):
    """The fastest found for one goal."""

    shape: str
    setting: Setting
    recall: float
    ms: float


def chosen(peer: Peer, case: Case, base: Base, *, again: bool = False, few: bool = False) -> dict[float, Chosen]:
    """For each goal the fastest setting that reaches it on the tuning queries; none for a goal that none reaches.

    Kept in the data folder; `again` finds them anew, once a process. `few` tries the first shapes only, for a quick
    run. In a large gallery only those shapes are tried that did best in the first SMALL rows of it.
    """
    path = _kept(peer, case.name, few)
    if not path.exists() or (again and path not in _found):
        search = _Search(peer, case, peer.goals[:1] if few else peer.goals)
        for shape in _worth_trying(peer, case, again, few):
            search.try_shape(peer.build(base, shape), shape)
        kept = {"chosen": {str(goal): c for goal, c in search.best.items()}, "tried": search.tried}
        write_file(path, json.dumps(kept, indent=1) + "\n")
        _found.add(path)
    kept = json.loads(path.read_text())
    return {float(goal): Chosen(c[0], tuple(c[1]), c[2], c[3]) for goal, c in kept["chosen"].items()}


def _kept(peer: Peer, name: str, few: bool) -> Path:
    return folder() / "tuned" / f"{peer.name}-{name}{'-few' if few else ''}.json"


def _worth_trying(peer: Peer, case: Case, again: bool, few: bool) -> Sequence[str]:
    shapes = peer.shapes(*case.gallery.shape)
    if few or len(shapes) == 1 or len(case.gallery) < 2 * SMALL:
        return shapes[: _FEW if few else None]
    small = load(f"{case.kind}-{SMALL}")
    base = Base(small.name, small.gallery)
    chosen(peer, small, base, again=again)
    base.release()
    tried = json.loads(_kept(peer, small.name, few).read_text())["tried"]
    best: list[str] = []
    for goal in peer.goals:
        fastest: dict[str, float] = {}
        for at, shape, _, _, ms in tried:
            if at == goal:
                fastest[shape] = min(ms, fastest.get(shape, ms))
        best += sorted(fastest, key=lambda shape: fastest[shape])[: 1 if peer.slow_build else _FINALISTS]
    return peer.like(shapes, list(dict.fromkeys(best)))


class _Search:
    """The best so far; a candidate that is clearly slower is left before it costs time."""

    def __init__(self, peer: Peer, case: Case, goals: Sequence[float]) -> None:
        self.peer, self.case, self.goals = peer, case, goals
        self.best: dict[float, Chosen] = {}
        self.tried: list[tuple[float, str, str, float, float]] = []

    def try_shape(self, built: Built, shape: str) -> None:
        """Every ladder of one index, for every goal."""
        for goal in self.goals:
            for ladder in built.ladders():
                found = self._lowest(built, ladder, goal)
                if found is None:
                    continue
                setting, reached = found
                candidate = Chosen(shape, setting, reached, _single_ms(built, self.case, setting))
                told = self.peer.told(shape, setting)
                self.tried.append((goal, shape, told, reached, candidate.ms))
                if goal not in self.best or candidate.ms < self.best[goal].ms:
                    self.best[goal] = candidate
                line = f"{self.case.name} {self.peer.name} ≥{goal}: {told}: {reached:.4f} {candidate.ms:.3f} ms"
                print(line, file=sys.stderr, flush=True)

    def _lowest(self, built: Built, ladder: Sequence[Setting], goal: float) -> tuple[Setting, float] | None:
        """The lowest rung that reaches the goal, by bisection: recall rises along a ladder."""
        if len(ladder) == 1:
            return ladder[0], self._recall(built, ladder[0], _TRIED)
        low, high, reachable = 0, len(ladder), False
        slow = _SLOWER * self.best[goal].ms / 1000 if goal in self.best else float("inf")
        while low < high:
            middle = (low + high) // 2
            started = time.perf_counter()
            enough = self._recall(built, ladder[middle], _TRIED) >= goal
            too_slow = (time.perf_counter() - started) / _TRIED > slow
            if not enough and too_slow:
                return None
            low, high = (low, middle) if enough else (middle + 1, high)
            reachable |= enough
        if not reachable:
            return None
        for setting in ladder[max(low - 2, 0) :]:  # a few queries are uncertain: step on until all of them agree
            reached = self._recall(built, setting, len(self.case.tuning))
            if reached >= goal:
                return setting, reached
        return None

    def _recall(self, built: Built, setting: Setting, count: int) -> float:
        queries = self.case.tuning[:count]
        exact = Truth(*(part[:count] for part in self.case.tuning_truth))
        return float(recall(built.search(queries, K, setting, 1), self.case.gallery, queries, exact).mean())


def _single_ms(built: Built, case: Case, setting: Setting) -> float:
    seconds: list[float] = []
    until = time.perf_counter() + 2.0
    for query in case.tuning[:_TIMED]:
        query = np.ascontiguousarray(query[None])
        started = time.perf_counter()
        built.search(query, K, setting, 1)
        seconds.append(time.perf_counter() - started)
        if time.perf_counter() > until and len(seconds) >= 5:
            break
    return 1000 * float(np.percentile(seconds[len(seconds) // 10 :], 25))  # others may be using the machine
