"""Learning the cells of an index from a sample of its vectors."""

from __future__ import annotations

import numpy as np

from nestling.errors import InputError
from nestling.search.derived import KMeans
from nestling.search.derived.cells import ROUNDS, training_rows
from nestling.search.storage import parts
from nestling.search.storage.snapshot import Snapshot
from nestling.search.storage.transaction import Progress

_LEAST_DIMS = 128  # measured: 4 cells of 128 dims find what 24 of 32 dims do (docs/LOG.md)


def comparisons(n: int, cells: int) -> int:
    """Of a vector with all cells: those of the sample in each round, then those of all vectors."""
    return ROUNDS * min(n, training_rows(cells)) + n


def fitted_cells(
    snapshot: Snapshot, cells: int | None, dims: int | None, seed: int, progress: Progress | None = None
) -> parts.NewPartition:
    """K-means on a sample of the live vectors.

    `progress` counts vectors that were compared with all cells; in its total are those that will be put into them.

    Raises:
        InputError: fewer vectors than cells, or dims that are not stored.
    """
    n = len(snapshot)
    if dims is None:
        dims = next((m for m in snapshot.nesting if m >= _LEAST_DIMS), snapshot.nesting.width)
    if dims not in snapshot.nesting.dims:
        raise InputError.of("dims", f"among the stored dims {snapshot.nesting}", dims)
    cells = max(1, round(3 * n**0.5)) if cells is None else cells
    if not 1 <= cells <= n:
        raise InputError.of("cells", f"between 1 and the number of vectors {n}", cells)
    wanted = min(n, training_rows(cells))
    chosen = np.sort(np.random.default_rng(seed).choice(n, wanted, replace=False))
    at = np.searchsorted(snapshot.starts, chosen, side="right") - 1
    sample = [
        segment.values(segment.live_rows[chosen[at == place] - snapshot.starts[place]], dims)
        for place, segment in enumerate(snapshot.segments)
    ]

    def told(rounds: int) -> None:
        if progress is not None:
            words = "centers" if rounds < ROUNDS else f"{n:,} vectors into cells"
            progress(rounds * wanted, comparisons(n, cells), words)

    told(0)
    metric = snapshot.manifest.metric
    found = KMeans.fit(np.concatenate(sample), cells, dims, metric=metric, seed=seed, told=told)
    return parts.NewPartition("kmeans", "kmeans", cells, dims, {"centroids": found.centroids})
