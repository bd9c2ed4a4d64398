"""The funnel against a loop that compares whole prefixes anew at every stage, and against exact search."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.errors import InputError, PlanError, ShapeError
from nestling.search import Plan, exact, funnel, prefix_norms
from tests.search import naive

exact_module = importlib.import_module("nestling.search.exact")
funnel_module = importlib.import_module("nestling.search.funnel")

METRICS = ["cosine", "ip", "l2"]
seeds = st.integers(0, 10_000)
metrics = st.sampled_from(METRICS)
# No stage of one dim: every cosine is then ±1 and the order is one of rounding.
PLANS = ["3:12,5:6,8:4", "8:3", "2:30,8:5", "4:10,4:7,8:7", "2:9,8:1"]


def vectors(rng: np.random.Generator, n: int, d: int, dtype: type = np.float32) -> np.ndarray:
    return rng.standard_normal((n, d)).astype(dtype)


def stages_of(plan: str) -> list[tuple[int, int]]:
    return [(stage.dims, stage.keep) for stage in Plan.parse(plan).stages]


@given(seeds, metrics, st.sampled_from(PLANS), st.booleans(), st.sampled_from([np.float32, np.float64]))
def test_a_funnel_is_the_loop_over_whole_prefixes(seed: int, metric: str, plan: str, native: bool, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    gallery, queries = vectors(rng, 30, 8, dtype), vectors(rng, 3, 8, dtype)
    hits = funnel(gallery, queries, plan, metric=metric, native=native)
    for query, ids, scores in zip(queries, hits.ids, hits.scores, strict=True):
        assert ids.tolist() == naive.funnel(gallery, query, stages_of(plan), metric)
        wanted = [naive.score(query, gallery[i], metric) for i in ids]
        np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5)


@given(seeds, st.sampled_from(["ip", "l2"]), st.sampled_from(PLANS), st.booleans())
def test_ties_go_to_the_smaller_id_at_every_stage(seed: int, metric: str, plan: str, native: bool) -> None:
    rng = np.random.default_rng(seed)
    gallery = rng.integers(-1, 2, (30, 8)).astype(np.float32)
    queries = rng.integers(-1, 2, (3, 8)).astype(np.float32)
    hits = funnel(gallery, queries, plan, metric=metric, native=native)
    assert hits.ids.tolist() == [naive.funnel(gallery, q, stages_of(plan), metric) for q in queries]


@given(seeds, metrics, st.booleans())
def test_a_funnel_that_keeps_everything_is_exact(seed: int, metric: str, native: bool) -> None:
    rng = np.random.default_rng(seed)
    gallery, queries = vectors(rng, 25, 12), vectors(rng, 4, 12)
    wanted = exact(gallery, queries, 6, metric=metric)
    for plan in ("2:25,5:25,12:6", "3:1000,12:6"):
        hits = funnel(gallery, queries, plan, metric=metric, native=native)
        assert np.array_equal(hits.ids, wanted.ids)
        np.testing.assert_allclose(hits.scores, wanted.scores, rtol=1e-4, atol=1e-5)


@given(seeds, metrics, st.sampled_from(PLANS))
def test_permuting_the_gallery_permutes_the_hits(seed: int, metric: str, plan: str) -> None:
    rng = np.random.default_rng(seed)
    gallery, queries = vectors(rng, 40, 8), vectors(rng, 3, 8)
    order = rng.permutation(40)
    hits = funnel(gallery, queries, plan, metric=metric)
    permuted = funnel(gallery[order], queries, plan, metric=metric)
    assert np.array_equal(order[permuted.ids], hits.ids)


@given(seeds, metrics, st.sampled_from(PLANS))
def test_native_is_numpy_within_rounding(seed: int, metric: str, plan: str) -> None:
    rng = np.random.default_rng(seed)
    gallery, queries = vectors(rng, 60, 8), vectors(rng, 5, 8)
    kernel = funnel(gallery, queries, plan, metric=metric, native=True)
    plain = funnel(gallery, queries, plan, metric=metric, native=False)
    assert np.array_equal(kernel.ids, plain.ids)
    np.testing.assert_allclose(kernel.scores, plain.scores, rtol=1e-5, atol=1e-5)


def test_the_kernel_is_used_when_it_can_be_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    class Spy:
        @staticmethod
        def add_ring_dots(*_: object) -> None:
            calls.append(1)

    monkeypatch.setattr(funnel_module, "_native", Spy)
    rng = np.random.default_rng(0)
    gallery, queries = vectors(rng, 30, 8), vectors(rng, 2, 8)
    funnel(gallery, queries, "2:9,8:3", native=False)
    funnel(gallery.astype(np.float64), queries, "2:9,8:3")
    funnel(np.asfortranarray(gallery), queries, "2:9,8:3")
    funnel(gallery, queries, "2:9,2:3")  # no new ring
    assert not calls
    funnel(gallery, queries, "2:9,4:5,8:3")
    assert len(calls) == 2


@pytest.mark.parametrize("metric", METRICS)
def test_layouts_change_nothing(metric: str) -> None:
    rng = np.random.default_rng(0)
    wide = vectors(rng, 60, 16)
    gallery, queries = wide[::2, 4:12], vectors(rng, 3, 8)
    wanted = funnel(np.ascontiguousarray(gallery), queries, "2:20,8:5", metric=metric)
    for layout in (gallery, np.asfortranarray(gallery), np.ascontiguousarray(gallery[::-1])[::-1]):
        hits = funnel(layout, np.asfortranarray(queries), "2:20,8:5", metric=metric)
        assert np.array_equal(hits.ids, wanted.ids)
        np.testing.assert_allclose(hits.scores, wanted.scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_blocks_change_nothing(metric: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    gallery, queries = vectors(rng, 200, 8), vectors(rng, 23, 8)
    wanted = funnel(gallery, queries, "3:60,5:30,8:10", metric=metric, native=native)
    monkeypatch.setattr(exact_module, "_SCORES_AT_ONCE", 400)
    monkeypatch.setattr(funnel_module, "_GATHERED_AT_ONCE", 50)
    hits = funnel(gallery, queries, "3:60,5:30,8:10", metric=metric, native=native)
    assert np.array_equal(hits.ids, wanted.ids)
    np.testing.assert_allclose(hits.scores, wanted.scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("native", [False, True])
def test_exclude(metric: str, native: bool) -> None:
    gallery = vectors(np.random.default_rng(0), 30, 8)
    own = np.arange(30)
    hits = funnel(gallery, gallery, "2:40,8:29", metric=metric, native=native, exclude=own)
    assert not (hits.ids == own[:, None]).any()
    assert np.array_equal(hits.ids, exact(gallery, gallery, 29, metric=metric, exclude=own).ids)


@pytest.mark.parametrize("metric", METRICS)
def test_given_norms_change_nothing_and_are_used(metric: str) -> None:
    rng = np.random.default_rng(0)
    gallery, queries, plan = vectors(rng, 50, 8), vectors(rng, 3, 8), Plan.parse("2:20,4:10,8:3")
    norms = prefix_norms(gallery, plan.dims)
    plain = funnel(gallery, queries, plan, metric=metric)
    hits = funnel(gallery, queries, plan, metric=metric, norms=norms)
    assert np.array_equal(hits.ids, plain.ids)
    assert np.array_equal(hits.scores, plain.scores)
    other = funnel(gallery, queries, plan, metric=metric, norms=norms * 4)
    assert np.array_equal(other.scores, plain.scores) == (metric == "ip")


def test_every_stage_has_the_norms_of_its_own_prefix() -> None:
    # By the first dim row 0 is the nearest (cosine 1); the full vector's norm would rank it last.
    gallery = np.array([[1, 50, 0], [-1, 0, 0], [-1, 1, 0]], np.float32)
    hits = funnel(gallery, np.array([[1, 0, 0]], np.float32), "1:1,3:1")
    assert hits.ids.tolist() == [[0]]


def test_a_prefix_without_length_scores_zero() -> None:
    gallery = np.array([[0, 0, 5], [1, 0, 0], [-1, 0, 0]], np.float32)
    hits = funnel(gallery, np.array([[0, 0, 2]], np.float32), "2:3,3:3")
    assert hits.ids.tolist() == [[0, 1, 2]]
    assert hits.scores.tolist() == [[1, 0, 0]]


def test_one_query_of_many_scores_as_it_does_alone() -> None:
    rng = np.random.default_rng(0)
    gallery, queries = vectors(rng, 500, 16), vectors(rng, 9, 16)
    together = funnel(gallery, queries, "4:50,16:5")
    for i in range(9):
        assert np.array_equal(funnel(gallery, queries[i : i + 1], "4:50,16:5").ids[0], together.ids[i])


def test_add_ring_dots_is_the_loop() -> None:
    rng = np.random.default_rng(0)
    query, gallery = vectors(rng, 4, 5), vectors(rng, 9, 5)
    shortlist, scores = rng.integers(0, 9, (4, 6)), vectors(rng, 4, 6)
    wanted = scores.copy()
    for i in range(4):
        for j in range(6):
            wanted[i, j] += query[i] @ gallery[shortlist[i, j]]
    funnel_module.add_ring_dots(scores, query, gallery, shortlist)
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)


ONES = np.ones((4, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: funnel(ONES, ONES, "3:5"), PlanError, "the last keep must be at most 4"),
        (lambda: funnel(ONES, ONES, "3:4", exclude=np.arange(4)), PlanError, "the last keep must be at most 3"),
        (lambda: funnel(ONES, ONES, "2:4,9:1"), PlanError, "at most the vectors' width 3; got 9"),
        (lambda: funnel(ONES, ONES, "2@1:4,3:1"), PlanError, "needs 1-bit codes, which plain vectors have not"),
        (lambda: funnel(ONES[0], ONES, "2:1"), ShapeError, "gallery must be a matrix"),
        (lambda: funnel(ONES, ONES[0], "2:1"), ShapeError, "queries must be a matrix"),
        (lambda: funnel(ONES * np.float32(np.nan), ONES, "2:1"), InputError, "infinity in row 0"),
        (lambda: funnel(ONES, ONES, "2:3,3:1", norms=np.ones((4, 1))), ShapeError, "a column per stage"),
    ],
)
def test_errors_say_what_is_wrong(call: object, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()  # type: ignore[operator]
