"""Top-k against np.lexsort, with many ties, on both sides of the grouped path."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.errors import InputError, ShapeError
from nestling.search import topk

module = importlib.import_module("nestling.search.topk")


def lexsorted(scores: np.ndarray, k: int) -> np.ndarray:
    return np.stack([np.lexsort((np.arange(len(row)), -row))[:k] for row in scores])


@given(
    st.integers(0, 10_000),
    st.integers(1, 5),
    st.integers(1, 1500),
    st.integers(1, 12),
    st.sampled_from([1, 2, 5, 1000]),
    st.sampled_from([np.float32, np.float64]),
)
def test_topk_is_lexsort(seed: int, q: int, width: int, k: int, values: int, dtype: type) -> None:
    k = min(k, width)
    rng = np.random.default_rng(seed)
    scores = rng.integers(-values, values, (q, width)).astype(dtype)
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    ids, best = topk(scores, k)
    assert np.array_equal(ids, lexsorted(scores, k))
    assert np.array_equal(best, np.take_along_axis(scores, ids, axis=1))
    assert best.dtype == dtype


@pytest.mark.parametrize("width", [255, 256, 257, 319, 320, 64 * 40 + 13])
@pytest.mark.parametrize("k", [1, 3, 9])
def test_the_grouped_path_and_its_tail(width: int, k: int) -> None:
    rng = np.random.default_rng(width)
    scores = rng.standard_normal((7, width)).astype(np.float32)
    scores[:3, -k:] = 9  # the best ones in the columns that fill no group
    scores[3, :] = 1
    assert np.array_equal(topk(scores, k)[0], lexsorted(scores, k))


def test_rows_in_several_goes_and_no_rows_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1000)
    scores = np.random.default_rng(0).integers(0, 9, (31, 300)).astype(np.float32)
    assert np.array_equal(topk(scores, 5)[0], lexsorted(scores, 5))
    assert topk(scores[:0], 5)[0].shape == (0, 5)


def test_a_strided_view_gives_the_same() -> None:
    scores = np.random.default_rng(0).standard_normal((6, 1200)).astype(np.float32)
    assert np.array_equal(topk(scores[::2, 100:1100], 2)[0], lexsorted(scores[::2, 100:1100], 2))


@pytest.mark.parametrize("width", [5, 2000])
def test_nan_has_no_place_in_a_ranking(width: int) -> None:
    scores = np.zeros((2, width), np.float32)
    scores[1, 3] = np.nan
    with pytest.raises(InputError, match="scores must be free of NaN"):
        topk(scores, 1)


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="k must be between 1 and the number of columns 4; got 5"):
        topk(np.zeros((2, 4), np.float32), 5)
    with pytest.raises(ShapeError, match="scores must be a matrix of float32 or float64"):
        topk(np.zeros(4, np.float32), 1)
    with pytest.raises(ShapeError, match="dtype int64"):
        topk(np.zeros((2, 4), np.int64), 1)
