"""A tree of files, one folder per class, with or without train and validation inside."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nestling.errors import DataError, InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
_VALIDATION_NAMES = ("val", "validation", "valid", "test")


class Unreadable(NamedTuple):
    """A file that was skipped, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Tree:
    """What was found.

    Attributes:
        train, val: class → its files, sorted; no `val` where the tree has none.
        unreadable: folders that may not be listed.
        loose: pictures outside every class folder.
    """

    train: dict[str, list[Path]]
    val: dict[str, list[Path]] | None
    unreadable: tuple[Unreadable, ...]
    loose: int

    @classmethod
    def of(cls, root: Path) -> Tree:
        if not root.is_dir():
            what = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {what}. Give a folder that holds one folder of images per class.")
        try:
            return cls.listed(root)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{root} cannot be listed: {reason}. Check its permissions.") from error

    @classmethod
    def listed(cls, root: Path) -> Tree:
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


def images_below(root: Path, unreadable: list[Unreadable]) -> Iterator[Path]:
    """The image files of a tree of any form, those of each folder sorted; in memory are the names of one.

    Links are followed, but never into a folder above or twice.

    Args:
        unreadable: folders that may not be listed are added.
    """
    return _walk(root, {_identity(folder) for folder in root.resolve().parents}, unreadable)


def names_below(paths: Sequence[str]) -> int:
    """A number that tells files from others by their names below the folder that they share, wherever that is."""
    top = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""  # noqa: PTH120  as fast as can be
    names = "\n".join(path[len(top) :] for path in paths)
    return zlib.crc32(names.encode("utf-8", "surrogateescape"))


def check_listed(unreadable: Sequence[Unreadable], *, strict: bool) -> None:
    """Raise `DataError` for a folder that may not be listed, where everything must be read."""
    if strict and unreadable:
        raise DataError(f"{unreadable[0].path} cannot be listed: {unreadable[0].reason}. Check its permissions.")


def _walk(folder: Path, seen: set[tuple[int, int]], unreadable: list[Unreadable]) -> Iterator[Path]:
    pending = [folder]
    while pending:  # not recursive: a deep tree must not exhaust the stack
        here = pending.pop()
        try:
            identity = _identity(here)
            files, folders = ([], []) if identity in seen else _inside(here)
        except OSError as error:
            unreadable.append(Unreadable(str(here), error.strerror or str(error)))
            continue
        seen.add(identity)
        yield from (here / name for name in files)
        pending.extend(here / name for name in reversed(folders))


def _inside(folder: Path) -> tuple[list[str], list[str]]:
    """The names of a folder's images and of its folders, sorted: a path is several times as large as a name."""
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif entry.name.lower().endswith(SUFFIXES):
                files.append(entry.name)
    files.sort()
    folders.sort()
    return files, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


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
