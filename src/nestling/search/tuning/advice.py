"""What a tuning says beside its numbers."""

from __future__ import annotations

import numpy as np

from nestling.search.tuning.questions import Questions
from nestling.search.tuning.scratch import Gallery

_ROWS, _QUERIES = 8192, 100
_NO_BETTER = 0.85
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

    Measured as the share of random rows that come before a true neighbour. Vectors that were trained nested, or whose
    spectrum falls, rank several times better by their first dims; a random rotation makes both alike.
    """
    width = gallery.width
    m = min(max(8, width // 8), 32)
    if 2 * m > width:
        return None
    some = questions.part(np.arange(min(len(questions), _QUERIES)))
    drawn = rng.choice(gallery.live, min(len(gallery.live), _ROWS), replace=False)
    x, near = gallery.values(np.sort(drawn)), gallery.values(some.rows.reshape(-1)).reshape(*some.rows.shape, width)
    spread = np.linspace(0, width, m, endpoint=False).astype(int)
    losses = [
        _before(*(part[..., dims] for part in (some.x, x, near)), metric=gallery.snapshot.manifest.metric)
        for dims in (np.arange(m), spread)
    ]
    if losses[0] < _NO_BETTER * losses[1]:
        return None
    return FLAT_PREFIXES.format(m=m, prefix=losses[0], spread=losses[1], width=width)


def _before(queries: np.ndarray, x: np.ndarray, near: np.ndarray, *, metric: str) -> float:
    """The share of rows that a prefix puts before a true neighbour, with half of a row for chance."""
    if metric == "cosine":
        x, near = _unit(x), _unit(near)
    scores, theirs = queries @ x.T, np.einsum("qkm,qm->qk", near, queries)
    if metric == "l2":
        scores = 2 * scores - np.einsum("nm,nm->n", x, x)
        theirs = 2 * theirs - np.einsum("qkm,qkm->qk", near, near)
    ahead = sum(np.count_nonzero(scores > column[:, None]) for column in theirs.T)
    return ahead / (scores.size * theirs.shape[1]) + 0.5 / len(x)


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
