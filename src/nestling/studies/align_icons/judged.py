"""Whether pictures and captions find one another, by each prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from nestling.nesting import Nesting, truncate
from nestling.search import exact
from nestling.studies.align_icons.models import Encoded
from nestling.studies.align_icons.pairs import Asked
from nestling.studies.captioned import TO_CAPTION, TO_PICTURE, found_at

ZERO_SHOT = "zero-shot top-1"


@dataclass(frozen=True, eq=False)
class Judged:
    """Of one model.

    Attributes:
        right: metric → (K, q), whether each query is answered, by each prefix.
        gap: (K,) mean cosine of pictures with their captions, minus that with captions of others.
        macro: (K,) zero-shot accuracy, the mean over classes of at least five pictures; NaN where there is none.
    """

    right: Mapping[str, Bool[np.ndarray, "K q"]]
    gap: Float64[np.ndarray, " K"]
    macro: Float64[np.ndarray, " K"]


def judged(found: Encoded, asked: Asked, nesting: Nesting) -> Judged:
    """Exact search at every prefix.

    A caption is answered by any picture whose main caption says the same, a picture by the caption that says so.
    """
    right: dict[str, list[np.ndarray]] = {}
    classed = np.flatnonzero(asked.classes >= 0)
    gaps, macro = list[float](), list[float]()
    for m in nesting:
        for form, queries, gallery, wanted, there in (
            (TO_PICTURE, found.captions, found.pictures, asked.caption_groups, asked.groups),
            (TO_CAPTION, found.pictures, found.captions, asked.groups, asked.caption_groups),
        ):
            for k, hit in found_at(gallery, queries, there, wanted, m=m).items():
                right.setdefault(form.format(k), []).append(hit)
        told = exact(found.prompts, found.pictures[classed], 1, m=m).ids[:, 0] == asked.classes[classed]
        right.setdefault(ZERO_SHOT, []).append(told)
        macro.append(_macro(told, asked.classes[classed], asked.scored))
        gaps.append(_gap(found, asked, m))
    return Judged({name: np.stack(lines) for name, lines in right.items()}, np.array(gaps), np.array(macro))


def _macro(right: Bool[np.ndarray, " q"], classes: Int64[np.ndarray, " q"], scored: np.ndarray) -> float:
    counts = np.bincount(classes, minlength=len(scored))
    hits = np.bincount(classes, weights=right, minlength=len(scored))
    return float((hits[scored] / counts[scored]).mean()) if scored.any() else float("nan")


def _gap(found: Encoded, asked: Asked, m: int) -> float:
    """The mean over pairs of all pictures and captions comes from the two means, without the pairs."""
    x, y = (truncate(each.astype(np.float64), m) for each in (found.pictures, found.captions))
    own = np.searchsorted(asked.caption_groups, asked.groups)
    true = float((x * y[own]).sum(axis=1).mean())
    n, g = len(x), len(y)
    others = (x.sum(axis=0) @ y.sum(axis=0) - true * n) / (n * (g - 1)) if g > 1 else 0.0
    return true - float(others)
