"""Differences of systems, from how often each is right in each group of images.

A group (the icons of one family) is what is resampled. Its counts are rows, so that the differences of several runs,
each of other seeds, can be told from their rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from nestling.evaluation import Row
from nestling.metrics import summed_bootstrap
from nestling.nesting import Nesting

CLOSE = (("MRL", "FF"), ("MRL-E", "MRL"), ("MRL projected", "FF projected"))
"""Systems that the paper calls alike, or nearly."""
PAIRS = (*CLOSE, *(("MRL", other) for other in ("MRL raw", "SVD", "random", "slimmable")))
"""Which systems are compared."""
_GROUPED, _DIFFERENCE = "_by_group", "_difference"
_MOST = 100  # groups; where every image is its own, they are resampled in so many bundles


def grouped_rows(
    right: Bool[np.ndarray, "K q"], groups: np.ndarray, nesting: Nesting, *, metric: str, system: str, seed: int
) -> list[Row]:
    """For each prefix and group the share of its images that is right; none for a system that is not compared.

    Args:
        right: (K, q) of the test images.
        groups: (q,) whole numbers.
    """
    if not any(system in pair for pair in PAIRS):
        return []
    names, codes = np.unique(groups, return_inverse=True)
    codes = codes % _MOST
    sizes = np.bincount(codes)
    return [
        Row(
            system=system,
            metric=f"{metric}{_GROUPED}",
            value=float(count / sizes[code]),
            unit="fraction",
            n=int(sizes[code]),
            dims=m,
            group=str(names[code]),
            seed=seed,
        )
        for m, line in zip(nesting, right, strict=True)
        for code, count in enumerate(np.bincount(codes, weights=line, minlength=len(sizes)))
    ]


def with_differences(rows: Sequence[Row], nesting: Nesting) -> list[Row]:
    """The rows, and for each pair, metric and prefix the mean difference over the seeds that both have, with its
    interval over groups and seeds. What the rows held of differences before is left out."""
    kept = [row for row in rows if not row.metric.endswith(_DIFFERENCE)]
    counts = _counts(kept)
    found: list[Row] = []
    for ours, theirs in PAIRS:
        for metric in dict.fromkeys(metric for _, metric, _ in counts):
            for m in nesting:
                a, b = counts.get((ours, metric, m), {}), counts.get((theirs, metric, m), {})
                if seeds := sorted(set(a) & set(b)):
                    name = metric.removesuffix(_GROUPED) + _DIFFERENCE
                    found.append(_difference([(a[s], b[s]) for s in seeds], f"{ours} - {theirs}", name, m))
    return kept + found


def _counts(rows: Sequence[Row]) -> dict[tuple[str, str, int], dict[int, dict[str, Row]]]:
    """(system, metric, dims) → seed → group → row."""
    found: dict[tuple[str, str, int], dict[int, dict[str, Row]]] = {}
    for row in rows:
        if row.metric.endswith(_GROUPED) and row.dims is not None and row.group is not None and row.seed is not None:
            of_seed = found.setdefault((row.system, row.metric, row.dims), {}).setdefault(row.seed, {})
            of_seed.setdefault(row.group, row)  # the first draw of random features stands for all
    return found


def _difference(pairs: Sequence[tuple[Mapping[str, Row], Mapping[str, Row]]], system: str, metric: str, m: int) -> Row:
    names = list(pairs[0][0])
    sizes = np.array([pairs[0][0][name].n for name in names])
    sums = np.array([[(a[name].value - b[name].value) * a[name].n for name in names] for a, b in pairs])
    return Row(
        system=system,
        metric=metric,
        value=float(sums.sum() / (len(pairs) * sizes.sum())),
        unit="fraction",
        n=len(pairs) * int(sizes.sum()),
        dims=m,
        interval=summed_bootstrap(sums, sizes, seed=0),
    )
