"""Learning the cells of an index from a sample of its vectors."""

from __future__ import annotations

import numpy as np

from nestling.errors import InputError
from nestling.search.derived import KMeans
from nestling.search.derived.cells import training_rows
from nestling.search.storage import parts
from nestling.search.storage.snapshot import Snapshot

_LEAST_DIMS = 128  # measured: 4 cells of 128 dims find what 24 of 32 dims do (docs/LOG.md)


def fitted_cells(snapshot: Snapshot, cells: int | None, dims: int | None, seed: int) -> parts.NewPartition:
    """K-means on a sample of the live vectors.

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
    found = KMeans.fit(np.concatenate(sample), cells, dims, metric=snapshot.manifest.metric, seed=seed)
    return parts.NewPartition("kmeans", "kmeans", cells, dims, {"centroids": found.centroids})
