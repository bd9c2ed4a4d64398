"""What a peer is: something built from normalised vectors that answers with row numbers, at settings from a ladder."""

from __future__ import annotations

import gc
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

BUILD_THREADS = 2
INSTALL = 'pip install "faiss-cpu>=1.15" usearch wordllama'

Setting = tuple[float, ...]


class Built(ABC):
    """One built index.

    Attributes:
        build_s: seconds it took, on BUILD_THREADS threads, from the mapped base to a searchable index in memory.
        memory_bytes: what it holds in memory while it is searched.
        disk_bytes: what it would be when saved.
    """

    build_s: float
    memory_bytes: int
    disk_bytes: int

    @abstractmethod
    def ladders(self) -> Sequence[Sequence[Setting]]:
        """Settings to try: in each ladder cost and recall rise together; ``[[()]]`` where there is nothing to set."""

    @abstractmethod
    def search(self, queries: np.ndarray, k: int, setting: Setting, threads: int) -> np.ndarray:
        """(q, k) row numbers for (q, d) float32 queries of length 1; −1 where fewer were found."""


class Peer(ABC):
    """A system to compare with.

    Attributes:
        name: as in the results.
        package: the module it needs.
        goals: recalls at which it is measured; 1.0 alone for an exact search, which has no other.
        words: what the numbers of a setting are.
        slow_build: an index takes minutes.
    """

    name: str
    package: str
    goals: tuple[float, ...] = (0.95,)
    words: tuple[str, ...] = ()
    slow_build: bool = False

    @abstractmethod
    def shapes(self, rows: int, dims: int) -> Sequence[str]:
        """Indexes worth building for such a gallery, described in a few words."""

    @abstractmethod
    def build(self, base: Base, shape: str) -> Built:
        """Build one of `shapes`."""

    def like(self, shapes: Sequence[str], best: Sequence[str]) -> Sequence[str]:
        """Of the shapes for a large gallery those worth trying, as `best` were the best in a part of it."""
        return [shape for shape in best if shape in shapes]

    def missing(self) -> str | None:
        """A sentence when its package is not installed."""
        if importlib.util.find_spec(self.package):
            return None
        return f"{self.name} needs {self.package}, which is not installed: {INSTALL}"

    def told(self, shape: str, setting: Setting) -> str:
        """The setting for people, as ``PQ32x16, base_keep=200``."""
        pairs = (f"{word}={value:g}" for word, value in zip(self.words, setting, strict=True))
        return ", ".join([shape, *pairs])


@dataclass
class Base:
    """A case's vectors, and full-width FAISS stores of them that several peers refine with."""

    name: str
    gallery: np.ndarray
    _kept: dict[str, Any] = field(default_factory=dict)

    def keep(self, key: str, make: Any) -> Any:
        """What `make` gives, made once for all peers of this case."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def release(self) -> None:
        """Free the stores."""
        self._kept.clear()
        gc.collect()


def geometric(first: float, last: float, factor: float = 1.25) -> list[int]:
    """Rising whole numbers from first to last."""
    found, value = [], float(first)
    while value < last:
        found.append(round(value))
        value *= factor
    return list(dict.fromkeys([*found, round(last)]))
