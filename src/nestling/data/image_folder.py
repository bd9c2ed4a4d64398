"""A folder per class of PNG, JPEG, WebP, BMP and GIF files, read into memory at one size.

The tree is ``folder/<class>/**/<image>``, or ``folder/train/<class>/…`` with ``val``, ``validation``,
``valid`` or ``test`` beside it (the first of these that exists is the validation set). Everything in a file
is untrusted: a file that cannot be decoded is skipped and listed with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from nestling.data.images import Duplicates, LabelledImages, duplicates_across, split
from nestling.errors import DataError, InputError, require_extra

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")

# Pillow recognises files by content; without this list a PostScript file named .png would start Ghostscript.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
_VALIDATION_NAMES = ("val", "validation", "valid", "test")
_BATCH = 256  # files in flight at once: bounds the decoded tiles that wait for their turn

Progress = Callable[[int, int], object]


class Unreadable(NamedTuple):
    """A file that was skipped, and why."""

    path: str
    reason: str


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
    _check_arguments(size, channels, val_fraction, workers)
    pil = require_extra("PIL.Image"), require_extra("PIL.ImageOps")
    tree = _Tree.of(Path(folder))
    decoder = _Decoder(*pil, size, channels)
    read = _read_all(tree.files, decoder, strict=strict, progress=progress, workers=workers)
    train, val = (_labelled(part, tree, read) for part in (tree.train, tree.val))
    assert train is not None
    singles: tuple[str, ...] = ()
    if val is None and val_fraction > 0:
        train, val, singles = split(train, fraction=val_fraction, seed=seed)
    shared = Duplicates(0, ()) if val is None else duplicates_across(train, val)
    return ImageFolder(train, val, (*tree.unreadable, *read.unreadable), shared, singles, tree.loose)


def _check_arguments(size: int, channels: int, val_fraction: float | int, workers: int | None) -> None:
    if size < 1:
        raise InputError.of("size", "a positive number of pixels", size)
    if channels not in (1, 3):
        raise InputError.of("channels", "1 (grey) or 3 (colour)", channels)
    if not 0 <= val_fraction < 1:
        raise InputError.of("val_fraction", "at least 0 and below 1", val_fraction)
    if workers is not None and workers < 1:
        raise InputError.of("workers", "a positive number of threads", workers)


# --- the tree --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tree:
    train: dict[str, list[Path]]
    val: dict[str, list[Path]] | None
    unreadable: tuple[Unreadable, ...]  # folders that may not be listed
    loose: int

    @classmethod
    def of(cls, root: Path) -> _Tree:
        if not root.is_dir():
            what = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {what}. Give a folder that holds one folder of images per class.")
        try:
            return cls.listed(root)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{root} cannot be listed: {reason}. Check its permissions.") from error

    @classmethod
    def listed(cls, root: Path) -> _Tree:
        unreadable: list[Unreadable] = []
        train_root, val_root = _roots(root)
        train = _class_files(train_root, unreadable)
        val = None if val_root is None else _class_files(val_root, unreadable)
        parts = {root, train_root, val_root or root}
        loose = sum(_is_image(entry) for part in parts for entry in _visible(part))
        _check_tree(root, train, val, loose)
        return cls(train, val, tuple(unreadable), loose)

    @property
    def files(self) -> list[Path]:
        parts = (self.train, self.val or {})
        return [path for part in parts for name in sorted(part) for path in part[name]]


def _roots(root: Path) -> tuple[Path, Path | None]:
    """Where the class folders of train and of validation lie.

    ``train`` is the training set when it holds folders and no images; else it is a class (there are data sets
    of vehicles).
    """
    train = root / "train"
    inside = _visible(train) if train.is_dir() else []
    if not any(entry.is_dir() for entry in inside) or any(_is_image(entry) for entry in inside):
        return root, None
    beside = (root / name for name in _VALIDATION_NAMES)
    return train, next((folder for folder in beside if folder.is_dir()), None)


def _visible(folder: Path) -> list[Path]:
    """The entries of a folder, sorted, without the hidden ones; an OSError if it may not be listed."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _is_image(entry: Path) -> bool:
    """By its name; a folder named ``x.png`` is a folder, a dangling link so named an unreadable image."""
    return entry.suffix.lower() in SUFFIXES and not entry.is_dir()


def _class_files(root: Path, unreadable: list[Unreadable]) -> dict[str, list[Path]]:
    """The image files of every class folder. Links are followed, but never into a folder above or twice."""
    above = {_identity(folder) for folder in (root.resolve(), *root.resolve().parents)}
    folders = [entry for entry in _visible(root) if entry.is_dir()]
    return {folder.name: list(_walk(folder, set(above), unreadable)) for folder in folders}


def _walk(folder: Path, seen: set[tuple[int, int]], unreadable: list[Unreadable]) -> Iterator[Path]:
    pending = [folder]
    while pending:  # not recursive: a deep tree must not exhaust the stack
        here = pending.pop()
        try:
            identity = _identity(here)
            entries = [] if identity in seen else _visible(here)
        except OSError as error:
            unreadable.append(Unreadable(str(here), error.strerror or str(error)))
            continue
        seen.add(identity)
        yield from (entry for entry in entries if _is_image(entry))
        pending.extend(entry for entry in reversed(entries) if entry.is_dir())


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _check_tree(root: Path, train: dict[str, list[Path]], val: dict[str, list[Path]] | None, loose: int) -> None:
    if not any(train.values()):
        found = f"only {loose} outside class folders" if loose else "none"
        raise DataError(
            f"{root} must hold images in one folder per class; found {found}. "
            f"Put them in {root}/<class>/ with one of the endings {' '.join(SUFFIXES)}."
        )
    if len(train) == 1:
        raise InputError.of(
            "folder",
            "a tree of at least two classes",
            f"only {next(iter(train))!r}",
            "With one class there is nothing to learn.",
        )
    unknown = sorted((val or {}).keys() - train.keys())
    if unknown:
        raise DataError(
            f"The validation folder has the class {unknown[0]!r}, which train lacks. "
            "Add its images to train or remove the folder."
        )


# --- the files -------------------------------------------------------------------------------------------


class _Read(NamedTuple):
    pixels: UInt8[np.ndarray, "n c s s"]  # of the files that could be read, in order
    rows: dict[Path, int]
    unreadable: tuple[Unreadable, ...]


def _read_all(
    files: Sequence[Path],
    decoder: _Decoder,
    *,
    strict: bool,
    progress: Progress | None,
    workers: int | None,
) -> _Read:
    """Decode in threads (Pillow lets go of the GIL), in batches, into one array allocated once."""
    pixels = np.empty((len(files), decoder.channels, decoder.size, decoder.size), np.uint8)
    rows: dict[Path, int] = {}
    unreadable: list[Unreadable] = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(files), _BATCH):
            batch = files[start : start + _BATCH]
            for path, tile in zip(batch, pool.map(decoder.attempt, batch), strict=True):
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


def _labelled(part: dict[str, list[Path]] | None, tree: _Tree, read: _Read) -> LabelledImages | None:
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


# --- one file --------------------------------------------------------------------------------------------


class _Decoder(NamedTuple):
    """Turns a file into a tile; holds Pillow's modules (untyped here: it is optional) and the wanted form."""

    pil: ModuleType
    ops: ModuleType
    size: int
    channels: int

    def attempt(self, path: Path) -> np.ndarray | str:
        """The tile (channels, size, size), or the reason why there is none."""
        try:
            if not path.is_file():
                return "it is no regular file (a dangling link, a pipe)"
            if path.stat().st_size == 0:
                return "it is empty"
            return self.decode(path)
        except self.pil.UnidentifiedImageError:
            return "it is no image of a known format"
        # Pillow's decoders raise whatever their bytes lead to: OSError, ValueError, SyntaxError,
        # struct.error, zlib.error, IndexError, OverflowError, DecompressionBombError, even MemoryError.
        except Exception as error:
            return str(error).rstrip(".") or type(error).__name__

    def decode(self, path: Path) -> UInt8[np.ndarray, "c s s"]:
        with self.pil.open(path, formats=_FORMATS) as image:
            self._refuse_bomb(image)
            # A photograph of 12 megapixels is decoded at an eighth of its size; twice the wanted size stays,
            # so that the antialiasing below still has pixels to average.
            image.draft(None, (2 * self.size, 2 * self.size))
            flat = self._flat(self.ops.exif_transpose(image))
        tile = np.asarray(self._square(flat))
        return np.ascontiguousarray(tile.reshape(self.size, self.size, self.channels).transpose(2, 0, 1))

    def _refuse_bomb(self, image: Any) -> None:
        """Pillow warns above its limit and raises above twice the limit; here the limit is the limit."""
        limit = self.pil.MAX_IMAGE_PIXELS
        if limit is not None and image.width * image.height > limit:
            raise InputError.of("the image", f"at most {limit} pixels (Pillow's limit)", image.size)

    def _flat(self, image: Any) -> Any:
        """One 8-bit mode without transparency: RGB or L."""
        if image.mode.startswith("I"):
            image = self._eight_bits(image)
        elif image.has_transparency_data:
            colours = image.convert("RGBA")
            image = self.pil.alpha_composite(self.pil.new("RGBA", colours.size, "white"), colours)
        return image.convert("RGB" if self.channels == 3 else "L")

    def _eight_bits(self, image: Any) -> Any:
        """16-bit grey to 8 bits: 65,535 / 257 = 255. Pillow's own conversion clips at 255 instead."""
        deep = np.array(image, np.int64).clip(0, 65_535)
        clear = image.info.get("transparency")
        if isinstance(clear, int):
            deep[deep == clear] = 65_535
        return self.pil.fromarray(((deep + 128) // 257).astype(np.uint8))

    def _square(self, image: Any) -> Any:
        """Scale the shorter side to `size` and crop the centre, in one step.

        In one step because a picture of 1 × 1,000,000 pixels, scaled before the crop, would fill the memory.
        """
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        square = (left, top, left + side, top + side)
        return image.resize((self.size, self.size), self.pil.Resampling.BICUBIC, box=square)
