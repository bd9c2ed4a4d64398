"""The images of a reproduction: three parts, and what is known about each image beside its class."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestling.data import LabelledImages, image_folder, split
from nestling.data.icons import NAMES, IconPart, icons
from nestling.errors import DataError, InputError
from nestling.studies.reproduce.settings import Settings
from nestling.studies.watch import Watch

_HELD_OUT = 0.1  # of a tree without a part of its own for it
_RUN = 4  # classes that a smaller study takes from one place of the alphabet


@dataclass(frozen=True, eq=False)
class StudyPart:
    """Images with what a table may group them by.

    Attributes:
        groups: (n,) what is resampled together, the family of an icon; every image its own where nothing is known.
        styles: (n) words such as ``outline``, empty where nothing is known.
        near: (n,) whether train has nearly the same image in the same class.
    """

    images: LabelledImages
    groups: np.ndarray
    styles: tuple[str, ...]
    near: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> np.ndarray:
        """(n,) classes."""
        return self.images.labels


@dataclass(frozen=True, eq=False)
class StudyImages:
    """Train, validation and test; everything is chosen on the second and reported on the third."""

    name: str
    train: StudyPart
    val: StudyPart
    test: StudyPart

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.train.images.classes

    def part(self, name: str) -> StudyPart:
        """One of ``train``, ``val``, ``test``."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def fingerprint(self) -> str:
        """A short text that changes when an image or a label does."""
        parts = (self.train, self.val, self.test)
        return f"{zlib.crc32(b''.join(_bytes(part) for part in parts)):08x}"


def study_images(settings: Settings, watch: Watch) -> StudyImages:
    """Load the icons, or a tree of one folder per class.

    Raises:
        DataError, InputError: the data cannot be had, has one class only, or a class without a test image.
    """
    found = _icons(settings, watch) if settings.data in NAMES else _tree(settings, watch)
    if settings.classes is not None:
        found = _fewer(found, settings.classes)
    if len(found.classes) < 2:
        raise InputError.of("data", "of at least two classes", f"one class in {settings.data}")
    return found


def _icons(settings: Settings, watch: Watch) -> StudyImages:
    with watch.task("icons") as step:
        data = icons(settings.data, size=settings.pixels, say=watch.say, progress=step)
    return StudyImages(settings.data, *(_icon_part(part) for part in (data.train, data.val, data.test)))


def _icon_part(part: IconPart) -> StudyPart:
    return StudyPart(part.images, part.families, part.styles, part.near)


def _tree(settings: Settings, watch: Watch) -> StudyImages:
    folder = Path(settings.data)
    if not folder.is_dir():
        known = ", ".join(NAMES)
        raise InputError.of("data", f"{known}, or a folder of one folder per class", repr(settings.data))
    with watch.task("read images") as step:
        found = image_folder(
            folder,
            size=settings.pixels,
            channels=1,
            val_fraction=_HELD_OUT,
            seed=0,
            progress=lambda done, total: step(done, total),
        )
    if found.val is None:
        raise DataError(f"{folder} holds no image apart to test on. Add a folder val, or more images of each class.")
    missing = set(range(len(found.train.classes))) - set(found.val.labels.tolist())
    if missing:
        name = found.train.classes[min(missing)]
        raise DataError(f"Class {name} of {folder} has no test image. Add one, or leave the class out.")
    parted = split(found.train, fraction=_HELD_OUT, seed=0)
    return StudyImages(folder.name, *(_plain(part) for part in (parted.train, parted.held_out, found.val)))


def _plain(images: LabelledImages) -> StudyPart:
    n = len(images)
    return StudyPart(images, np.arange(n), ("",) * n, np.zeros(n, bool))


def _fewer(images: StudyImages, count: int) -> StudyImages:
    """At most so many classes, neighbours in the alphabet together: some of their names share words."""
    runs = np.array_split(np.arange(len(images.classes)), max(1, count // _RUN))
    kept = np.concatenate([run[:_RUN] for run in runs])
    names = tuple(images.classes[int(c)] for c in kept)
    numbers = np.full(len(images.classes), -1, np.int64)
    numbers[kept] = np.arange(len(kept))

    def part(of: StudyPart) -> StudyPart:
        rows = np.flatnonzero(numbers[of.labels] >= 0)
        chosen = LabelledImages(of.images.pixels[rows], numbers[of.labels[rows]], names)
        return StudyPart(chosen, of.groups[rows], tuple(of.styles[int(r)] for r in rows), of.near[rows])

    return StudyImages(images.name, part(images.train), part(images.val), part(images.test))


def _bytes(part: StudyPart) -> bytes:
    about = json.dumps([len(part), zlib.crc32(part.images.pixels.tobytes()), zlib.crc32(part.labels.tobytes())])
    return about.encode()
