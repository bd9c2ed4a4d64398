"""Metrics against stupid double loops, and the sentences of their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nestling import metrics
from nestling.errors import InputError, ShapeError

relevances = st.tuples(st.integers(1, 6), st.integers(1, 9)).flatmap(lambda shape: arrays(np.bool_, shape))


def naive_average_precision(row: np.ndarray) -> float:
    total = 0.0
    for i in range(len(row)):
        if row[i]:
            total += sum(bool(r) for r in row[: i + 1]) / (i + 1)
    return total / len(row)


@given(relevances)
def test_precision_and_average_precision_are_the_loops(relevant: np.ndarray) -> None:
    precision = [sum(map(bool, row)) / len(row) for row in relevant]
    average = [naive_average_precision(row) for row in relevant]
    np.testing.assert_allclose(metrics.precision_at_k(relevant), precision, rtol=1e-12)
    np.testing.assert_allclose(metrics.average_precision_at_k(relevant), average, rtol=1e-12)
    assert metrics.mean_average_precision(relevant) == pytest.approx(np.mean(average))


def test_average_precision_has_k_below_also_when_fewer_are_relevant() -> None:
    # One relevant item in the whole gallery, found at once: the min(k, R) form would say 1.
    assert metrics.average_precision_at_k(np.array([[True, False, False, False]])).tolist() == [0.25]
    assert metrics.average_precision_at_k(np.array([[True, True]])).tolist() == [1.0]
    assert metrics.average_precision_at_k(np.array([[False, True]])).tolist() == [0.25]


def test_top1() -> None:
    assert metrics.top1(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0])) == 0.75


def test_recall_is_of_relevant_items_and_nan_without_any() -> None:
    relevant = np.array([[True, False], [True, True], [False, False]])
    np.testing.assert_equal(metrics.recall_at_k(relevant, np.array([4, 2, 0])), np.array([0.25, 1.0, math.nan]))


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))
def test_neighbor_recall_is_the_loop(seed: int, q: int, k: int, j: int) -> None:
    rng = np.random.default_rng(seed)
    found = rng.integers(-1, 8, (q, k))
    true = np.stack([rng.permutation(8)[:j] for _ in range(q)])
    true[rng.random(true.shape) < 0.3] = -1
    for got, a, b in zip(metrics.neighbor_recall(found, true), found, true, strict=True):
        wanted = [i for i in b if i != -1]
        if not wanted:
            assert math.isnan(got)
        else:
            assert got == pytest.approx(sum(i in a for i in wanted) / len(wanted))


def test_neighbor_recall_does_not_mix_queries() -> None:
    assert metrics.neighbor_recall(np.array([[0], [1]]), np.array([[1], [0]])).tolist() == [0.0, 0.0]


def test_bootstrap_is_the_resampling_loop_in_distribution() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(60), rng.random(60)
    means = [float(np.mean((a - b)[rng.integers(60, size=60)])) for _ in range(4000)]
    wanted = np.quantile(means, [0.05, 0.95])
    got = metrics.paired_bootstrap(a, b, draws=4000, seed=1, confidence=0.9)
    np.testing.assert_allclose(got, wanted, atol=0.01)


def test_bootstrap_is_paired_seeded_and_blind_to_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a = rng.random(50) * 100
    low, high = metrics.paired_bootstrap(a + 1, a, seed=0)  # unpaired, ±100/√50 would swamp the 1
    assert low == pytest.approx(1)
    assert high == pytest.approx(1)
    b = rng.random(50)
    first = metrics.paired_bootstrap(a, b, seed=3)
    assert metrics.paired_bootstrap(a, b, seed=np.random.default_rng(3)) == first
    assert metrics.paired_bootstrap(a, b, seed=4) != first
    monkeypatch.setattr(metrics, "_DRAWN_AT_ONCE", 120)
    assert metrics.paired_bootstrap(a, b, seed=3) == pytest.approx(first)


def test_bootstrap_takes_correctness() -> None:
    right, wrong = np.ones(20, bool), np.zeros(20, bool)
    assert metrics.paired_bootstrap(right, wrong, seed=0, draws=10) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: metrics.top1(np.zeros(3), np.zeros(2)), ShapeError, "equally long and not empty; got shapes"),
        (lambda: metrics.top1(np.zeros(0), np.zeros(0)), ShapeError, "equally long and not empty"),
        (lambda: metrics.precision_at_k(np.zeros(3, bool)), ShapeError, "relevant must be a matrix"),
        (lambda: metrics.precision_at_k(np.zeros((0, 3), bool)), ShapeError, "at least one query"),
        (lambda: metrics.precision_at_k(np.zeros((2, 3))), InputError, "relevant must be bool; got dtype float64"),
        (
            lambda: metrics.recall_at_k(np.ones((2, 3), bool), np.array([3])),
            ShapeError,
            r"totals must be one per query, shape \(2,\)",
        ),
        (
            lambda: metrics.recall_at_k(np.ones((1, 3), bool), np.array([2])),
            InputError,
            "no smaller than what was found",
        ),
        (
            lambda: metrics.neighbor_recall(np.zeros((2, 3), int), np.zeros((1, 3), int)),
            ShapeError,
            "one row per query; got shapes",
        ),
        (lambda: metrics.paired_bootstrap(np.ones(2), np.ones(3), seed=0), ShapeError, "a and b must be"),
        (
            lambda: metrics.paired_bootstrap(np.array([math.nan]), np.ones(1), seed=0),
            InputError,
            "a and b must be finite",
        ),
        (lambda: metrics.paired_bootstrap(np.ones(2), np.ones(2), seed=0, draws=0), InputError, "draws must"),
        (
            lambda: metrics.paired_bootstrap(np.ones(2), np.ones(2), seed=0, confidence=1.0),
            InputError,
            "confidence must be between 0 and 1",
        ),
    ],
)
def test_errors_say_what_is_wrong(call: object, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()  # type: ignore[operator]


def test_groups_and_trainings_are_resampled_whole() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 50)
    per_group = rng.normal(0, 1, 20)
    a = np.stack([per_group[groups] + rng.normal(0, 0.1, 1000) for _ in range(3)])
    b = np.zeros_like(a)
    low, high = metrics.grouped_bootstrap(a, b, groups, seed=0, draws=4000)
    assert low < a.mean() < high
    wide = 2 * 1.96 * per_group.std() / np.sqrt(20)
    assert high - low == pytest.approx(wide, rel=0.15)
    narrow = metrics.paired_bootstrap(a[0], b[0], seed=0)
    assert high - low > 4 * (narrow[1] - narrow[0])


def test_trainings_that_differ_widen_the_interval() -> None:
    a = np.stack([np.full(100, value) for value in (0.0, 1.0, 2.0)])
    low, high = metrics.grouped_bootstrap(a, np.zeros_like(a), np.arange(100), seed=0)
    assert low <= 1 / 3
    assert high >= 5 / 3
    assert metrics.grouped_bootstrap(a[:1], a[:1], np.zeros(100), seed=0) == (0.0, 0.0)


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 100))
def test_ndcg_is_what_its_formula_says(k: int, q: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    relevant = rng.random((q, k)) < 0.4
    totals = relevant.sum(1) + rng.integers(0, 3, q)
    found = metrics.ndcg_at_k(relevant, totals)
    for row, total, value in zip(relevant, totals, found, strict=True):
        gained = sum(1 / math.log2(i + 2) for i in range(k) if row[i])
        best = sum(1 / math.log2(i + 2) for i in range(min(k, total)))
        assert np.isnan(value) if total == 0 else value == pytest.approx(gained / best)
    with pytest.raises(InputError, match="no smaller than what was found"):
        metrics.ndcg_at_k(np.ones((1, 2), bool), np.array([1]))


def test_a_grouped_bootstrap_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    a, groups = rng.random((2, 9)), np.array([5, 5, 7, 7, 7, 9, 9, 9, 9])
    found = metrics.grouped_bootstrap(a, np.zeros_like(a), groups, seed=2, draws=200, confidence=0.5)
    draw, means = np.random.default_rng(2), []
    for _ in range(200):
        chosen, trainings = draw.integers(3, size=3), draw.integers(2, size=2)
        values = [a[t, q] for t in trainings for g in chosen for q in np.flatnonzero(groups == [5, 7, 9][g])]
        means.append(np.mean(values))
    assert found == pytest.approx(np.quantile(means, [0.25, 0.75]).tolist())


@pytest.mark.parametrize(
    ("a", "groups", "error"),
    [
        (np.ones(3), np.ones(3), ShapeError),
        (np.ones((1, 3)), np.ones(2), ShapeError),
        (np.ones((0, 3)), np.ones(3), ShapeError),
        (np.full((1, 3), np.nan), np.ones(3), InputError),
    ],
)
def test_a_grouped_bootstrap_refuses_what_does_not_fit(a: np.ndarray, groups: np.ndarray, error: type) -> None:
    with pytest.raises(error):
        metrics.grouped_bootstrap(a, a, groups, seed=0)
