"""Exact search against the stupid loop."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.errors import InputError, ShapeError
from nestling.search import Hits, exact, prefix_norms
from tests.search import naive

module = importlib.import_module("nestling.search.exact")

METRICS = ["cosine", "ip", "l2"]
cases = st.tuples(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 4), st.integers(1, 9))


def vectors(rng: np.random.Generator, n: int, d: int, dtype: type = np.float32) -> np.ndarray:
    return rng.standard_normal((n, d)).astype(dtype)


@given(cases, st.sampled_from(METRICS), st.sampled_from([np.float32, np.float64]), st.data())
def test_exact_is_the_loop(case: tuple[int, ...], metric: str, dtype: type, data: st.DataObject) -> None:
    seed, n, q, d = case
    rng = np.random.default_rng(seed)
    gallery, queries = vectors(rng, n, d, dtype), vectors(rng, q, d)
    k, m = data.draw(st.integers(1, n)), data.draw(st.integers(1, d))
    hits = exact(gallery, queries, k, m=m, metric=metric)
    wanted = naive.score_matrix(gallery, queries, m, metric)
    for row, ids, scores in zip(wanted, hits.ids, hits.scores, strict=True):
        expected = naive.best(row, list(range(n)), k, metric)
        np.testing.assert_allclose(scores, row[ids], rtol=1e-5, atol=2e-5)
        np.testing.assert_allclose(scores, row[expected], rtol=1e-5, atol=2e-5)
        assert len(set(ids.tolist())) == k
    assert hits.scores.dtype == np.float32
    assert hits.ids.dtype == np.int64


@given(cases, st.sampled_from(["ip", "l2"]), st.data())
def test_ties_go_to_the_smaller_id(case: tuple[int, ...], metric: str, data: st.DataObject) -> None:
    seed, n, q, _ = case
    rng = np.random.default_rng(seed)
    # Small whole numbers: every sum is exact, so equal scores are equal and the loop's order is the order.
    gallery = rng.integers(-1, 2, (n, 2)).astype(np.float32)
    queries = rng.integers(-1, 2, (q, 2)).astype(np.float32)
    k = data.draw(st.integers(1, n))
    wanted = naive.score_matrix(gallery, queries, 2, metric)
    hits = exact(gallery, queries, k, metric=metric)
    assert hits.ids.tolist() == [naive.best(row, list(range(n)), k, metric) for row in wanted]


@pytest.mark.parametrize("metric", METRICS)
def test_ties_also_across_blocks(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SCORES_AT_ONCE", 12)
    gallery = np.tile(np.array([[1, 0]], np.float32), (50, 1))
    gallery[[7, 33]] = [2, 0] if metric == "ip" else [1, 0]
    hits = exact(gallery, np.array([[1, 0]], np.float32), 4, metric=metric)
    assert hits.ids.tolist() == [[7, 33, 0, 1] if metric == "ip" else [0, 1, 2, 3]]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("excluding", [False, True])
def test_blocks_change_nothing(metric: str, excluding: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    gallery, queries = vectors(rng, 300, 8), vectors(rng, 41, 8)
    exclude = rng.integers(-1, 300, 41) if excluding else None
    whole = exact(gallery, queries, 299, metric=metric, exclude=exclude)
    for budget in (350, 2000, 10_000):
        monkeypatch.setattr(module, "_SCORES_AT_ONCE", budget)
        monkeypatch.setattr(module, "_QUERIES_AT_ONCE", 16)
        monkeypatch.setattr(module, "_NORMS_AT_ONCE", 17)
        parts = exact(gallery, queries, 299, metric=metric, exclude=exclude)
        assert exclude is None or not (parts.ids == exclude[:, None]).any()
        assert (parts.ids == whole.ids).mean() > 0.99  # a last bit may swap two neighbours
        np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-5, atol=1e-5)


@given(cases, st.sampled_from(METRICS))
def test_permuting_the_gallery_permutes_the_hits(case: tuple[int, ...], metric: str) -> None:
    seed, n, q, _ = case
    rng = np.random.default_rng(seed)
    gallery, queries = vectors(rng, n, 6, np.float64), vectors(rng, q, 6, np.float64)
    order = rng.permutation(n)
    hits = exact(gallery, queries, n, metric=metric)
    permuted = exact(gallery[order], queries, n, metric=metric)
    # float64 scores rounded to float32 may tie: compare the ids only where neighbours differ.
    assert np.array_equal(order[permuted.ids], hits.ids) or np.any(np.diff(hits.scores) == 0)
    np.testing.assert_allclose(permuted.scores, hits.scores, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_exclude_leaves_out_the_query_itself(metric: str) -> None:
    rng = np.random.default_rng(0)
    gallery = vectors(rng, 40, 5)
    exclude = np.arange(40)
    exclude[3] = -1
    hits = exact(gallery, gallery, 39, metric=metric, exclude=exclude)
    assert not (hits.ids == exclude[:, None]).any()
    wanted = naive.score_matrix(gallery, gallery, 5, metric)
    for i, ids in enumerate(hits.ids):
        others = [j for j in range(40) if j != exclude[i]]
        np.testing.assert_allclose(
            wanted[i][ids], wanted[i][naive.best(wanted[i], others, 39, metric)], rtol=1e-4, atol=1e-5
        )


def test_a_prefix_without_length_scores_zero() -> None:
    gallery = np.array([[0, 0, 5], [1, 0, 0], [-1, 0, 0]], np.float32)
    queries = np.array([[1, 0, 9], [0, 0, 1]], np.float32)
    hits = exact(gallery, queries, 3, m=2)
    assert hits.ids.tolist() == [[1, 0, 2], [0, 1, 2]]
    assert hits.scores.tolist() == [[1, 0, -1], [0, 0, 0]]


def test_cosine_has_the_norms_of_the_prefix_not_of_the_vector() -> None:
    gallery = np.array([[3, 4, 100]], np.float32)
    assert exact(gallery, np.array([[3, 4, 0]], np.float32), 1, m=2).scores[0, 0] == pytest.approx(1)


@pytest.mark.parametrize("metric", METRICS)
def test_given_norms_change_nothing(metric: str) -> None:
    rng = np.random.default_rng(0)
    gallery, queries = vectors(rng, 50, 8), vectors(rng, 3, 8)
    plain = exact(gallery, queries, 5, m=4, metric=metric)
    norms = prefix_norms(gallery, (4,))
    for given_norms in (norms, norms[:, 0]):
        hits = exact(gallery, queries, 5, m=4, metric=metric, norms=given_norms)
        assert np.array_equal(hits.ids, plain.ids)
        assert np.array_equal(hits.scores, plain.scores)


def test_float64_finds_small_distances_between_long_vectors() -> None:
    gallery = np.array([[1e3, 0], [1e3, 3e-3], [1e3, 1e-3]])
    hits = exact(gallery, np.array([[1e3, 0.0]]), 3, metric="l2")
    assert hits.ids.tolist() == [[0, 2, 1]]


def test_no_queries_give_no_hits() -> None:
    hits = exact(np.ones((3, 2), np.float32), np.ones((0, 2), np.float32), 2)
    assert hits.ids.shape == hits.scores.shape == (0, 2)


def test_memory_maps_and_read_only_arrays_are_searched(tmp_path: object) -> None:
    path = f"{tmp_path}/x.npy"
    np.save(path, vectors(np.random.default_rng(0), 20, 4))
    gallery = np.load(path, mmap_mode="r")
    assert exact(gallery, gallery[:3], 1).ids[:, 0].tolist() == [0, 1, 2]


def test_prefix_norms_are_running_sums() -> None:
    x = vectors(np.random.default_rng(0), 33, 12)
    norms = prefix_norms(x, (2, 5, 5, 12))
    assert norms.dtype == np.float32
    wanted = np.stack([(x[:, :m].astype(np.float64) ** 2).sum(axis=1) for m in (2, 5, 5, 12)], axis=1)
    np.testing.assert_allclose(norms, wanted, rtol=1e-6)
    assert prefix_norms(x.astype(np.float64), (3,)).dtype == np.float64


def bad(value: float, shape: tuple[int, int] = (4, 3)) -> np.ndarray:
    x = np.ones(shape, np.float32)
    x[2, 1] = value
    return x


ONES = np.ones((4, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: exact(ONES, ONES, 5), InputError, "k must be at most 4, the items that can be found; got 5. Ask for"),
        (lambda: exact(ONES, ONES, 4, exclude=np.arange(4)), InputError, "k must be at most 3"),
        (lambda: exact(ONES, ONES, 0), InputError, "k must be a positive whole number; got 0"),
        (
            lambda: exact(ONES[0], ONES, 1),
            ShapeError,
            r"gallery must be a matrix, one vector per row; got shape \(3,\)",
        ),
        (lambda: exact(ONES, ONES[0], 1), ShapeError, "queries must be a matrix"),
        (lambda: exact(np.array(3.0), ONES, 1), ShapeError, "gallery must be a matrix"),
        (
            lambda: exact(ONES, ONES[:, :2], 1),
            ShapeError,
            "gallery and queries must be equally wide; got widths 3 and 2",
        ),
        (lambda: exact(ONES, ONES, 1, m=4), ShapeError, "between 1 and the data's width 3; got 4"),
        (lambda: exact(ONES, ONES, 1, m=0), ShapeError, "between 1 and the data's width 3; got 0"),
        (
            lambda: exact(ONES.astype(np.int64), ONES, 1),
            InputError,
            "gallery must be float32 or float64; got dtype int64",
        ),
        (lambda: exact(ONES, ONES.astype(np.float16), 1), InputError, "queries must be float32 or float64"),
        (lambda: exact(bad(np.nan), ONES, 1), InputError, "gallery must be finite; got NaN or infinity in row 2"),
        (lambda: exact(ONES, bad(np.inf), 1), InputError, "queries must be finite; got NaN or infinity in row 2"),
        (lambda: exact(ONES, bad(-np.inf), 1), InputError, "queries must be finite"),
        (lambda: exact(bad(1e30), ONES, 1), InputError, "gallery must be small enough to be squared in float32"),
        (lambda: exact(ONES, ONES, 1, exclude=np.arange(3)), ShapeError, "exclude must be one gallery row per query"),
        (lambda: exact(ONES, ONES, 1, exclude=np.arange(4) + 1), InputError, "exclude must be gallery rows below 4"),
        (lambda: exact(ONES, ONES, 1, exclude=np.ones(4)), InputError, "exclude must be whole numbers"),
        (lambda: exact(ONES, ONES, 1, norms=np.ones(3)), ShapeError, r"norms must be of shape \(4, 1\)"),
        (lambda: exact(ONES, ONES, 1, norms=np.full(4, np.nan)), InputError, "norms must be finite squares"),
        (lambda: exact(ONES, ONES, 1, norms=np.ones(4, int)), InputError, "norms must be float32 or float64"),
        (lambda: prefix_norms(ONES, (2, 1)), ShapeError, "dims must be never falling"),
        (lambda: prefix_norms(ONES, ()), ShapeError, "at least one number"),
    ],
)
def test_errors_say_what_is_wrong(call: object, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()  # type: ignore[operator]


def test_hits_that_do_not_fit(as_a_user: None) -> None:
    with pytest.raises(ShapeError, match=r"ids and scores must be two \(q, k\) matrices; got shapes"):
        Hits(np.zeros((2, 3), np.int64), np.zeros((2, 2), np.float32))


def test_an_unknown_metric(as_a_user: None) -> None:
    with pytest.raises(InputError, match="metric must be one of cosine, ip, l2; got 'dot'"):
        exact(ONES, ONES, 1, metric="dot")  # type: ignore[arg-type]


def test_what_lies_beyond_the_prefix_is_not_looked_at() -> None:
    assert exact(bad(np.nan), ONES, 1, m=1).ids.shape == (4, 1)


def test_hits_know_their_sizes() -> None:
    hits = exact(ONES, ONES[:2], 3)
    assert (len(hits), hits.k) == (2, 3)
