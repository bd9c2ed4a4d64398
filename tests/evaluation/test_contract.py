"""One suite over every evaluation: vectors with labels in, rows out."""

from __future__ import annotations

import numpy as np
import pytest

from nestling import Nesting
from nestling.errors import InputError, ShapeError
from nestling.evaluation import Evaluation, FewShot, Neighbor, Probe, Ranking, Vectors, Vote
from nestling.evaluation.base import Classification

CASES = [Probe(), Neighbor(), Vote(3), FewShot((1, 3), draws=4), Ranking(5)]
every = pytest.mark.parametrize("by", CASES, ids=lambda by: type(by).__name__)
NESTING, CLASSES = Nesting((2, 5, 8)), 4


def vectors(*, far: float, seed: int = 0, n: int = 120, q: int = 40, dtype: type = np.float32) -> Vectors:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).standard_normal((CLASSES, 8)) * far
    labels = [np.arange(count) % CLASSES for count in (n, q)]
    train, test = ((centres[of] + rng.standard_normal((len(of), 8))).astype(dtype) for of in labels)
    return Vectors(NESTING, train, labels[0], test, labels[1])


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_of_each_metric_for_each_prefix(by: Evaluation, dtype: type) -> None:
    rows = by.rows(vectors(far=3, dtype=dtype), seed=0, system="ours")
    metrics = {row.metric for row in rows}
    for metric in metrics:
        assert [row.dims for row in rows if row.metric == metric] == list(NESTING)
    assert {row.system for row in rows} == {"ours"}
    assert all(0 <= row.value <= 1 and row.n == 40 for row in rows)


@every
def test_far_classes_are_told_apart_and_random_vectors_are_not(by: Evaluation) -> None:
    far = {(r.metric, r.dims): r.value for r in by.rows(vectors(far=100), seed=0)}
    near = {(r.metric, r.dims): r.value for r in by.rows(vectors(far=0), seed=0)}
    for (metric, m), value in far.items():
        if not metric.startswith("recall"):  # 5 of 30 relevant ones
            assert m == 2 or value == 1
            assert near[metric, m] < 0.55


@every
def test_the_order_of_the_training_vectors_hardly_matters(by: Evaluation) -> None:
    given = vectors(far=2)
    order = np.random.default_rng(1).permutation(len(given.train))
    turned = Vectors(NESTING, given.train[order], given.train_labels[order], given.test, given.test_labels)
    for one, two in zip(by.rows(given, seed=0), by.rows(turned, seed=0), strict=True):
        # Another order draws other examples, and other batches.
        slack = 0.25 if isinstance(by, FewShot) else 0.06 if isinstance(by, Probe) else 1e-12
        assert one.value == pytest.approx(two.value, abs=slack)


@every
def test_equal_seeds_give_equal_rows_and_nothing_is_changed(by: Evaluation) -> None:
    given = vectors(far=1)
    before = given.train.copy(), given.test.copy()
    assert by.rows(given, seed=5) == by.rows(given, seed=5)
    assert np.array_equal(given.train, before[0])
    assert np.array_equal(given.test, before[1])


@every
def test_a_prefix_alone_gives_its_row(by: Evaluation) -> None:
    given = vectors(far=1)
    alone = Vectors(Nesting((5,)), given.train[:, :5], given.train_labels, given.test[:, :5], given.test_labels)
    among = [row for row in by.rows(given, seed=0) if row.dims == 5]
    assert by.rows(alone, seed=0) == among


@pytest.mark.parametrize("by", [c for c in CASES if isinstance(c, Classification)], ids=lambda by: type(by).__name__)
def test_a_classification_counts_what_it_predicts(by: Classification) -> None:
    given = vectors(far=1)
    predicted = by.predict(given, seed=0)
    assert predicted.shape == (3, 40)
    assert [row.value for row in by.rows(given, seed=0)] == [(p == given.test_labels).mean() for p in predicted]


def test_few_shot_against_a_double_loop() -> None:
    given = vectors(far=1)
    by = FewShot((40,), draws=1)  # more than there are: nothing is drawn
    rows = by.rows(given, seed=0)
    for row, m in zip(rows, NESTING, strict=True):
        right = 0
        for query, label in zip(given.test, given.test_labels, strict=True):
            scores = []
            for c in range(CLASSES):
                mean = given.train[given.train_labels == c].mean(axis=0)[:m]
                scores.append(mean @ query[:m] / np.linalg.norm(mean) / np.linalg.norm(query[:m]))
            right += int(np.argmax(scores) == label)
        assert row.value == right / 40
        assert row.interval == (row.value, row.value)


def test_a_vote_against_a_double_loop() -> None:
    given = vectors(far=1)
    for line, m in zip(Vote(5).predict(given, seed=0), NESTING, strict=True):
        for query, answer in zip(given.test, line, strict=True):
            x = given.train[:, :m]
            cosines = x @ query[:m] / np.linalg.norm(x, axis=1) / np.linalg.norm(query[:m])
            near = given.train_labels[np.argsort(-cosines)[:5]].tolist()
            most = max(near.count(label) for label in near)
            assert answer == next(label for label in near if near.count(label) == most)


def test_ranking_against_a_double_loop() -> None:
    given = vectors(far=1)
    rows = {(row.metric, row.dims): row.value for row in Ranking(5).rows(given, seed=0)}
    for m in NESTING:
        sums = np.zeros(4)
        for query, label in zip(given.test, given.test_labels, strict=True):
            x = given.train[:, :m]
            cosines = x @ query[:m] / np.linalg.norm(x, axis=1) / np.linalg.norm(query[:m])
            right = given.train_labels[np.argsort(-cosines)[:5]] == label
            average = sum(right[: i + 1].mean() * right[i] for i in range(5)) / 5
            sums += average, right.mean(), right.sum() / (given.train_labels == label).sum(), right[0]
        found = [rows[name, m] for name in ("map@5", "precision@5", "recall@5", "top1")]
        assert found == pytest.approx((sums / 40).tolist(), abs=1e-6)


@pytest.mark.usefixtures("as_a_user")
def test_what_does_not_fit_is_refused() -> None:
    given = vectors(far=1)
    x, y, test, truth = given.train, given.train_labels, given.test, given.test_labels
    with pytest.raises(ShapeError, match="train_labels must be one per vector"):
        Vectors(NESTING, x, y[:-1], test, truth)
    with pytest.raises(ShapeError, match="test must be 8 wide"):
        Vectors(NESTING, x, y, test[:, :5], truth)
    with pytest.raises(ShapeError, match="test_labels must be one per vector"):
        Vectors(NESTING, x, y, test[:0], truth[:0])
    with pytest.raises(InputError, match="at least two classes"):
        Vectors(NESTING, x, y * 0, test, truth)
    with pytest.raises(InputError, match="finite"):
        Vectors(NESTING, x * np.float32(np.nan), y, test, truth)
    for make in (lambda: Vote(0), lambda: Ranking(0), lambda: FewShot((0,)), lambda: FewShot(draws=0)):
        with pytest.raises(InputError, match="positive"):
            make()
