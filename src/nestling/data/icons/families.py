"""Train, validation and test by family: what one family drew, or copied, is never on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from nestling.data.icons.pack import Pack
from nestling.data.icons.recipe import Recipe
from nestling.data.images import LabelledImages
from nestling.errors import DataError, InputError, require_extra

_TEST, _VAL = 0.2, 0.1  # of the families
_ALIKE = 0.985  # correlation of two drawings, 16 × 16 pixels, from which one is nearly a copy of the other
_GRID = 16
ENOUGH = 5  # test images of a class whose accuracy counts


@dataclass(frozen=True, eq=False)
class IconPart:
    """One side of the split.

    Attributes:
        images: (n, 1, s, s); `images.paths` are ``set:name``.
        families: (n,) which of `Icons.families` drew each image.
        styles: (n) words of style in each name, such as ``outline``.
        near: (n,) whether train has nearly the same drawing in the same class; all False for train itself.
    """

    images: LabelledImages
    families: Int64[np.ndarray, " n"]
    styles: tuple[str, ...]
    near: Bool[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Icons:
    """A data set of icons: the class is what an icon shows.

    Attributes:
        train, val, test: no family is in two of them, and no drawing twice in a class.
        families: names.
        copies: exact duplicates within a class that were left out.
        untrained: images left out because their class has no training image.
    """

    train: IconPart
    val: IconPart
    test: IconPart
    families: tuple[str, ...]
    copies: int
    untrained: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.train.images.classes

    @property
    def scored(self) -> Bool[np.ndarray, " c"]:
        """The classes of at least five test images, whose accuracies a macro average takes."""
        return np.bincount(self.test.images.labels, minlength=len(self.classes)) >= ENOUGH


def split_by_family(pack: Pack, recipe: Recipe, *, fewest_sets: int, seed: int) -> Icons:
    """Draw the families of test and validation, drop copies, and label.

    Args:
        pack: all images.
        recipe: which sets are a family, and which families only train.
        fewest_sets: that draw a class.
        seed: of the draw.

    Raises:
        InputError: the seed is negative.
        DataError: no class is drawn by so many sets.
    """
    drawn_by = pack.sets_of_classes()
    classes = [name for name in drawn_by if drawn_by[name] >= fewest_sets]
    if not classes:
        raise DataError(f"No icon is drawn by {fewest_sets} sets. Ask for classes of fewer.")
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers.get(origin.shows, -1) for origin in pack.origins], np.int64)
    families, of, side = sides([origin.set for origin in pack.origins], recipe, seed)
    kept, copies = without_copies(pack.pixels, labels, side)
    trained = np.isin(labels[kept], labels[kept][side[kept] == 0])
    parts = [_part(pack, kept[trained & (side[kept] == number)], labels, of, classes) for number in range(3)]
    train = parts[0]
    val, test = (replace(part, near=near_duplicates(train.images, part.images)) for part in parts[1:])
    return Icons(train, val, test, families, copies, int((~trained).sum()))


class Sides(NamedTuple):
    """What `sides` draws.

    Attributes:
        families: names.
        of: (n,) which of them drew each image.
        side: (n,) 0 for an image to train on, 1 for validation, 2 for test.
    """

    families: tuple[str, ...]
    of: Int64[np.ndarray, " n"]
    side: Int64[np.ndarray, " n"]


def sides(sets: Sequence[str], recipe: Recipe, seed: int) -> Sides:
    """Draw the families of test and validation, and tell each image's side by its set.

    The draw depends on the seed and on the families that may be held out, on nothing else.

    Raises:
        InputError: the seed is negative.
    """
    if seed < 0:
        raise InputError.of("seed", "zero or positive", seed)
    family = {name: recipe.family(name) for name in set(sets)}
    families = tuple(sorted(set(family.values())))
    numbers = {name: number for number, name in enumerate(families)}
    of = np.array([numbers[family[name]] for name in sets], np.int64)
    free = np.array([place for place, name in enumerate(families) if name not in recipe.families_only_in_train], int)
    drawn = np.random.default_rng(seed).permutation(free)
    test, val = round(_TEST * len(free)), round(_VAL * len(free))
    side = np.zeros(len(families), np.int64)
    side[drawn[:test]] = 2
    side[drawn[test : test + val]] = 1
    return Sides(families, of, side[of])


def without_copies(
    pixels: UInt8[np.ndarray, "n s s"], labels: Int64[np.ndarray, " n"], side: Int64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " m"], int]:
    """The images that repeat none of the same label, side by side, so that of two copies the one in train stays.

    Args:
        pixels: of all images.
        labels: a negative one leaves its image out.
        side: of each image.

    Returns:
        Their rows, and how many copies were left out.
    """
    order = np.argsort(side, kind="stable")
    order = order[labels[order] >= 0]
    seen: set[tuple[int, bytes]] = set()
    first = np.zeros(len(order), bool)
    for place, row in enumerate(order):
        key = int(labels[row]), hashlib.blake2b(pixels[row].tobytes(), digest_size=16).digest()
        first[place] = key not in seen
        seen.add(key)
    return order[first], int((~first).sum())


def near_duplicates(train: LabelledImages, images: LabelledImages) -> Bool[np.ndarray, " n"]:
    """Which images have one in their class in `train` whose drawing, cut out and scaled, is nearly the same."""
    asked = np.isin(train.labels, images.labels)
    ours, theirs, labels = _shapes(images.pixels[:, 0]), _shapes(train.pixels[asked, 0]), train.labels[asked]
    found = np.zeros(len(images), bool)
    for label in np.unique(images.labels):
        here, there = np.flatnonzero(images.labels == label), np.flatnonzero(labels == label)
        if len(there):
            found[here] = (ours[here] @ theirs[there].T).max(axis=1) > _ALIKE
    return found


def _part(pack: Pack, rows: np.ndarray, labels: np.ndarray, of: np.ndarray, classes: Sequence[str]) -> IconPart:
    rows = np.sort(rows)
    origins = [pack.origins[int(row)] for row in rows]
    paths = tuple(f"{origin.set}:{origin.name}" for origin in origins)
    images = LabelledImages(pack.pixels[rows][:, None], labels[rows], tuple(classes), paths)
    return IconPart(images, of[rows], tuple(origin.style for origin in origins), np.zeros(len(rows), bool))


def _shapes(pixels: UInt8[np.ndarray, "n s s"]) -> Float32[np.ndarray, "n g"]:
    """The drawings alone, scaled to one size, centred and normalised: products are correlations."""
    pillow = require_extra("PIL.Image")
    found = np.zeros((len(pixels), _GRID * _GRID), np.float32)
    for place, image in enumerate(pixels):
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        if len(rows):
            ink = pillow.fromarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
            found[place] = np.asarray(ink.resize((_GRID, _GRID), pillow.Resampling.BOX), np.float32).reshape(-1)
    found -= found.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.divide(found, lengths, out=np.zeros_like(found), where=lengths > 0)
