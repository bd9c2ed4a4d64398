"""What is right of a system's test images, by each classifier; validation chooses where there is a choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from nestling.nesting import Nesting
from nestling.studies.reproduce.systems import HEAD, PROBE, Block, Systems

LINEAR = "linear_top1"


@dataclass(frozen=True, eq=False)
class Judged:
    """A block's classifiers on validation and test.

    Attributes:
        right: metric → (K, q) of the test images.
        val: metric → (K,) share of the validation images that are right.
    """

    system: str
    seed: int
    nesting: Nesting
    right: Mapping[str, Bool[np.ndarray, "K q"]]
    val: Mapping[str, Float64[np.ndarray, " K"]]

    def or_better(self, other: Judged, system: str) -> Judged:
        """At each prefix and by each metric the one that validation prefers."""
        right, val = {}, {}
        for metric in self.right:
            right[metric], val[metric] = _better(
                (self.right[metric], self.val[metric]), (other.right[metric], other.val[metric])
            )
        return Judged(system, self.seed, self.nesting, right, val)


def judge(block: Block, systems: Systems) -> Judged:
    """All classifiers of a block.

    "Linear" is, at each prefix, the head or the probe, whichever is right more often on validation: a head below its
    probe is under-fitted, and no method is judged by it. SVD's classifier is a row of its own, as in the paper.
    """
    labels = {part: systems.images.part(part).labels for part in ("val", "test")}
    predicted = systems.predicted(block)
    right = {metric: parts["test"] == labels["test"] for metric, parts in predicted.items()}
    val = {metric: (parts["val"] == labels["val"]).mean(axis=1) for metric, parts in predicted.items()}
    linear = [metric for metric in (HEAD, PROBE) if metric in right and not (block.system == "SVD" and metric == PROBE)]
    if linear:
        best = right[linear[0]], val[linear[0]]
        for metric in linear[1:]:
            best = _better(best, (right[metric], val[metric]))
        right[LINEAR], val[LINEAR] = best
    return Judged(block.system, block.seed, block.nesting, right, val)


def _better(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Prefix by prefix the one of the higher share on validation, the first if they are equal."""
    first = one[1] >= other[1]
    return np.where(first[:, None], one[0], other[0]), np.where(first, one[1], other[1])
