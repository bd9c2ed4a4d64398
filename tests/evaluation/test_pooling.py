"""Pooled answers against loops, a grid and another solver."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from nestling.errors import ShapeError
from nestling.evaluation.pooling import fitted_weights, log_softmax, own_answers, pooled
from tests.evaluation.test_cascade import POOLS, drawn, softmax


def likelihood(logits: list[np.ndarray], labels: np.ndarray, weights: np.ndarray) -> float:
    """Mean of -log p(label), by a loop; what few items cannot tell is added."""
    own = np.eye(len(weights))[-1]
    lost = 0.0
    for i, label in enumerate(labels):
        z = sum(w * np.log(softmax(logits[j][i])) for j, w in enumerate(weights))
        lost -= np.log(softmax(z)[label])
    return float(lost + ((weights - own) ** 2).sum() / 2) / len(labels)


@pytest.mark.parametrize("heat", [0.3, 1.0, 4.0])
def test_the_weight_of_one_prefix_undoes_heat(heat: float) -> None:
    logits, labels = drawn(20_000, 5)
    ((plain,),) = fitted_weights(logits[:1], labels)
    ((found,),) = fitted_weights([heat * logits[0]], labels)
    assert found == pytest.approx(plain / heat, rel=0.02)


def test_one_weight_by_a_grid() -> None:
    logits, labels = drawn(300, 6)
    grid = np.geomspace(0.1, 10, 300)
    ((found,),) = fitted_weights([3 * logits[1]], labels)
    best = grid[np.argmin([likelihood([3 * logits[1]], labels, np.array([w])) for w in grid])]
    assert found == pytest.approx(best, rel=0.02)


def test_weights_have_the_largest_likelihood_that_another_solver_finds() -> None:
    logits, labels = drawn(200, 7)
    for k, found in enumerate(fitted_weights(logits, labels)):
        ours = likelihood(logits[: k + 1], labels, np.array(found))
        other = optimize.minimize(
            lambda w: likelihood(logits[: len(w)], labels, np.maximum(w, 0)), np.full(k + 1, 0.5), method="Nelder-Mead"
        )
        assert ours <= other.fun + 1e-5
        assert all(w >= 0 for w in found)


def test_pooling_by_a_loop() -> None:
    logits, _ = drawn(20, 8)
    for k, found in enumerate(pooled(logits, POOLS)):
        for i in range(20):
            wanted = sum(w * np.log(softmax(logits[j][i])) for j, w in enumerate(POOLS[k]))
            np.testing.assert_allclose(found[i], wanted, rtol=1e-9)
    for alone, z in zip(pooled(logits, own_answers(4)), logits, strict=True):
        np.testing.assert_array_equal(alone, log_softmax(z))


def test_answers_that_tell_nothing_count_little_and_few_items_change_little() -> None:
    logits, labels = drawn(3000, 9)
    noise = np.random.default_rng(0).normal(size=logits[0].shape)
    assert fitted_weights([noise, logits[3]], labels)[1][0] < 0.05
    few = fitted_weights([z[:1] for z in logits], labels[:1])
    for line, own in zip(few, own_answers(4), strict=True):
        assert np.abs(np.subtract(line, own)).max() < 1.5
    assert all(line[-1] >= 0.05 for line in fitted_weights([noise, -9 * logits[3]], labels))


def test_what_does_not_fit_is_refused() -> None:
    logits, labels = drawn(30, 0)
    with pytest.raises(ShapeError, match="one for each of 30 rows"):
        fitted_weights(logits, labels[:3])
    with pytest.raises(ShapeError, match="of one shape"):
        fitted_weights([logits[0], logits[1][:4]], labels)
