"""The probe against scikit-learn used plainly, and rows of heads."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from nestling import Nesting
from nestling.errors import InputError, ShapeError
from nestling.evaluation import linear_probe, logistic_regression, probe_each, top1_rows


def blobs(n: int, seed: int, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    centres = np.random.default_rng(9).standard_normal((4, 12))
    x = (centres[labels] + rng.standard_normal((n, 12))) * np.linspace(0.3, 1.5, 12) + 5
    x[:, 4] = 1
    return x.astype(dtype), labels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_probe_is_a_logistic_regression_of_centred_vectors(dtype: type) -> None:
    (x, y), (test_x, test_y) = blobs(400, 0, dtype), blobs(200, 1, dtype)
    probe = linear_probe(x, y, test_x, test_y, seed=0)
    mean, scale = x.mean(0), (x - x.mean(0)).std()
    plain = LogisticRegression(tol=1e-7, max_iter=9999).fit((x - mean) / scale, y)
    assert (probe.predicted == plain.predict((test_x - mean) / scale)).mean() >= 0.99
    assert probe.correct.tolist() == (probe.predicted == test_y).tolist()
    row = probe.row("MRL")
    assert (row.system, row.metric, row.dims, row.n) == ("MRL", "probe_top1", 12, 200)
    assert row.value == pytest.approx(plain.score((test_x - mean) / scale, test_y), abs=0.01)
    assert row.value > 0.7


def test_rotating_scaling_and_moving_the_vectors_changes_nothing() -> None:
    (x, y), (test_x, test_y) = blobs(400, 0, np.float64), blobs(200, 1, np.float64)
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((12, 12)))[0] * 1e4
    probe = linear_probe(x, y, test_x, test_y, seed=0)
    turned = linear_probe(x @ turn + 7, y, test_x @ turn + 7, test_y, seed=0)
    assert (probe.predicted == turned.predicted).mean() >= 0.99


def test_vectors_that_are_all_equal_are_no_error() -> None:
    x = np.ones((6, 3), np.float32)
    assert linear_probe(x, np.array([0, 1, 1, 1, 1, 1]), x, np.ones(6, np.int64), seed=0).row().value == 1.0


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_the_probe_minimises_what_scikit_learn_minimises(strength: float) -> None:
    x, y = blobs(400, 0, np.float64)
    ours = logistic_regression(x, y, seed=0, strength=strength)
    scaled = (x - ours.mean) / ours.scale
    theirs = LogisticRegression(C=strength, tol=1e-9, max_iter=9999).fit(scaled, y)

    def loss(weight: np.ndarray, bias: np.ndarray) -> float:
        z = scaled @ weight.T + bias
        z = z - z.max(axis=1, keepdims=True)
        nll = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]
        return float(nll.mean() + (weight**2).sum() / (2 * strength * len(y)))

    least = loss(theirs.coef_, theirs.intercept_)
    assert 0.9999 * least < loss(ours.weight, ours.bias) < 1.002 * least
    assert loss(ours.weight * 0.9, ours.bias) > loss(ours.weight, ours.bias)


def test_labels_may_be_texts_and_the_seed_decides() -> None:
    (x, y), (test_x, _) = blobs(300, 0), blobs(50, 1)
    names = np.array(["d", "b", "a", "c"])
    by_name, by_number = logistic_regression(x, names[y], seed=3), logistic_regression(x, y, seed=3)
    assert (by_name.predict(test_x) == names[by_number.predict(test_x)]).mean() > 0.95
    again = logistic_regression(x, y, seed=3)
    assert np.array_equal(again.weight, by_number.weight)
    assert not np.array_equal(again.weight, logistic_regression(x, y, seed=4).weight)


def test_a_probe_for_every_prefix() -> None:
    (x, y), (test_x, test_y) = blobs(300, 0), blobs(100, 1)
    probes = probe_each(x, y, test_x, test_y, Nesting((3, 12)), seed=0)
    assert [probe.dims for probe in probes] == [3, 12]
    alone = linear_probe(x[:, :3].copy(), y, test_x[:, :3], test_y, seed=0)
    assert np.array_equal(probes[0].predicted, alone.predicted)


def test_rows_of_a_head() -> None:
    predicted = np.array([["a", "b", "c", "d"], ["a", "a", "a", "a"]])
    rows = top1_rows(predicted, np.array(["a", "b", "c", "x"]), Nesting((8, 16)), system="MRL-E")
    assert [(row.system, row.metric, row.dims, row.value, row.n) for row in rows] == [
        ("MRL-E", "head_top1", 8, 0.75, 4),
        ("MRL-E", "head_top1", 16, 0.25, 4),
    ]


X, Y = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32), np.arange(6) % 2


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: linear_probe(X, Y[:5], X, Y, seed=0), ShapeError, "train_y must be one per vector"),
        (lambda: linear_probe(X, Y, X, Y[:5], seed=0), ShapeError, "test_y must be one per vector"),
        (lambda: linear_probe(X[0], Y, X, Y, seed=0), ShapeError, "train_x must be a matrix"),
        (lambda: linear_probe(X, Y, X[:, :2], Y, seed=0), ShapeError, "train_x and test_x must be equally wide"),
        (lambda: linear_probe(X * np.float32(np.inf), Y, X, Y, seed=0), InputError, "train_x must be finite"),
        (lambda: linear_probe(X, Y * 0, X, Y, seed=0), InputError, "at least two classes"),
        (lambda: linear_probe(X, Y, X, Y, seed=0, strength=0.0), InputError, "strength must be positive"),
        (lambda: probe_each(X, Y, X, Y, Nesting((2, 4)), seed=0), ShapeError, "train_x must be 4 wide"),
        (lambda: top1_rows(Y, Y, Nesting((2,))), ShapeError, "predicted must be of one line per prefix"),
        (lambda: top1_rows(Y[None], Y[:3], Nesting((2,))), ShapeError, "labels must be one per vector"),
    ],
)
def test_errors_say_what_is_wrong(call: object, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()  # type: ignore[operator]
