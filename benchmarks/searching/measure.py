"""The figures of one case: each peer in its own slot, ours measured in turn with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.searching import bandwidth
from benchmarks.searching.data import Case, K, recall
from benchmarks.searching.figures import BENCH, Figure
from benchmarks.searching.ours import Ours
from benchmarks.searching.peers import Base, Peer
from benchmarks.searching.peers.base import Built as PeerBuilt
from benchmarks.searching.timing import Effort, Search, batches, singles
from benchmarks.searching.tuning import Chosen, chosen

_SCAN_GOAL = 0.95
_RECALLED = 100  # queries of an exact peer whose recall is looked at: it is slow, and 1
_UNITS = {"recall@10": "fraction", "p50_ms": "ms", "p99_ms": "ms", "batch_qps": "1/s", "build_s": "s"}


@dataclass
class Run:
    """What to measure on a case.

    Attributes:
        peers, ours: the systems asked for.
        quick: small effort, one goal.
        again: tune anew.
    """

    case: Case
    peers: Sequence[Peer]
    ours: Sequence[Ours]
    quick: bool = False
    again: bool = False
    base: Base = field(init=False)

    def __post_init__(self) -> None:
        self.base = Base(self.case.name, self.case.gallery)
        self.effort = Effort.of(self.quick)

    def figures(self) -> Iterator[Figure]:
        """All of them, peer by peer."""
        for peer in self.peers:
            sentence = peer.missing()
            if sentence:
                print(sentence, file=sys.stderr)
                continue
            yield from self._slot(peer)
        if self.ours and not self.peers:
            for goal in (1.0, 0.95) if self.quick else (1.0, 0.95, 0.98, 0.99):
                yield from self._entries(goal, "alone", [Entry.ours(which, g) for which, g in self._mine(goal)])
        for which in self.ours:
            yield from self._alone(which)
        self.base.release()

    def _slot(self, peer: Peer) -> Iterator[Figure]:
        best = chosen(peer, self.case, self.base, again=self.again, few=self.quick)
        built, shape = None, None
        for goal in peer.goals[:1] if self.quick else peer.goals:
            if goal not in best:
                print(f"{self.case.name} {peer.name}: no setting reaches {goal}", file=sys.stderr)
                continue
            if best[goal].shape != shape:
                del built  # two of them may not fit
                shape = best[goal].shape
                built = peer.build(self.base, shape)
            entries = [Entry.peer(peer, built, best[goal]), *(Entry.ours(which, g) for which, g in self._mine(goal))]
            yield from self._entries(goal, peer.name, entries)

    def _mine(self, goal: float) -> Iterator[tuple[Ours, float]]:
        """Beside an exact peer the exact search, and the others at .95: what is gained by giving up a twentieth."""
        for which in self.ours:
            if goal in which.goals:
                yield which, goal
            elif goal == 1.0:
                yield which, _SCAN_GOAL

    def _entries(self, goal: float, slot: str, entries: list[Entry]) -> Iterator[Figure]:
        values = {entry.name: entry.sizes(len(self.case.gallery)) for entry in entries}
        for entry in entries:
            values[entry.name]["recall@10"] = self._recall(entry, goal)
        runs = {entry.name: entry.search for entry in entries}
        for name, latency in singles(runs, self.case.queries, self.effort).items():
            values[name] |= {"p50_ms": latency.p50_ms, "p99_ms": latency.p99_ms}
        for name, rate in batches(runs, self.case.queries, self.effort).items():
            values[name]["batch_qps"] = rate
        theirs = values.get(slot)
        for entry in entries:
            if theirs is not None and entry.name != slot:
                _ratios(values[entry.name], theirs)
            for metric, value in values[entry.name].items():
                yield Figure(
                    BENCH,
                    self.case.name,
                    entry.name,
                    metric,
                    value,
                    _UNITS.get(metric, "B" if "bytes" in metric else "x"),
                    goal,
                    slot,
                    entry.setting,
                )

    def _recall(self, entry: Entry, goal: float) -> float:
        count = _RECALLED if goal == 1.0 and entry.is_peer else len(self.case.queries)
        queries = self.case.queries[:count]
        exact = type(self.case.truth)(*(part[:count] for part in self.case.truth))
        return float(recall(entry.search(queries, 2), self.case.gallery, queries, exact).mean())

    def _alone(self, which: Ours) -> Iterator[Figure]:
        """What has no peer: opening, cold queries, the scan by itself and the memory's speed."""
        goal = 1.0 if which.name == "nestling-exact" else _SCAN_GOAL

        def figure(metric: str, value: float, unit: str, setting: str = "") -> Figure:
            return Figure(BENCH, self.case.name, which.name, metric, value, unit, goal, "", setting)

        scan = which.scan_only()
        if scan is not None:
            size = which.sketch_bytes()
            rate, how = bandwidth.gb_per_s(size)
            large, how_large = bandwidth.gb_per_s(bandwidth.LARGE)
            p50 = singles({"scan": scan}, self.case.queries, self.effort)["scan"].p50_ms
            yield figure("read_gb_per_s", rate, "GB/s", f"{size:,} B, {how}")
            yield figure("read_gb_per_s", large, "GB/s", f"{bandwidth.LARGE:,} B, {how_large}")
            yield figure("scan_ms", p50, "ms", which.plan(_SCAN_GOAL).partition(",")[0])
            yield figure("scan_over_reading", p50 / (1000 * size / (rate * 1e9)), "x", "1.5 is the goal")
        mapped = which.mapped_bytes() / len(self.case.gallery)
        yield figure("mapped_bytes_per_vector", mapped, "B", "of the files, touched by this run's queries")
        yield figure("open_ms", which.open_ms(), "ms")
        cold = which.cold(goal, self.case.queries[:200])
        yield figure(
            "cold_p99_ms", 1000 * float(np.percentile(cold, 99)), "ms", "first 200 queries, files not in memory"
        )
        yield figure("cold_first_ms", 1000 * cold[0], "ms")


@dataclass(frozen=True)
class Entry:
    """One system at one setting, ready to search."""

    name: str
    setting: str
    search: Search
    built: object
    is_peer: bool

    @classmethod
    def peer(cls, peer: Peer, built: PeerBuilt, best: Chosen) -> Entry:
        """A peer at its best."""

        def search(queries: np.ndarray, threads: int) -> np.ndarray:
            return built.search(queries, K, best.setting, threads)

        return cls(peer.name, peer.told(best.shape, best.setting), search, built, True)

    @classmethod
    def ours(cls, which: Ours, goal: float) -> Entry:
        """Ours at its plan for a goal."""
        built = which.built(goal)
        return cls(which.name, which.plan(goal), which.searcher(goal), built, False)

    def sizes(self, rows: int) -> dict[str, float]:
        """Bytes per vector and the build's seconds."""
        built = self.built
        return {
            "memory_bytes_per_vector": built.memory_bytes / rows,
            "disk_bytes_per_vector": built.disk_bytes / rows,
            "build_s": built.build_s,
        }


def _ratios(ours: dict[str, float], theirs: dict[str, float]) -> None:
    ours["speedup_p50"] = theirs["p50_ms"] / ours["p50_ms"]
    ours["speedup_batch"] = ours["batch_qps"] / theirs["batch_qps"]
    ours["speedup_build"] = theirs["build_s"] / ours["build_s"]
