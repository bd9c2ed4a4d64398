"""Labelled images in memory: checked once, cut by rows, split per class, compared for duplicates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from nestling.errors import InputError, ShapeError


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """n images of one size, each with a class.

    Attributes:
        pixels: (n, c, h, w) uint8, 0 … 255.
        labels: (n,) int64 in 0 … len(classes) − 1.
        classes: the names, each once.
        paths: the n files that the images came from, or None.

    Raises:
        ShapeError: the shapes or lengths do not fit one another.
        InputError: a dtype is wrong, a label is outside the classes, or a class name is given twice.
    """

    pixels: UInt8[np.ndarray, "n c h w"]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]
    paths: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", _checked_classes(self.classes))
        _check_pixels(self.pixels)
        _check_labels(self.labels, len(self.pixels), len(self.classes))
        if self.paths is not None:
            object.__setattr__(self, "paths", tuple(self.paths))
            _check_length("paths", len(self.paths), len(self.pixels))

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        return f"LabelledImages({len(self)} images {self.pixels.shape[1:]}, {len(self.classes)} classes)"

    def take(self, rows: np.ndarray | Sequence[int] | slice) -> LabelledImages:
        """The images of these rows, copied, in this order.

        Args:
            rows: row numbers (negative ones count from the end), a mask of n booleans, or a slice.

        Raises:
            InputError: a row does not exist, or `rows` is not one of these.
        """
        try:
            index = np.arange(len(self))[rows if isinstance(rows, slice) else np.asarray(rows, _row_type(rows))]
        except (IndexError, ValueError, TypeError) as error:
            raise InputError.of("rows", f"rows of {len(self)} images", error) from None
        if index.ndim != 1:
            raise ShapeError.of("rows", "one list of rows", f"shape {index.shape}")
        paths = None if self.paths is None else tuple(self.paths[int(i)] for i in index)
        return LabelledImages(self.pixels[index], self.labels[index], self.classes, paths)


@dataclass(frozen=True)
class Duplicates:
    """Images that two sets share.

    Attributes:
        count: how many images of the second set also occur, pixel for pixel, in the first.
        examples: the first few as (row of the first set, row of the second set).
    """

    count: int
    examples: tuple[tuple[int, int], ...]


class Split(NamedTuple):
    """What `split` returns.

    Attributes:
        train: the larger part.
        held_out: the part that was split off.
        singles: names of the classes with a single image, which stayed in `train`: `held_out` lacks them.
    """

    train: LabelledImages
    held_out: LabelledImages
    singles: tuple[str, ...]


def duplicates_across(train: LabelledImages, test: LabelledImages, *, examples: int = 5) -> Duplicates:
    """Count the images of `test` that occur pixel for pixel in `train`, whatever their labels.

    Compares the SHA-256 of the decoded pixels: n hashes in memory, no pair loop.

    Raises:
        ShapeError: the two sets hold images of different sizes.
    """
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise ShapeError.of("test", f"images of shape {train.pixels.shape[1:]}, as train's", test.pixels.shape[1:])
    first: dict[bytes, int] = {}
    for row, image in enumerate(train.pixels):
        first.setdefault(_digest(image), row)
    matches = ((first.get(_digest(image)), row) for row, image in enumerate(test.pixels))
    pairs = [(found, row) for found, row in matches if found is not None]
    return Duplicates(len(pairs), tuple(pairs[:examples]))


def split(images: LabelledImages, *, fraction: float | int, seed: int) -> Split:
    """Split off about `fraction` of every class: at least one image, never all; a lone image stays in train.

    Each class draws from its own generator (seed, class), so that images added to one class leave the split
    of the others as it was. Both parts keep the order of `images`.

    Args:
        images: what to split.
        fraction: between 0 and 1, both excluded.
        seed: not negative.

    Raises:
        InputError: the fraction or the seed is outside its range.
    """
    held, singles = held_out(images.labels, len(images.classes), fraction=fraction, seed=seed)
    return Split(images.take(~held), images.take(held), tuple(images.classes[i] for i in singles))


def held_out(
    labels: Int64[np.ndarray, " n"], classes: int, *, fraction: float | int, seed: int
) -> tuple[Bool[np.ndarray, " n"], list[int]]:
    """Which rows `split` holds out, and the classes that have one row; arguments and errors as there."""
    if not 0 < fraction < 1:
        raise InputError.of("fraction", "between 0 and 1, both excluded", fraction)
    if seed < 0:
        raise InputError.of("seed", "zero or positive", seed)
    held, singles = np.zeros(len(labels), dtype=bool), list[int]()
    for label in range(classes):
        rows = np.flatnonzero(labels == label)
        if len(rows) == 1:
            singles.append(label)
        elif len(rows) > 1:
            count = min(max(round(fraction * len(rows)), 1), len(rows) - 1)
            held[np.random.default_rng((seed, label)).permutation(rows)[:count]] = True
    return held, singles


def _digest(image: np.ndarray) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def _row_type(rows: np.ndarray | Sequence[int]) -> type[np.int64] | None:
    """An empty list would become a float array, which NumPy refuses as an index."""
    return np.int64 if len(rows) == 0 else None


def _check_pixels(pixels: np.ndarray) -> None:
    if pixels.dtype != np.uint8:
        raise InputError.of("pixels", "uint8", pixels.dtype, "Scale them to 0 … 255 and convert.")
    if pixels.ndim != 4:
        raise ShapeError.of("pixels", "of shape (n, c, h, w)", f"shape {pixels.shape}")


def _check_labels(labels: np.ndarray, n: int, classes: int) -> None:
    if labels.ndim != 1:
        raise ShapeError.of("labels", "of shape (n,)", f"shape {labels.shape}")
    _check_length("labels", len(labels), n)
    if labels.dtype != np.int64:
        raise InputError.of("labels", "int64", labels.dtype, "Number the classes from 0 and convert.")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise InputError.of(
            "labels",
            f"between 0 and {classes - 1}, one of the {classes} classes",
            f"{labels[wrong[0]]} in row {wrong[0]}",
            "Number the classes from 0, or name them all.",
        )


def _checked_classes(given: Sequence[str]) -> tuple[str, ...]:
    classes = tuple(given)
    if len(set(classes)) != len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise InputError.of("classes", "names that differ", f"{twice!r} twice", "Rename one of them.")
    return classes


def _check_length(param: str, length: int, n: int) -> None:
    if length != n:
        raise ShapeError.of(param, f"one per image ({n})", length)
