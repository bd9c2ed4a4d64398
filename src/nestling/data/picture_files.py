"""Pictures in files, decoded when they are wanted: for trees that do not fit in memory at the size they are read at."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped

from nestling.data.decoding import Decoder, View
from nestling.data.images import held_out
from nestling.data.samples import Fault, Sample, Samples
from nestling.data.tree import Tree, Unreadable, check_listed, images_below, names_below
from nestling.errors import DataError, InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """Progressive resolution: small pictures first (Howard 2018; the paper's recipe for ImageNet: 160, then 192).

    Attributes:
        first, last: pixels of a side before `start` and from `end` on; in between as a line has them.
        start, end: epochs.
        multiple: sides are rounded to multiples of it.

    Raises:
        InputError: a value is out of range.
    """

    first: int
    last: int
    start: int = 0
    end: int = 0
    multiple: int = 32

    def __post_init__(self) -> None:
        if min(self.first, self.last, self.multiple) < 1:
            raise InputError.of("sides", "positive", f"{self.first} and {self.last}, multiples of {self.multiple}")
        if not 0 <= self.start <= self.end:
            raise InputError.of("start", f"between 0 and the end ({self.end})", self.start)

    def at(self, epoch: int) -> int:
        """Pixels of a side in an epoch."""
        if epoch <= self.start or self.end == self.start:
            return self.first if epoch <= self.start and self.end > self.start else self.last
        side = np.interp(epoch, [self.start, self.end], [self.first, self.last])
        return max(1, round(float(side) / self.multiple)) * self.multiple if epoch < self.end else self.last


class PictureFiles(Samples):
    """Files with classes.

    Args:
        paths: n files.
        labels: (n,) in 0 … len(classes) − 1; classes: their names.
        view: how a picture is seen; draws only where a generator is given.
        growing: what the side is in each epoch, instead of the view's.
        strict: as of `Samples`.

    Attributes:
        unlisted: folders below the root of `all_pictures` that may not be listed.
    """

    def __init__(
        self,
        paths: Sequence[str],
        labels: Int64[np.ndarray, " n"],
        classes: Sequence[str],
        view: View,
        *,
        growing: Growing | None = None,
        strict: bool = False,
    ) -> None:
        self.paths, self.labels, self.classes = tuple(paths), labels, tuple(classes)
        self.view, self.growing, self.strict = view, growing, strict
        self.unlisted: tuple[Unreadable, ...] = ()
        self._decoder: Decoder | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_decoder": None}

    def fingerprint(self) -> dict[str, int]:
        """The number of files, their labels and names, and how they are seen."""
        seen = f"{self.view} {self.growing}".encode()
        return {
            "samples": len(self),
            "labels": zlib.crc32(self.labels.tobytes()),
            "names": names_below(self.paths),
            "view": zlib.crc32(seen),
        }

    def name(self, row: int) -> str:
        """Its path."""
        return self.paths[row]

    def one(self, row: int, epoch: int, rng: np.random.Generator | None) -> Sample | Fault:
        """A picture (c, side, side) as bytes, and its label."""
        if self._decoder is None:
            self._decoder = Decoder()
        view = self.view if self.growing is None or rng is None else replace(self.view, side=self.growing.at(epoch))
        found = self._decoder.attempt(Path(self.paths[row]), view, rng)
        return Fault(self.paths[row], found) if isinstance(found, str) else Sample(found, int(self.labels[row]))

    def take(self, rows: Shaped[np.ndarray, " r"]) -> PictureFiles:
        """Those of a mask or of row numbers, in this order."""
        index = np.arange(len(self))[rows]
        paths = [self.paths[int(i)] for i in index]
        return PictureFiles(
            paths, self.labels[index], self.classes, self.view, growing=self.growing, strict=self.strict
        )


@dataclass(frozen=True, eq=False)
class PictureTree:
    """What `picture_files` found.

    Attributes:
        train: the pictures of the class folders.
        val: the tree's validation pictures, or those split off; None with val_fraction=0.
        unreadable: folders that may not be listed.
        singles: classes with one picture, which stayed in train when `val` was split off.
        loose: picture files outside every class folder, ignored.
    """

    train: PictureFiles
    val: PictureFiles | None
    unreadable: tuple[Unreadable, ...]
    singles: tuple[str, ...]
    loose: int


def picture_files(
    folder: Path | str,
    view: View,
    *,
    growing: Growing | None = None,
    val_fraction: float | int = 0.1,
    seed: int = 0,
    strict: bool = False,
) -> PictureTree:
    """List a tree of pictures, one folder per class, with or without ``train`` and ``val`` inside; nothing is decoded.

    Args:
        folder, val_fraction, seed, strict: as of `image_folder`; the same files are held out if all can be read.
        view, growing: as of `PictureFiles`.

    Raises:
        InputError: an argument is outside its range, or there is a single class.
        DataError: no folder, no pictures, a class without any, or a validation class that train lacks.
    """
    if not 0 <= val_fraction < 1:
        raise InputError.of("val_fraction", "at least 0 and below 1", val_fraction)
    tree = Tree.of(Path(folder))
    check_listed(tree.unreadable, strict=strict)
    classes = sorted(tree.train)
    train, val = (_files(part, classes, view, growing, strict) for part in (tree.train, tree.val))
    assert train is not None
    singles: list[int] = []
    if val is None and val_fraction > 0:
        held, singles = held_out(train.labels, len(classes), fraction=val_fraction, seed=seed)
        train, val = train.take(~held), train.take(held)
    return PictureTree(train, val, tree.unreadable, tuple(classes[i] for i in singles), tree.loose)


def all_pictures(root: Path | str, view: View, *, strict: bool = False) -> PictureFiles:
    """Every picture of a tree of any form, in the order of their paths; the class is the folder that a picture is in.

    Raises:
        DataError: no such folder, or no pictures in it.
    """
    if not Path(root).is_dir():
        raise DataError(f"{root} is no folder. Give one that holds pictures.")
    unreadable: list[Unreadable] = []
    paths = sorted(str(path) for path in images_below(Path(root), unreadable))
    if not paths:
        why = f" ({unreadable[0].path}: {unreadable[0].reason})" if unreadable else ""
        raise DataError(f"{root} holds no pictures{why}. Give a folder of pictures.")
    check_listed(unreadable, strict=strict)
    folders = [str(Path(path).parent.relative_to(root)) for path in paths]
    classes, labels = np.unique(folders, return_inverse=True)
    found = PictureFiles(paths, labels.astype(np.int64), classes.tolist(), view, strict=strict)
    found.unlisted = tuple(unreadable)
    return found


def _files(
    part: dict[str, list[Path]] | None, classes: list[str], view: View, growing: Growing | None, strict: bool
) -> PictureFiles | None:
    if part is None:
        return None
    for name, files in part.items():
        if not files:
            raise DataError(f"The class {name!r} has no image. Add images or remove its folder.")
    paths = [str(path) for name in sorted(part) for path in part[name]]
    labels = np.repeat([classes.index(name) for name in sorted(part)], [len(part[name]) for name in sorted(part)])
    if not paths:
        raise DataError("The validation folder holds no images. Fill it or remove it.")
    return PictureFiles(paths, labels.astype(np.int64), classes, view, growing=growing, strict=strict)
