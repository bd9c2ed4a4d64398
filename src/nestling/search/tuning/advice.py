"""What a tuning says beside its numbers."""

from __future__ import annotations

import numpy as np

from nestling.search.tuning.questions import Questions
from nestling.search.tuning.scratch import Gallery

_ROWS, _QUERIES = 8192, 200
_PREFIXES = (8, 16, 32)
_NO_BETTER = 0.9
_FEW = 100
_MANY = 100_000

STANDING_IN = (
    "Gallery vectors stood in for queries, which is optimistic: real queries often lie farther from the gallery. "
    "Give real ones to know."
)
FLAT_PREFIXES = (
    "The first dims tell neighbours no better than any others do ({m} of them put {prefix:.2%} of the gallery before a "
    "true neighbour, {m} spread over all {width} put {spread:.2%}), so short prefixes are not worth scanning: a wide "
    "1-bit sketch serves better, and an adaptor learned on these vectors would gather in the first dims what counts."
)
CELLS_WOULD_HELP = (
    "With {n:,} vectors, cells would save most of the scan: call partition (nestling index partition), then tune again."
)
FEW_QUERIES = "Only {q} queries measured the plan, so its interval is wide. Give more."
STEPPED_ON = (
    "The plan that was chosen on one half of the queries fell short on the other ({plan}: {recall:.4f}), so a safer "
    "one was taken; its recall may be a little optimistic."
)
NOTHING_LASTS = (
    "No plan with a sketch of at most {budget} bytes a vector reaches the wish, so every vector is read. Wish for "
    "less, or allow a larger budget."
)


def flat_prefixes(gallery: Gallery, questions: Questions, rng: np.random.Generator) -> str | None:
    """A warning if the first dims rank no better than as many spread over the whole width.

    Measured as the share of random rows that come before a true neighbour, the geometric mean over neighbours and a few
    prefixes. Measured: spectra that fall and models trained nested 0.03–0.05 of what spread dims leave, text vectors
    trained nested at 64 dims and more 0.7–0.8, a random rotation 1.1.
    """
    width = gallery.width
    prefixes = [m for m in _PREFIXES if 2 * m <= width]
    if not prefixes:
        return None
    some = questions.part(np.arange(min(len(questions), _QUERIES)))
    drawn = np.sort(rng.choice(gallery.live, min(len(gallery.live), _ROWS), replace=False))
    x, near = gallery.values(drawn), gallery.values(some.rows.reshape(-1)).reshape(*some.rows.shape, width)
    metric = gallery.snapshot.manifest.metric
    first, spread = (
        np.stack([_before(*(part[..., dims] for part in (some.x, x, near)), metric=metric) for dims in chosen])
        for chosen in (
            [np.arange(m) for m in prefixes],
            [np.linspace(0, width, m, endpoint=False).astype(int) for m in prefixes],
        )
    )
    if np.exp(np.log(first / spread).mean()) < _NO_BETTER:
        return None
    losses = {"prefix": float(first[0].mean()), "spread": float(spread[0].mean())}
    return FLAT_PREFIXES.format(m=prefixes[0], width=width, **losses)


def _before(queries: np.ndarray, x: np.ndarray, near: np.ndarray, *, metric: str) -> np.ndarray:
    """(q, k) the share of rows that some dims put before a true neighbour, and half a row more."""
    if metric == "cosine":
        x, near = _unit(x), _unit(near)
    scores, theirs = queries @ x.T, np.einsum("qkm,qm->qk", near, queries)
    if metric == "l2":
        scores = 2 * scores - np.einsum("nm,nm->n", x, x)
        theirs = 2 * theirs - np.einsum("qkm,qkm->qk", near, near)
    ahead = [np.count_nonzero(scores > column[:, None], axis=1) for column in theirs.T]
    return (np.stack(ahead, axis=1) + 0.5) / len(x)


def _unit(x: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1)


def few(questions: Questions) -> str | None:
    """A warning if the interval rests on few queries."""
    return FEW_QUERIES.format(q=len(questions)) if len(questions) < _FEW else None


def cells(gallery: Gallery) -> str | None:
    """A suggestion to partition a large gallery."""
    n = len(gallery.live)
    return CELLS_WOULD_HELP.format(n=n) if n > _MANY and gallery.snapshot.partition is None else None
