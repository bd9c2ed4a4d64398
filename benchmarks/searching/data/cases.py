"""The cases: a gallery, a nesting, queries to tune on and others to report on, and the right answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from benchmarks.searching.data import generated, real
from benchmarks.searching.data.truth import Truth, truth
from nestling.nesting import Nesting

CASES = (
    "structured-125000",
    "structured-250000",
    "structured-500000",
    "real-wordnet",
    "real-debian",
    "real-fashion",
    "rotated-500000",
)
QUICK_CASES = ("structured-5000", "real-wordnet-10000", "rotated-5000")
TEN_MILLION = "ten-million"


@dataclass(frozen=True)
class Case:
    """Everything at length 1, so that inner product is cosine.

    Attributes:
        gallery: (n, d) mapped, float32 (float16 in ``ten-million``).
        tuning, queries: (1000, d) float32 each, from the gallery's distribution and not in it.
        tuning_truth, truth: their ten nearest.
    """

    name: str
    gallery: np.ndarray = field(repr=False)
    tuning: np.ndarray = field(repr=False)
    queries: np.ndarray = field(repr=False)
    tuning_truth: Truth = field(repr=False)
    truth: Truth = field(repr=False)

    @property
    def nesting(self) -> Nesting:
        """Halving, as the demo's."""
        return Nesting.halving(self.gallery.shape[1])

    @property
    def kind(self) -> str:
        """The name without its size."""
        return _split(self.name)[0]


def load(name: str) -> Case:
    """Make what is missing, map the rest."""
    kind, rows = _split(name)
    if kind in generated.GENERATED:
        which = generated.GENERATED[kind]
        gallery, queries = which.gallery(rows or 500_000), which.queries()
    elif kind in real.REAL:
        gallery, queries = real.gallery(kind)[: rows or None], real.queries(kind)
    else:
        known = ", ".join((*CASES, TEN_MILLION))
        raise SystemExit(f"No case {name}; there are {known}, and each with another -N for its first N rows.")
    exact = truth(name, gallery, queries)
    half = len(queries) // 2
    return Case(
        name,
        gallery,
        queries[:half],
        queries[half:],
        Truth(exact.ids[:half], exact.scores[:half]),
        Truth(exact.ids[half:], exact.scores[half:]),
    )


def _split(name: str) -> tuple[str, int]:
    kind, _, size = name.rpartition("-")
    if size.isdigit():
        return kind, int(size)
    return name, 10_000_000 if name == TEN_MILLION else 0
