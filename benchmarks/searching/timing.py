"""Timing systems in turn, so that a drifting machine drifts for all of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Search = Callable[[np.ndarray, int], np.ndarray]
_WARM = 10  # queries before each round, not counted: the caches hold the other system's data
_FEW = 100  # a batch this large first, and only this where it is slow already


class Effort(NamedTuple):
    """How long to measure."""

    rounds: int
    single_s: float  # of single queries, each system and round
    batch_s: float  # a batch of _FEW that takes longer is the measurement
    fewest: int = 20

    @classmethod
    def of(cls, quick: bool) -> Effort:
        """For published figures, or for a look."""
        return cls(1, 0.2, 0.3, 5) if quick else cls(5, 3.0, 8.0)


class Latency(NamedTuple):
    """Medians over the rounds, milliseconds."""

    p50_ms: float
    p99_ms: float
    queries: int


def singles(runs: dict[str, Search], queries: np.ndarray, effort: Effort) -> dict[str, Latency]:
    """Single queries on one thread: system A for a while, then B, then A again."""
    seconds: dict[str, list[list[float]]] = {name: [] for name in runs}
    for _ in range(effort.rounds):
        for name, search in runs.items():
            seconds[name].append(_round(search, queries, effort))
    return {name: _latency(rounds) for name, rounds in seconds.items()}


def batches(runs: dict[str, Search], queries: np.ndarray, effort: Effort, threads: int = 2) -> dict[str, float]:
    """Queries a second in one call with all of them, median of the rounds, taken in turn."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(max(1, effort.rounds - 2)):
        for name, search in runs.items():
            found[name].append(_batch(search, queries, effort, threads))
    return {name: statistics.median(rates) for name, rates in found.items()}


def _round(search: Search, queries: np.ndarray, effort: Effort) -> list[float]:
    one = [queries[at : at + 1] for at in range(len(queries))]
    started = time.perf_counter()
    for query in one[-_WARM:]:
        search(query, 1)
        if time.perf_counter() - started > effort.single_s:
            break
    gc.collect()
    seconds: list[float] = []
    until = time.perf_counter() + effort.single_s
    for query in one:
        started = time.perf_counter()
        search(query, 1)
        ended = time.perf_counter()
        seconds.append(ended - started)
        if ended > until and len(seconds) >= effort.fewest:
            break
    return seconds


def _latency(rounds: list[list[float]]) -> Latency:
    p50, p99 = (statistics.median(1000 * np.percentile(r, part) for r in rounds) for part in (50, 99))
    return Latency(float(p50), float(p99), sum(map(len, rounds)))


def _batch(search: Search, queries: np.ndarray, effort: Effort, threads: int) -> float:
    few = queries[:_FEW]
    started = time.perf_counter()
    search(few, threads)
    seconds = time.perf_counter() - started
    if seconds > effort.batch_s:
        return len(few) / seconds
    started = time.perf_counter()
    search(queries, threads)
    return len(queries) / (time.perf_counter() - started)
