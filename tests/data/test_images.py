"""LabelledImages, duplicates and the stratified split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.data import LabelledImages, duplicates_across, split
from nestling.errors import InputError, ShapeError


def made(labels: list[int], classes: int = 3, seed: int = 0, side: int = 4) -> LabelledImages:
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 1, side, side), np.uint8)
    names = tuple(f"class {i}" for i in range(classes))
    return LabelledImages(pixels, np.array(labels, np.int64), names, tuple(f"{i}.png" for i in range(len(labels))))


PIXELS = np.zeros((3, 1, 2, 2), np.uint8)
LABELS = np.array([0, 1, 0])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"pixels": PIXELS.astype(np.float32)}, InputError, "pixels must be uint8; got float32"),
        ({"pixels": PIXELS[0]}, ShapeError, "pixels must be of shape"),
        ({"labels": LABELS[:2]}, ShapeError, r"labels must be one per image \(3\); got 2"),
        ({"labels": LABELS[:, None]}, ShapeError, "labels must be of shape"),
        ({"labels": LABELS.astype(np.int32)}, InputError, "labels must be int64; got int32"),
        ({"labels": np.array([0, 2, 0])}, InputError, "between 0 and 1.*2 in row 1"),
        ({"labels": np.array([0, 0, -1])}, InputError, "-1 in row 2"),
        ({"classes": ("a", "a")}, InputError, "'a' twice"),
        ({"paths": ("x",)}, ShapeError, "paths must be one per image"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_what_does_not_fit_is_a_sentence(change: dict[str, Any], error: type[Exception], words: str) -> None:
    given = {"pixels": PIXELS, "labels": LABELS, "classes": ("a", "b"), "paths": None}
    LabelledImages(**given)
    with pytest.raises(error, match=words):
        LabelledImages(**(given | change))


def test_length_and_repr() -> None:
    images = LabelledImages(PIXELS, LABELS, ("a", "b"))
    assert len(images) == 3
    assert repr(images) == "LabelledImages(3 images (1, 2, 2), 2 classes)"
    assert len(LabelledImages(PIXELS[:0], LABELS[:0], ())) == 0


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([3, 0, 3], [3, 0, 3]),
        ([-1], [4]),
        (slice(1, 4), [1, 2, 3]),
        (np.array([True, False, False, True, False]), [0, 3]),
        ([], []),
        (np.array([]), []),
    ],
)
def test_take(rows: Any, expected: list[int]) -> None:
    images = made([0, 1, 2, 1, 0])
    part = images.take(rows)
    assert np.array_equal(part.pixels, images.pixels[expected])
    assert part.labels.tolist() == images.labels[expected].tolist()
    assert part.paths == tuple(f"{i}.png" for i in expected)
    assert not np.shares_memory(part.pixels, images.pixels)


@pytest.mark.parametrize("rows", [[5], [-6], [0.5], np.array([True]), 3, [[1, 2]], ["a"]])
@pytest.mark.usefixtures("as_a_user")
def test_take_refuses_what_are_no_rows(rows: Any) -> None:
    with pytest.raises(InputError, match="rows must be"):
        made([0, 1, 2, 1, 0]).take(rows)


def test_duplicates_are_found_and_counted_once_per_test_image() -> None:
    train, test = made([0, 1, 2, 0, 1], seed=1), made([0, 0, 1, 1, 2, 2], seed=2)
    assert duplicates_across(train, test).count == 0
    test.pixels[1] = train.pixels[4]
    test.pixels[3] = train.pixels[2]
    test.pixels[5] = train.pixels[4]
    train.pixels[0] = train.pixels[4]
    found = duplicates_across(train, test)
    assert found.count == 3
    assert found.examples == ((0, 1), (2, 3), (0, 5))
    assert duplicates_across(train, test, examples=1).examples == ((0, 1),)
    test.pixels[1, 0, 0, 0] ^= 1  # one bit of one pixel
    assert duplicates_across(train, test).count == 2
    with pytest.raises(ShapeError, match="test must be images of shape"):
        duplicates_across(train, made([0], side=3))


@given(
    labels=st.lists(st.integers(0, 3), max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_a_split_is_a_stratified_partition(labels: list[int], fraction: float, seed: int) -> None:
    images = made(labels, classes=4)
    train, held, singles = split(images, fraction=fraction, seed=seed)
    assert sorted([*(train.paths or ()), *(held.paths or ())]) == sorted(images.paths or ())
    for part in (train, held):  # pixels, labels and paths still belong together, in the old order
        rows = [int(path.removesuffix(".png")) for path in part.paths or ()]
        assert rows == sorted(rows)
        assert np.array_equal(part.pixels, images.pixels[rows])
        assert part.labels.tolist() == [labels[row] for row in rows]
        assert part.classes == images.classes
    for label, name in enumerate(images.classes):
        count = labels.count(label)
        kept = int((held.labels == label).sum())
        assert (name in singles) == (count == 1)
        assert kept == 0 if count < 2 else 1 <= kept < count
        if count > 1:
            assert abs(kept - fraction * count) <= 1


def test_a_split_depends_on_the_seed_and_on_its_class_only() -> None:
    labels = [0] * 50 + [1] * 50
    images, more = made(labels), made([*labels, *[1] * 30])
    first, again, other = (split(images, fraction=0.2, seed=s).held_out.paths for s in (1, 1, 2))
    assert first == again != other
    larger = split(more, fraction=0.2, seed=1).held_out
    assert [p for p in first or () if int(p[:-4]) < 50] == [p for p in larger.paths or () if int(p[:-4]) < 50]


@pytest.mark.parametrize(("fraction", "seed"), [(0, 0), (1, 0), (-0.1, 0), (float("nan"), 0), (0.1, -1)])
def test_a_split_refuses(fraction: float, seed: int) -> None:
    with pytest.raises(InputError, match="must be"):
        split(made([0, 1]), fraction=fraction, seed=seed)
