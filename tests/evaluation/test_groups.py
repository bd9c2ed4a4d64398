"""Groups, thirds and coarse classes, against loops."""

from __future__ import annotations

import numpy as np
import pytest

from nestling import Nesting
from nestling.errors import InputError, ShapeError
from nestling.evaluation import by_frequency, coarse_rows, group_rows, macro_rows, superclasses

NESTING = Nesting((2, 4))
RIGHT = np.array([[1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 0, 1]], bool)
LABELS = np.array([0, 0, 1, 1, 1, 2])


def test_groups_share_their_own_answers() -> None:
    rows = group_rows(RIGHT, np.array(list("xyxyxx")), NESTING, metric="m")
    assert [(r.group, r.dims, r.value, r.n) for r in rows] == [
        ("x", 2, 0.5, 4),
        ("x", 4, 0.75, 4),
        ("y", 2, 0.5, 2),
        ("y", 4, 1.0, 2),
    ]


def test_the_macro_average_is_of_classes() -> None:
    rows = macro_rows(RIGHT, LABELS, NESTING, metric="m", fewest=1)
    assert [r.value for r in rows] == pytest.approx([(1 / 2 + 2 / 3 + 0) / 3, (1 + 2 / 3 + 1) / 3])
    assert [r.value for r in macro_rows(RIGHT, LABELS, NESTING, metric="m", fewest=3)] == pytest.approx([2 / 3, 2 / 3])
    with pytest.raises(InputError, match="fewest must be at most 3"):
        macro_rows(RIGHT, LABELS, NESTING, metric="m", fewest=4)


def test_thirds_of_the_classes_by_training_examples() -> None:
    train = np.repeat(np.arange(6), [5, 9, 1, 7, 3, 2])
    thirds = by_frequency(train, np.arange(6))
    assert thirds.tolist() == ["middle", "head", "tail", "head", "middle", "tail"]
    with pytest.raises(InputError, match="at least three classes"):
        by_frequency(np.array([0, 1]), np.array([0]))


def test_superclasses_are_shared_words() -> None:
    names = ["arrow-left", "arrow-right", "arrow up", "file", "file-text", "file.plus", "left-align", "moon", "Arrow_2"]
    coarse = superclasses(names, fewest=3)
    assert coarse == ("arrow", "arrow", "arrow", "file", "file", "file", "other", "other", "arrow")
    assert superclasses(names, fewest=2)[0] == "left"  # the rarer word says more
    assert superclasses(names, fewest=2, count=1) == tuple("arrow" if "rrow" in n else "other" for n in names)
    with pytest.raises(InputError, match="share a word"):
        superclasses(["a", "b", "c"])


def test_a_coarse_class_may_be_right_where_the_class_is_not() -> None:
    coarse = ("a", "a", "b")
    rows = coarse_rows(np.array([[1, 1, 0, 2, 1, 0], [0, 2, 1, 1, 0, 2]]), LABELS, coarse, NESTING)
    assert [(r.group, r.dims, r.value) for r in rows] == [
        (None, 2, pytest.approx(4 / 6)),
        (None, 4, pytest.approx(5 / 6)),
        ("a", 2, pytest.approx(4 / 5)),
        ("a", 4, pytest.approx(4 / 5)),
        ("b", 2, 0.0),
        ("b", 4, 1.0),
    ]


@pytest.mark.usefixtures("as_a_user")
def test_lines_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="one per prefix"):
        group_rows(RIGHT[:1], LABELS, NESTING, metric="m")
    with pytest.raises(ShapeError, match="groups must be one per vector"):
        group_rows(RIGHT, LABELS[:3], NESTING, metric="m")
