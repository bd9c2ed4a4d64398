"""The verdict on prefixes, on vectors of which it is known."""

from __future__ import annotations

import numpy as np
import pytest

from nestling import Nesting
from nestling.errors import InputError
from nestling.evaluation.prefixes import NESTED, PLAIN, PRINCIPAL, Prefixes, compare_prefixes
from nestling.metrics import neighbor_recall
from nestling.search import exact

D = 64
NESTING = Nesting((8, 16, 32, 64))


def rotation(d: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def vectors(kind: str) -> np.ndarray:
    """2,300 vectors of falling variance: as drawn, rotated, or rotated inside each ring."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2300, D)) * np.arange(1, D + 1) ** -0.7
    if kind == PLAIN:
        x = x @ rotation(D, 1)
    if kind == NESTED:
        for low, high in ((0, 8), (8, 16), (16, 32), (32, 64)):
            x[:, low:high] = x[:, low:high] @ rotation(high - low, high)
    return x.astype(np.float32)


def compared(x: np.ndarray) -> Prefixes:
    return compare_prefixes(x[300:], x[:300], NESTING)


@pytest.mark.parametrize("kind", [NESTED, PRINCIPAL, PLAIN])
def test_the_verdict_is_the_known_one(kind: str) -> None:
    x = vectors(kind)
    found = compared(x)
    assert found.verdict == kind
    shifted = x + 0.5  # a common direction hides nothing
    assert compared(shifted).verdict in ({PLAIN} if kind == PLAIN else {NESTED, PRINCIPAL})
    assert found.nesting.dims == (8, 16, 32)


def test_what_a_prefix_keeps_is_counted_by_exact_search() -> None:
    x = vectors(NESTED)
    found = compared(x)
    for m, kept in zip(found.nesting, found.cut, strict=True):
        cut = exact(np.ascontiguousarray(x[300:, :m]), np.ascontiguousarray(x[:300, :m]), 10).ids
        np.testing.assert_array_equal(kept, neighbor_recall(cut, exact(x[300:], x[:300], 10).ids))
    assert (found.principal.mean(axis=1) >= found.random.mean(axis=1)).all()


def test_drawn_dims_of_like_dims_are_like_the_first() -> None:
    x = np.random.default_rng(3).normal(size=(1500, D)).astype(np.float32)
    found = compared(x)
    np.testing.assert_allclose(found.cut.mean(axis=1), found.random.mean(axis=1), atol=0.03)
    assert found.verdict == PLAIN


def test_vectors_as_wide_as_their_prefix_have_none() -> None:
    x = vectors(PLAIN)
    with pytest.raises(InputError, match="wider than their first prefix"):
        compare_prefixes(x, x[:3], Nesting((64,)))
