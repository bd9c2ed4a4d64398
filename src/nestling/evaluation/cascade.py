"""Adaptive classification: stop at the first prefix that is sure enough (Kusupati et al. 2022, §4.2.1).

A cascade has a threshold for every prefix but the last. An item is answered by the first prefix whose largest softmax
exceeds its threshold, and by the last one otherwise. `greedy` finds thresholds as the paper does, pair by pair; `fit`
finds them together, for the fewest expected dims at a wanted accuracy, and promises that accuracy. There a prefix also
hears what those before it said, which were asked anyway (`pooling`).
"""

# scipy ships no types; its objects are Any here.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from nestling.errors import InputError, ShapeError
from nestling.evaluation.pooling import Weights, checked_weights, fitted_weights, own_answers, pooled, shape_of
from nestling.nesting import Nesting

_GRID = np.linspace(0.1, 1, 100)  # the paper's
_PRICES = np.geomspace(1e-4, 1, 60)  # of all dims, in accuracy
_ROUNDS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a cascade says.

    Attributes:
        predicted: (n,) classes.
        used: (n,) places in the nesting of the prefixes that answered.
        confidence: (n,) how sure they were: the softmax of the class, of all prefixes that were asked.
    """

    predicted: Int64[np.ndarray, " n"]
    used: Int64[np.ndarray, " n"]
    confidence: Float64[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, eq=False)
class Cascade:
    """Thresholds on the largest softmax of each prefix.

    Attributes:
        nesting: the prefixes that may answer.
        thresholds: one for each prefix but the last; above 1 a prefix never answers.
        weights: what the log-probabilities of each prefix and of those before it count in its answer; each answers
            alone when left out, as in the paper. The last number of a list is the inverse of a temperature.
        promised: the accuracy that held on data apart with the asked confidence; None if nothing was promised.

    Raises:
        ShapeError: not one threshold for each prefix but the last, or weights of other sizes.
        InputError: a weight is out of range.
    """

    nesting: Nesting
    thresholds: tuple[float, ...]
    weights: Weights = ()
    promised: float | None = None

    def __post_init__(self) -> None:
        k = len(self.nesting)
        if len(self.thresholds) != k - 1:
            raise ShapeError.of("thresholds", f"{k - 1}, as {k} prefixes need", f"{len(self.thresholds)}")
        object.__setattr__(self, "weights", checked_weights(self.weights or own_answers(k), k))

    def answers(self, logits: Sequence[np.ndarray]) -> Answers:
        """Classify by the first prefix that is sure.

        Args:
            logits: (n, c) of each prefix, smallest first; those behind the cascade's last prefix are not read.

        Raises:
            ShapeError: fewer than the prefixes, or not of one shape.
        """
        known = _Known.of(logits, None, self.nesting, self.weights)
        used = known.used(self.thresholds)
        at = used, np.arange(len(used))
        return Answers(known.predicted[at], used, known.confidence[at])

    def expected_dims(self, used: Int64[np.ndarray, " n"]) -> tuple[float, float]:
        """Mean width of the prefix that answered; and of all heads that were asked on the way, added up.

        The paper counts the first. The second is what separate heads multiply (MRL); a tied head (MRL-E) carries its
        logits from prefix to prefix and pays the first.
        """
        dims = np.array(self.nesting.dims, np.float64)
        return float(dims[used].mean()), float(np.cumsum(dims)[used].mean())


def greedy(logits: Sequence[np.ndarray], labels: np.ndarray, nesting: Nesting) -> Cascade:
    """The paper's rule: for neighbours m_i and m_{i+1} the smallest t of linspace(0.1, 1, 100) with the best accuracy
    when m_i answers if its largest softmax exceeds t and m_{i+1} otherwise. Each answers alone; no promise.

    Raises:
        ShapeError, InputError: logits and labels that do not fit the nesting.
    """
    known = _Known.of(logits, labels, nesting)
    found: list[float] = []
    for i in range(len(nesting) - 1):
        sure = known.confidence[i] > _GRID[:, None]
        accuracy: np.ndarray = np.where(sure, known.right[i], known.right[i + 1]).mean(axis=1)
        found.append(float(_GRID[int(np.argmax(accuracy))]))
    return Cascade(nesting, tuple(found))


def fit(
    logits: Sequence[np.ndarray],
    labels: np.ndarray,
    nesting: Nesting,
    *,
    target_accuracy: float,
    confidence: float = 0.95,
    seed: int = 0,
) -> Cascade:
    """The cascade of the fewest expected dims whose accuracy is at least the target, with the asked confidence.

    Half of the items find the weights of the answers (`pooling`) and give a path of cascades, each the cheapest at its
    accuracy; the other half tests them along the path, the most accurate first, and stops at the first whose accuracy
    may lie below the target (fixed-sequence testing by exact binomial tails; Learn then Test, Angelopoulos et al.
    2021). So the promise holds with probability `confidence` over the draw of the items, whatever the models do.

    Args:
        logits: of each prefix, (n, c), smallest first.
        labels: (n,).
        target_accuracy: between 0 and 1.
        confidence: of the promise.
        seed: of the halves.

    Raises:
        InputError: a number is out of range, or no cascade can be promised to reach the target: the sentence tells
            the highest that can be, and what the last prefix reaches.
        ShapeError: logits and labels that do not fit the nesting.
    """
    from scipy import stats

    tail: Any = stats.binom.cdf
    if not 0 < target_accuracy < 1:
        raise InputError.of("target_accuracy", "between 0 and 1", target_accuracy)
    if not 0 < confidence < 1:
        raise InputError.of("confidence", "between 0 and 1", confidence)
    plain = _Known.of(logits, labels, nesting)
    n = plain.right.shape[1]
    order = np.random.default_rng(seed).permutation(n)
    ours, apart = np.sort(order[: n // 2]), np.sort(order[n // 2 :])
    if not len(ours):
        raise InputError.of("labels", "at least two, one to fit on and one to test", n)
    weights = fitted_weights([z[ours] for z in logits[: len(nesting)]], labels[ours])
    known = _Known.of(logits, labels, nesting, weights)
    path, held = _frontier(known.part(ours)), known.part(apart)
    best: tuple[float, tuple[float, ...]] | None = None
    for thresholds in path:
        accuracy, dims = held.accuracy(thresholds), held.dims(thresholds)
        wrong = round((1 - accuracy) * len(apart))
        if tail(wrong, len(apart), 1 - target_accuracy) > 1 - confidence:
            break
        if best is None or dims <= best[0]:
            best = dims, thresholds
    if best is None:
        most = _promisable(held.accuracy(path[0]), len(apart), confidence)
        last = float(plain.right[-1].mean())
        told = f"{target_accuracy:g}, where the last prefix alone is right in {last:.4f} of {n} items"
        rule = f"promisable with confidence {confidence:g}, here at most {most:g}"
        raise InputError.of("target_accuracy", rule, told, "Lower it.")
    return Cascade(nesting, best[1], weights, target_accuracy)


def _promisable(accuracy: float, n: int, confidence: float) -> float:
    """The highest target that `fit` would have passed, rounded down to a ten-thousandth.

    The most accurate cascade is tested whatever the target, so it is the exact lower bound (Clopper and Pearson 1934)
    of that one's accuracy on n items.
    """
    from scipy import stats

    quantile: Any = stats.beta.ppf
    right = round(accuracy * n)
    return float(np.floor(1e4 * quantile(1 - confidence, right, n - right + 1)) / 1e4) if right else 0.0


def frontier(logits: Sequence[np.ndarray], labels: np.ndarray, nesting: Nesting) -> list[Cascade]:
    """Cascades of which none is both cheaper and more accurate on these items, the most accurate first.

    The weights of the answers are found on the same items, and nothing is promised.

    Raises:
        ShapeError, InputError: logits and labels that do not fit the nesting.
    """
    _Known.of(logits, labels, nesting)  # refuses what does not fit
    weights = fitted_weights(logits[: len(nesting)], labels)
    known = _Known.of(logits, labels, nesting, weights)
    return [Cascade(nesting, thresholds, weights) for thresholds in _frontier(known)]


def oracle(predicted: np.ndarray, labels: np.ndarray, nesting: Nesting) -> tuple[float, float]:
    """Accuracy and mean dims if one knew the smallest prefix that is right; where none is, all dims are read.

    Raises:
        ShapeError: not one row of predictions for each prefix.
    """
    if predicted.shape != (len(nesting), *labels.shape):
        raise ShapeError.of("predicted", f"({len(nesting)}, {len(labels)})", f"shape {predicted.shape}")
    right = predicted == labels
    some = right.any(axis=0)
    first = np.where(some, right.argmax(axis=0), len(nesting) - 1)
    return float(some.mean()), float(np.array(nesting.dims, np.float64)[first].mean())


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What thresholds are judged by: how sure each prefix is of each item, and whether it is right."""

    confidence: Float64[np.ndarray, "k n"]
    right: Bool[np.ndarray, "k n"]
    predicted: Int64[np.ndarray, "k n"]
    widths: Float64[np.ndarray, " k"]

    @classmethod
    def of(
        cls,
        logits: Sequence[np.ndarray],
        labels: np.ndarray | None,
        nesting: Nesting,
        weights: Weights | None = None,
    ) -> _Known:
        """By pooled answers, or by each prefix alone; without labels nothing is right."""
        if len(logits) < len(nesting):
            raise ShapeError.of("logits", f"of {len(nesting)} prefixes", f"{len(logits)}")
        z = [_checked(part) for part in logits[: len(nesting)]]
        n, _ = shape_of(z)
        if labels is not None and labels.shape != (n,):
            raise ShapeError.of("labels", f"one for each of {n} rows", f"shape {labels.shape}")
        heard = z if weights is None else pooled(z, weights)
        confidence = np.stack([_largest_softmax(part) for part in heard])
        predicted = np.stack([part.argmax(axis=1) for part in heard])
        right = np.zeros(predicted.shape, bool) if labels is None else predicted == labels
        return cls(confidence, right, predicted, np.array(nesting.dims, np.float64))

    def part(self, rows: np.ndarray) -> _Known:
        """Some items."""
        return _Known(self.confidence[:, rows], self.right[:, rows], self.predicted[:, rows], self.widths)

    def used(self, thresholds: Sequence[float]) -> Int64[np.ndarray, " n"]:
        """The place of the first prefix that is sure, of the last where none is."""
        sure = self.confidence[:-1] > np.array(thresholds, np.float64)[:, None]
        always = np.ones((1, sure.shape[1]), bool)
        return np.concatenate([sure, always]).argmax(axis=0)

    def accuracy(self, thresholds: Sequence[float]) -> float:
        """Of the cascade."""
        used = self.used(thresholds)
        return float(self.right[used, np.arange(len(used))].mean())

    def dims(self, thresholds: Sequence[float]) -> float:
        """Expected, of the prefix that answers."""
        return float(self.widths[self.used(thresholds)].mean())


def _frontier(known: _Known) -> list[tuple[float, ...]]:
    """Thresholds of which none is both cheaper and more accurate, the most accurate first.

    For each price of a dim the thresholds that minimise errors + price · dims are found one at a time, each exactly
    given the others, until none changes: from all prefixes silent, and from the neighbouring price's answer.
    """
    silent = (np.inf,) * (len(known.widths) - 1)
    found: dict[tuple[float, ...], tuple[float, float]] = {}
    start = silent
    for price in _PRICES:
        for begin in (start, silent):
            thresholds = _descended(known, begin, float(price) / known.widths[-1])
            found[thresholds] = known.accuracy(thresholds), known.dims(thresholds)
            if begin == start:
                start = thresholds
    found[silent] = known.accuracy(silent), known.dims(silent)
    kept: list[tuple[float, ...]] = []
    fewest = np.inf
    for thresholds, (_, dims) in sorted(found.items(), key=lambda item: (-item[1][0], item[1][1])):
        if dims < fewest:
            kept.append(thresholds)
            fewest = dims
    return kept


def _descended(known: _Known, thresholds: tuple[float, ...], price: float) -> tuple[float, ...]:
    """Change one threshold at a time, the last first, to the best there is given the others."""
    cost = ~known.right + price * known.widths[:, None]  # (k, n) of each item, answered by each prefix
    now = list(thresholds)
    for _ in range(_ROUNDS):
        before = list(now)
        for i in reversed(range(len(now))):
            now[i] = _best(known, now, i, cost)
        if now == before:
            break
    return tuple(now)


def _best(known: _Known, thresholds: Sequence[float], i: int, cost: Float64[np.ndarray, "k n"]) -> float:
    """The threshold of prefix i that costs least: all cuts between the sorted confidences of what comes to it."""
    here = np.ones(cost.shape[1], bool)
    for j in range(i):
        here &= ~(known.confidence[j] > thresholds[j])
    items = np.flatnonzero(here)
    if not len(items):
        return thresholds[i]
    later = known.part(items).used([np.inf] * (i + 1) + list(thresholds[i + 1 :]))
    passed_on = cost[later, items]
    sure = known.confidence[i, items]
    order = np.argsort(-sure, kind="stable")
    gain = np.cumsum(passed_on[order] - cost[i, items[order]])  # of answering the surest 1, 2, … here
    ends = np.append(sure[order][1:] < sure[order][:-1], True)  # equal confidences stand on one side
    gain = np.where(ends, gain, -np.inf)
    best = int(np.argmax(gain))
    if gain[best] <= 0:
        return float(np.inf)
    last, below = float(sure[order][best]), float(sure[order][best + 1]) if best + 1 < len(order) else 0.0
    middle = (last + below) / 2
    return middle if middle < last else below


def _checked(logits: np.ndarray) -> Float64[np.ndarray, "n c"]:
    z = np.asarray(logits, np.float64)
    if z.ndim != 2 or not z.size:
        raise ShapeError.of("logits", "two-dimensional (n, c), not empty", f"shape {z.shape}")
    if not np.isfinite(z).all():
        raise InputError.of("logits", "finite", "NaN or infinity")
    return z


def _largest_softmax(z: Float64[np.ndarray, "n c"]) -> Float64[np.ndarray, " n"]:
    return 1 / np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1)
