"""1-NN of every prefix at once against one exact search per prefix, and against the stupid loop."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Nesting
from nestling.errors import InputError, ShapeError
from nestling.evaluation import one_nn
from nestling.search import exact

module = importlib.import_module("nestling.evaluation.neighbors")

NESTING = Nesting((2, 3, 8))


def naive_nearest(gallery: np.ndarray, query: np.ndarray, m: int, left_out: int) -> int:
    best, at = -np.inf, -1
    for i, x in enumerate(gallery):
        a, b = x[:m].astype(np.float64), query[:m].astype(np.float64)
        lengths = np.sqrt((a @ a) * (b @ b))
        cosine = a @ b / lengths if lengths else 0.0
        if i != left_out and cosine > best:
            best, at = cosine, i
    return at


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 5), st.booleans(), st.booleans())
def test_one_nn_is_the_loop(seed: int, n: int, q: int, double: bool, excluding: bool) -> None:
    rng = np.random.default_rng(seed)
    dtype = np.float64 if double else np.float32
    gallery, queries = rng.standard_normal((n, 8)).astype(dtype), rng.standard_normal((q, 8)).astype(dtype)
    labels, wanted = rng.integers(0, 3, n), rng.integers(0, 3, q)
    exclude = rng.integers(-1, n, q) if excluding else None
    result = one_nn(gallery, labels, queries, wanted, NESTING, exclude=exclude)
    for level, m in enumerate(NESTING):
        for i in range(q):
            at = naive_nearest(gallery, queries[i], m, -1 if exclude is None else int(exclude[i]))
            assert result.nearest[level, i] == at
            assert result.correct[level, i] == (labels[at] == wanted[i])
    for level, row in enumerate(result.rows("MRL")):
        assert (row.system, row.metric, row.dims, row.n) == ("MRL", "1nn_top1", NESTING.dims[level], q)
        assert row.value == pytest.approx(result.correct[level].mean())


def test_blocks_change_nothing_and_agree_with_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    gallery, labels = rng.standard_normal((120, 8)).astype(np.float32), rng.integers(0, 5, 120)
    own = np.arange(120)
    monkeypatch.setattr(module, "_QUERIES_AT_ONCE", 13)
    monkeypatch.setattr(module, "_ITEMS_AT_ONCE", 7)
    result = one_nn(gallery, labels, gallery, labels, NESTING, exclude=own)
    for level, m in enumerate(NESTING):
        assert np.array_equal(result.nearest[level], exact(gallery, gallery, 1, m=m, exclude=own).ids[:, 0])


def test_ties_go_to_the_smaller_row_also_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ITEMS_AT_ONCE", 4)
    gallery = np.tile(np.array([[-1, 0]], np.float32), (19, 1))
    gallery[[6, 7, 13]] = [1, 0]
    result = one_nn(gallery, np.arange(19), gallery[6:7], np.array([6]), Nesting((1, 2)))
    assert result.nearest.tolist() == [[6], [6]]


def test_zero_prefixes_score_zero() -> None:
    gallery = np.array([[-1, 0], [0, 5], [-2, 1]], np.float32)
    result = one_nn(gallery, np.arange(3), np.array([[1, 0]], np.float32), np.array([1]), Nesting((1, 2)))
    assert result.nearest.tolist() == [[1], [1]]


def test_labels_of_text() -> None:
    x = np.eye(2, dtype=np.float32)
    result = one_nn(x, np.array(["cat", "dog"]), x, np.array(["cat", "cat"]), Nesting((2,)))
    assert result.correct.tolist() == [[True, False]]


X, Y = np.ones((4, 8), np.float32), np.zeros(4, int)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: one_nn(X, Y[:3], X, Y, NESTING), ShapeError, r"gallery_labels must be one per vector, shape \(4,\)"),
        (lambda: one_nn(X, Y, X, Y[:3], NESTING), ShapeError, "query_labels must be one per vector"),
        (lambda: one_nn(X, Y, X[:0], Y[:0], NESTING), ShapeError, "query_labels must be one per vector"),
        (lambda: one_nn(X[:, :7], Y, X, Y, NESTING), ShapeError, "gallery must be 8 wide"),
        (lambda: one_nn(X[0], Y, X, Y, NESTING), ShapeError, "gallery must be a matrix"),
        (lambda: one_nn(X * np.float32(np.nan), Y, X, Y, NESTING), InputError, "gallery must be finite"),
    ],
)
def test_errors_say_what_is_wrong(call: object, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()  # type: ignore[operator]
