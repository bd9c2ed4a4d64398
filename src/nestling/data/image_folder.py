"""A folder per class of PNG, JPEG, WebP, BMP and GIF files, read into memory at one size.

The tree is ``folder/<class>/**/<image>``, or ``folder/train/<class>/…`` with ``val``, ``validation``,
``valid`` or ``test`` beside it (the first of these that exists is the validation set). Everything in a file
is untrusted: a file that cannot be decoded is skipped and listed with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from nestling.data.decoding import Decoder, View
from nestling.data.images import Duplicates, LabelledImages, duplicates_across, split
from nestling.data.tree import Tree, Unreadable
from nestling.errors import DataError, InputError

_BATCH = 256  # files in flight at once: bounds the decoded tiles that wait for their turn

Progress = Callable[[int, int], object]


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """What `image_folder` read.

    Attributes:
        train: images of the class folders, ordered by class and path.
        val: the tree's validation images, or those split off; None with val_fraction=0.
        unreadable: files that could not be decoded, with reasons.
        duplicates: images of `val` that are also in `train`, pixel for pixel; pairs are (train row, val row).
        singles: classes with one image, which stayed in train when `val` was split off.
        loose: image files outside every class folder, which have no class and were ignored.
    """

    train: LabelledImages
    val: LabelledImages | None
    unreadable: tuple[Unreadable, ...]
    duplicates: Duplicates
    singles: tuple[str, ...]
    loose: int


def image_folder(
    folder: str | os.PathLike[str],
    *,
    size: int = 64,
    channels: int = 3,
    val_fraction: float | int = 0.1,
    seed: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
) -> ImageFolder:
    """Read a tree of images, one folder per class, as uint8 (n, channels, size, size).

    Each image is turned as its EXIF says, laid on white where it is transparent, scaled (antialiased) until
    its shorter side is `size` pixels, and cropped to the centre. Classes are train's folder names, sorted.

    Args:
        folder: the tree; hidden files and folders in it are ignored.
        size: pixels of a side.
        channels: 3 (RGB) or 1 (grey).
        val_fraction: the part of each class split off when the tree has no validation folder; 0 for none.
        seed: of that split.
        strict: raise on the first file that cannot be read instead of skipping it.
        progress: called with (files done, files in all).
        workers: decoding threads; by default one per core, at most 8.

    Raises:
        InputError: an argument is outside its range, or there is a single class.
        DataError: no folder, no images, a class without a readable image, a validation class that train
            lacks, or, with `strict`, a file that cannot be read.
        MissingExtraError: Pillow is not installed.
    """
    _check_arguments(val_fraction, workers)
    decoder, view = Decoder(), View(side=size, channels=channels)
    tree = Tree.of(Path(folder))
    read = _read_all(tree.files, decoder, view, strict=strict, progress=progress, workers=workers)
    train, val = (_labelled(part, tree, read) for part in (tree.train, tree.val))
    assert train is not None
    singles: tuple[str, ...] = ()
    if val is None and val_fraction > 0:
        train, val, singles = split(train, fraction=val_fraction, seed=seed)
    shared = Duplicates(0, ()) if val is None else duplicates_across(train, val)
    return ImageFolder(train, val, (*tree.unreadable, *read.unreadable), shared, singles, tree.loose)


def _check_arguments(val_fraction: float | int, workers: int | None) -> None:
    if not 0 <= val_fraction < 1:
        raise InputError.of("val_fraction", "at least 0 and below 1", val_fraction)
    if workers is not None and workers < 1:
        raise InputError.of("workers", "a positive number of threads", workers)


# --- the files -------------------------------------------------------------------------------------------


class _Read(NamedTuple):
    pixels: UInt8[np.ndarray, "n c s s"]  # of the files that could be read, in order
    rows: dict[Path, int]
    unreadable: tuple[Unreadable, ...]


def _read_all(
    files: Sequence[Path],
    decoder: Decoder,
    view: View,
    *,
    strict: bool,
    progress: Progress | None,
    workers: int | None,
) -> _Read:
    """Decode in threads (Pillow lets go of the GIL), in batches, into one array allocated once."""
    pixels = np.empty((len(files), view.channels, view.side, view.side), np.uint8)
    rows: dict[Path, int] = {}
    unreadable: list[Unreadable] = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(files), _BATCH):
            batch = files[start : start + _BATCH]
            for path, tile in zip(batch, pool.map(partial(decoder.attempt, view=view), batch), strict=True):
                if isinstance(tile, np.ndarray):
                    pixels[len(rows)] = tile
                    rows[path] = len(rows)
                elif strict:
                    raise DataError(f"{path} cannot be read: {tile}. Repair or remove it.")
                else:
                    unreadable.append(Unreadable(str(path), tile))
            if progress is not None:
                progress(start + len(batch), len(files))
    return _Read(pixels[: len(rows)], rows, tuple(unreadable))


def _labelled(part: dict[str, list[Path]] | None, tree: Tree, read: _Read) -> LabelledImages | None:
    """The readable images of one part; its rows lie together, so the pixels are a view."""
    if part is None:
        return None
    classes = sorted(tree.train)
    paths: list[Path] = []
    labels: list[int] = []
    for name in sorted(part):
        readable = [path for path in part[name] if path in read.rows]
        if not readable:
            raise _no_readable_image(name, part[name], read)
        paths += readable
        labels += [classes.index(name)] * len(readable)
    if not paths:
        raise DataError("The validation folder holds no images. Fill it or remove it.")
    first = read.rows[paths[0]]
    pixels = read.pixels[first : first + len(paths)]
    return LabelledImages(pixels, np.array(labels, np.int64), tuple(classes), tuple(map(str, paths)))


def _no_readable_image(name: str, files: list[Path], read: _Read) -> DataError:
    here = {str(path) for path in files}
    first = next((bad for bad in read.unreadable if bad.path in here), None)
    why = "it holds none" if first is None else f"{first.path}: {first.reason}"
    return DataError(f"The class {name!r} has no readable image ({why}). Add images or remove its folder.")
