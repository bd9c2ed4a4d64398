"""The stupid loops that every search is compared with, in float64."""

from __future__ import annotations

import numpy as np


def score(x: np.ndarray, y: np.ndarray, metric: str) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    if metric == "l2":
        return float(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
    dot = float(sum(a * b for a, b in zip(x, y, strict=True)))
    if metric == "ip":
        return dot
    lengths = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return dot / lengths if lengths else 0.0


def score_matrix(gallery: np.ndarray, queries: np.ndarray, m: int, metric: str) -> np.ndarray:
    return np.array([[score(q[:m], x[:m], metric) for x in gallery] for q in queries]).reshape(
        len(queries), len(gallery)
    )


def best(scores: np.ndarray, candidates: list[int], keep: int, metric: str) -> list[int]:
    """The best of these candidates by (score, id)."""
    sign = 1 if metric == "l2" else -1
    return sorted(candidates, key=lambda i: (sign * scores[i], i))[:keep]


def funnel(gallery: np.ndarray, query: np.ndarray, stages: list[tuple[int, int]], metric: str) -> list[int]:
    """Every stage compares the whole prefixes of its shortlist anew."""
    shortlist = list(range(len(gallery)))
    for m, keep in stages:
        scores = score_matrix(gallery, query[None, :], m, metric)[0]
        shortlist = best(scores, shortlist, keep, metric)
    return shortlist
