"""Cascades against stupid loops, and the promise against many draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling import Nesting
from nestling.errors import InputError, ShapeError
from nestling.evaluation import cascade
from nestling.evaluation.cascade import Cascade, fit, frontier, greedy, oracle
from nestling.evaluation.pooling import fitted_weights, own_answers

NESTING = Nesting((8, 16, 32, 64))


def drawn(n: int, seed: int, classes: int = 10, heat: float = 1.0) -> tuple[list[np.ndarray], np.ndarray]:
    """Logits of growing quality, whose softmax is honest at a heat of 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    ease = rng.gamma(2.0, 1.0, n)
    noise = rng.normal(size=(n, classes))
    logits = []
    for strength in (1.0, 1.6, 2.0, 2.2):
        z = 0.7 * noise + 0.7 * rng.normal(size=(n, classes))
        z[np.arange(n), labels] += strength * ease
        logits.append(heat * z)
    return logits, labels


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


POOLS = ((1.0,), (0.3, 0.8), (0.0, 0.5, 2.0), (0.1, 0.2, 0.3, 0.4))


def naive(
    logits: list[np.ndarray], thresholds: tuple[float, ...], weights: tuple[tuple[float, ...], ...]
) -> list[tuple[int, int, float]]:
    """(class, place, how sure) of each item, by a loop."""
    found = []
    for i in range(len(logits[0])):
        for k in range(len(logits)):
            heard = softmax(sum(w * np.log(softmax(logits[j][i])) for j, w in enumerate(weights[k])))
            if k == len(logits) - 1 or heard.max() > thresholds[k]:
                found.append((int(heard.argmax()), k, float(heard.max())))
                break
    return found


@pytest.mark.parametrize("weights", [own_answers(4), POOLS], ids=["alone", "pooled"])
def test_a_cascade_answers_as_the_loop_does(weights: tuple[tuple[float, ...], ...]) -> None:
    logits, _ = drawn(300, 0)
    one = Cascade(NESTING, (0.9, 0.7, np.inf), weights)
    answers = one.answers(logits)
    found = naive(logits, one.thresholds, weights)
    assert answers.predicted.tolist() == [predicted for predicted, _, _ in found]
    assert answers.used.tolist() == [place for _, place, _ in found]
    assert set(answers.used.tolist()) == {0, 1, 3}
    assert answers.confidence.tolist() == pytest.approx([sure for _, _, sure in found])
    assert Cascade(NESTING, (0.5,) * 3).weights == own_answers(4)


def test_dims_are_counted_both_ways() -> None:
    one = Cascade(NESTING, (0.5,) * 3)
    assert one.expected_dims(np.array([0, 1, 3, 3])) == ((8 + 16 + 64 + 64) / 4, (8 + 24 + 120 + 120) / 4)


def test_the_papers_rule_by_a_double_loop() -> None:
    logits, labels = drawn(400, 1)
    found = greedy(logits, labels, NESTING)
    for i, threshold in enumerate(found.thresholds):
        best, at = -1.0, 0.0
        for t in np.linspace(0.1, 1, 100):
            pair = naive(logits[i : i + 2], (t,), own_answers(2))
            accuracy = np.mean([predicted == label for (predicted, *_), label in zip(pair, labels, strict=True)])
            if accuracy > best:
                best, at = float(accuracy), float(t)
        assert threshold == at


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 14), st.sampled_from((1e-3, 1e-2, 0.1, 0.5)))
def test_no_single_threshold_can_be_improved(seed: int, n: int, price: float) -> None:
    """Each threshold costs least given the others; every other cut is tried by a loop."""
    logits, labels = drawn(n, seed, classes=3)
    known = cascade._Known.of(logits, labels, NESTING)
    found = cascade._descended(known, (np.inf,) * 3, price / 64)

    def cost(thresholds: tuple[float, ...]) -> float:
        return n * (1 - known.accuracy(thresholds) + price / 64 * known.dims(thresholds))

    least = cost(found)
    for i in range(3):
        for cut in (*known.confidence[i] - 1e-12, np.inf):
            assert cost((*found[:i], float(cut), *found[i + 1 :])) >= least - 1e-9


def test_the_frontier_is_near_the_best_of_all_thresholds() -> None:
    """On 9 items all combinations of cuts can be tried."""
    gaps = []
    for seed in range(8):
        logits, labels = drawn(9, seed, classes=3)
        logits = logits[:3]
        nesting = Nesting((8, 16, 32))
        known = cascade._Known.of(logits, labels, nesting, fitted_weights(logits, labels))
        cuts = [[*(row - 1e-12), np.inf] for row in known.confidence[:-1]]
        every = [(known.accuracy(pair), known.dims(pair)) for pair in itertools.product(*cuts)]
        for one in frontier(logits, labels, nesting):
            accuracy, dims = known.accuracy(one.thresholds), known.dims(one.thresholds)
            fewest = min(d for a, d in every if a >= accuracy - 1e-12)
            gaps.append(dims / fewest)
            assert dims >= fewest - 1e-9
    assert np.mean(gaps) < 1.05


def test_the_frontier_rises_and_falls_together() -> None:
    logits, labels = drawn(2000, 3)
    path = frontier(logits, labels, NESTING)
    points = []
    for one in path:
        answers = one.answers(logits)
        points.append((np.mean(answers.predicted == labels), one.expected_dims(answers.used)[0]))
    assert len(points) > 5
    assert all(a[0] >= b[0] and a[1] > b[1] for a, b in itertools.pairwise(points))


def test_better_than_the_papers_rule_at_equal_dims() -> None:
    """Fitted on 3,000 items, compared on 20,000 others, mean of five draws."""
    gains = []
    for seed in range(5):
        logits, labels = drawn(3000, seed)
        fresh, truth = drawn(20_000, 100 + seed)
        theirs = greedy(logits, labels, NESTING)
        answers = theirs.answers(fresh)
        dims, accuracy = theirs.expected_dims(answers.used)[0], np.mean(answers.predicted == truth)
        ours = [
            (one.expected_dims((said := one.answers(fresh)).used)[0], np.mean(said.predicted == truth))
            for one in frontier(logits, labels, NESTING)
        ]
        gains.append(max(a for d, a in ours if d <= dims) - accuracy)
    assert np.mean(gains) > 0, gains


def test_the_promise_holds_as_often_as_it_says() -> None:
    """Fitted on 1,500 items, 60 times; broken in at most a twentieth of the draws, but for chance. Some draws are too
    unlucky to promise anything."""
    broken, saved = 0, list[float]()
    for seed in range(60):
        logits, labels = drawn(1500, seed)
        fresh, truth = drawn(10_000, 10_000 + seed)
        target = 0.95 * float(np.mean(fresh[-1].argmax(1) == truth))
        try:
            one = fit(logits, labels, NESTING, target_accuracy=target, confidence=0.95, seed=seed)
        except InputError:
            continue
        said = one.answers(fresh)
        broken += bool(np.mean(said.predicted == truth) < target)
        saved.append(one.expected_dims(said.used)[0])
    assert broken <= 8  # P(Binomial(60, .05) > 8) < .003
    assert len(saved) > 30
    assert np.mean(saved) < 40


def test_the_oracle_by_a_loop() -> None:
    logits, labels = drawn(200, 7)
    predicted = np.stack([z.argmax(axis=1) for z in logits])
    right = dims = 0
    for i in range(200):
        first = next((k for k in range(4) if predicted[k, i] == labels[i]), None)
        right += first is not None
        dims += NESTING.dims[3 if first is None else first]
    assert oracle(predicted, labels, NESTING) == (right / 200, dims / 200)


@pytest.mark.parametrize(("n", "heat"), [(40, 1.0), (400, 1.0), (3000, 1.0), (400, 0.0)])
def test_what_is_told_to_be_promisable_is_and_a_little_more_is_not(n: int, heat: float) -> None:
    logits, labels = drawn(n, 3, heat=heat)
    with pytest.raises(InputError, match="here at most") as refused:
        fit(logits, labels, NESTING, target_accuracy=0.9999)
    most = float(str(refused.value).split("here at most ")[1].split(";")[0])
    assert 0 < most < float(np.mean(logits[-1].argmax(1) == labels)) + 0.1
    assert fit(logits, labels, NESTING, target_accuracy=most).promised == most
    with pytest.raises(InputError, match=f"here at most {most:g};"):
        fit(logits, labels, NESTING, target_accuracy=most + 2e-4)


def test_where_nothing_is_right_nothing_can_be_promised() -> None:
    logits, labels = drawn(20, 3)
    wrong = [np.where(np.arange(10) == labels[:, None], -9.0, z) for z in logits]
    with pytest.raises(InputError, match=r"promisable with confidence 0\.95, here at most 0;"):
        fit(wrong, labels, NESTING, target_accuracy=0.1)


def test_what_is_refused() -> None:
    logits, labels = drawn(50, 0)
    with pytest.raises(InputError, match=r"promisable.*last prefix alone is right in 0\.\d+ of 50 items. Lower it"):
        fit(logits, labels, NESTING, target_accuracy=0.9999)
    for bad in (0.0, 1.0, 1.5):
        with pytest.raises(InputError, match="between 0 and 1"):
            fit(logits, labels, NESTING, target_accuracy=bad)
        with pytest.raises(InputError, match="confidence must be between"):
            fit(logits, labels, NESTING, target_accuracy=0.5, confidence=bad)
    with pytest.raises(ShapeError, match="of 4 prefixes; got 3"):
        greedy(logits[:3], labels, NESTING)
    with pytest.raises(ShapeError, match="one for each of 50 rows"):
        greedy(logits, labels[:49], NESTING)
    with pytest.raises(ShapeError, match="of one shape"):
        greedy([*logits[:3], logits[3][:40]], labels, NESTING)
    with pytest.raises(InputError, match="finite"):
        greedy([*logits[:3], np.full_like(logits[3], np.nan)], labels, NESTING)
    with pytest.raises(ShapeError, match="thresholds must be 3, as 4 prefixes need; got 2"):
        Cascade(NESTING, (0.5, 0.5))
    with pytest.raises(ShapeError, match="4 lists of 1 to 4 numbers"):
        Cascade(NESTING, (0.5,) * 3, own_answers(3))
    for bad in ((-1.0, 1.0), (1.0, 0.0), (np.nan, 1.0)):
        with pytest.raises(InputError, match="finite and at least 0"):
            Cascade(Nesting((8, 16)), (0.5,), ((1.0,), bad))
    with pytest.raises(ShapeError, match=r"\(4, 50\)"):
        oracle(np.zeros((3, 50), np.int64), labels, NESTING)
