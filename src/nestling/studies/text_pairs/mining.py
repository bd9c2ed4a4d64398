"""Hard negatives: documents that a model ranks high for a query and that do not answer it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.search.index import Index

_LOOKED_AT = 48  # of each query's nearest documents


def hard_negatives(
    queries: Float32[np.ndarray, "q d"],
    documents: Float32[np.ndarray, "m d"],
    pairs: Int64[np.ndarray, "n 2"],
    count: int,
    *,
    margin: float,
    seed: int,
) -> Int64[np.ndarray, "n h"]:
    """For each pair rows of documents, the nearest first.

    What comes within `margin` of the answer's cosine, or above it, may well be another answer that nobody marked
    (NV-Retriever, Moreira et al. 2024, arXiv 2407.15831: at most .95 of the answer's): it is left out. Where too few
    are left, others are drawn.

    Args:
        pairs: rows of both.
        count: h.
        margin: the share of the answer's cosine that a negative must lie below it.
        seed: of what is drawn.

    Raises:
        InputError: fewer documents than negatives, or a margin that is no share.
    """
    if not 0 <= margin < 1:
        raise InputError.of("--margin", "from 0 to below 1", margin)
    if count < 1 or count >= len(documents):
        raise InputError.of("--hard-negatives", f"from 1 to below the {len(documents)} documents", count)
    near, scores = _nearest(queries, documents)
    answers = {(int(a), int(b)) for a, b in pairs}
    rng, found = np.random.default_rng(seed), np.empty((len(pairs), count), np.int64)
    own = _cosines(queries, documents, pairs)
    for row, (query, _) in enumerate(pairs):
        ids, values = near[query], scores[query]
        good = [
            int(i)
            for i, value in zip(ids, values, strict=True)
            if i >= 0 and value < (1 - margin) * own[row] and (int(query), int(i)) not in answers
        ][:count]
        while len(good) < count:
            drawn = int(rng.integers(len(documents)))
            if (int(query), drawn) not in answers or len(documents) <= len(answers):
                good.append(drawn)
        found[row] = good
    return found


def _nearest(queries: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keep = min(_LOOKED_AT, len(documents))
    with (
        tempfile.TemporaryDirectory(prefix="nestling-mine-") as folder,
        Index.create(Path(folder) / "index", Nesting((documents.shape[1],))) as index,
    ):
        index.add(documents)
        hits = index.search(queries, keep, exact=True)
    return hits.ids, hits.scores


def _cosines(queries: np.ndarray, documents: np.ndarray, pairs: np.ndarray) -> Float32[np.ndarray, " n"]:
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (queries, documents))
    return np.einsum("nd,nd->n", a[pairs[:, 0]], b[pairs[:, 1]]).astype(np.float32)
