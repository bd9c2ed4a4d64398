"""Whether pictures and captions find one another, by exact search."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64

from nestling.evaluation import Row
from nestling.nesting import Nesting
from nestling.search import exact

KS = (1, 5, 10)
TO_PICTURE, TO_CAPTION = "text→image recall@{}", "image→text recall@{}"


def found_at(
    gallery: Float[np.ndarray, "n d"],
    queries: Float[np.ndarray, "q d"],
    there: Int64[np.ndarray, " n"],
    wanted: Int64[np.ndarray, " q"],
    *,
    m: int,
) -> dict[int, Bool[np.ndarray, " q"]]:
    """For each k of `KS`: whether the k nearest by the first m numbers hold anything of the query's group.

    Args:
        there, wanted: groups of what is searched and of what is searched for.
    """
    hits = there[exact(gallery, queries, min(KS[-1], len(gallery)), m=m).ids] == wanted[:, None]
    return {k: hits[:, :k].any(axis=1) for k in KS}


def recall_rows(
    pictures: Float[np.ndarray, "n d"], captions: Float[np.ndarray, "n d"], groups: Int64[np.ndarray, " n"],
    nesting: Nesting, *, system: str,
) -> list[Row]:  # fmt: skip
    """Recall of pairs in both directions, at every prefix; captions that say the same are searched once.

    Args:
        pictures, captions: row i of one belongs to row i of the other.
        groups: captions of the same number are the same.
    """
    known, first = np.unique(groups, return_index=True)
    rows: list[Row] = []
    for m in nesting:
        for form, found in (
            (TO_PICTURE, found_at(pictures, captions[first], groups, known, m=m)),
            (TO_CAPTION, found_at(captions[first], pictures, known, groups, m=m)),
        ):
            rows += [
                Row(system=system, metric=form.format(k), value=float(hit.mean()), unit="fraction", n=len(hit), dims=m)
                for k, hit in found.items()
            ]
    return rows
