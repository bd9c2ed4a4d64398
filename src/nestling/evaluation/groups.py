"""Where the right answers are: by group of queries, by class, by coarse class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from nestling.errors import InputError, ShapeError
from nestling.evaluation.base import check_labels
from nestling.evaluation.report import Row
from nestling.nesting import Nesting

OTHER = "other"


def group_rows(
    correct: Bool[np.ndarray, "K q"],
    groups: Shaped[np.ndarray, " q"],
    nesting: Nesting,
    *,
    metric: str,
    system: str = "nestling",
) -> list[Row]:
    """The share of right answers of each group at each prefix; groups in the order of their names.

    Raises:
        ShapeError: not one line per prefix, or one group per query.
    """
    _check(correct, nesting)
    check_labels("groups", groups, correct.shape[1])
    return [
        Row(
            system=system,
            metric=metric,
            value=float(right[groups == group].mean()),
            unit="fraction",
            n=int((groups == group).sum()),
            dims=m,
            group=str(group),
        )
        for group in np.unique(groups)
        for m, right in zip(nesting, correct, strict=True)
    ]


def macro_rows(
    correct: Bool[np.ndarray, "K q"],
    labels: Int64[np.ndarray, " q"],
    nesting: Nesting,
    *,
    metric: str,
    fewest: int = 5,
    system: str = "nestling",
) -> list[Row]:
    """The mean over classes of their shares of right answers; classes of fewer than `fewest` queries are left out.

    Raises:
        ShapeError: not one line per prefix, or one label per query.
        InputError: no class has so many queries.
    """
    _check(correct, nesting)
    check_labels("labels", labels, correct.shape[1])
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    kept = counts >= fewest
    if not kept.any():
        raise InputError.of("fewest", f"at most {counts.max()}, the queries of the largest class", fewest)
    return [
        Row(
            system=system,
            metric=metric,
            value=float((np.bincount(codes, weights=right, minlength=len(classes)) / counts)[kept].mean()),
            unit="fraction",
            n=int(kept.sum()),
            dims=m,
        )
        for m, right in zip(nesting, correct, strict=True)
    ]


def by_frequency(train_labels: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " q"]) -> Shaped[np.ndarray, " q"]:
    """The third of the classes, by number of training examples, that a query's is in: "head", "middle" or "tail".

    Classes of one size stay in their order by label.

    Raises:
        ShapeError, InputError: no training labels, or fewer than three classes.
    """
    check_labels("train_labels", train_labels, len(train_labels))
    classes, counts = np.unique(train_labels, return_counts=True)
    if len(classes) < 3:
        raise InputError.of("train_labels", "labels of at least three classes", f"{len(classes)}")
    names = np.array(["head", "middle", "tail"])
    third = np.empty(len(classes), np.int64)
    third[np.argsort(-counts, kind="stable")] = np.arange(len(classes)) * 3 // len(classes)
    return names[third[np.searchsorted(classes, labels).clip(max=len(classes) - 1)]]


def superclasses(names: Sequence[str], *, count: int = 30, fewest: int = 3) -> tuple[str, ...]:
    """A coarse class for every class: of the words in its name the one that most names share, or "other".

    Words are parted by anything but letters and digits. The `count` words that most names hold, at least `fewest` of
    them, are coarse classes; a name that holds two belongs to the rarer one, which says more.

    Args:
        names: of the classes.

    Raises:
        InputError: no word is shared by so many names.
    """
    words = [set("".join(c.lower() if c.isalnum() else " " for c in name).split()) for name in names]
    shared = Counter(word for each in words for word in each if not word.isdigit())
    chosen = {word: n for word, n in sorted(shared.items(), key=lambda w: (-w[1], w[0]))[:count] if n >= fewest}
    if not chosen:
        raise InputError.of("names", f"such that {fewest} of them share a word", f"{len(names)} that do not")
    return tuple(min((w for w in each if w in chosen), key=lambda w: (chosen[w], w), default=OTHER) for each in words)


def coarse_rows(
    predicted: Int64[np.ndarray, "K q"],
    labels: Int64[np.ndarray, " q"],
    coarse: Sequence[str],
    nesting: Nesting,
    *,
    system: str = "nestling",
) -> list[Row]:
    """superclass_top1: how often a prediction's coarse class is the query's, all over and for each coarse class.

    Args:
        predicted, labels: classes, numbers into `coarse`.
        coarse: the coarse class of each class, as of `superclasses`.

    Raises:
        ShapeError: the shapes do not fit.
    """
    _check(predicted, nesting)
    check_labels("labels", labels, predicted.shape[1])
    of = np.array(coarse)
    right = of[predicted] == of[labels]
    everything = [
        Row(system=system, metric="superclass_top1", value=float(r.mean()), unit="fraction", n=r.size, dims=m)
        for m, r in zip(nesting, right, strict=True)
    ]
    return everything + group_rows(right, of[labels], nesting, metric="superclass_top1", system=system)


def _check(lines: np.ndarray, nesting: Nesting) -> None:
    if lines.ndim != 2 or len(lines) != len(nesting):
        raise ShapeError.of("lines", f"one per prefix ({len(nesting)})", f"shape {lines.shape}")
