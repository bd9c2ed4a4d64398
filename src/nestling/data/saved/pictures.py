"""Pictures with classes that `datasets` saved: a column of pictures and one of classes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped

from nestling.data.decoding import Decoder, View
from nestling.data.images import held_out
from nestling.data.picture_files import Growing
from nestling.data.samples import Fault, Sample, Samples
from nestling.data.saved.layout import SavedSet, picture_of, training_and_validation
from nestling.errors import DataError, InputError

_PICTURES, _CLASSES = ("image", "img", "picture"), ("label", "labels", "fine_label", "class")


@dataclass(frozen=True, slots=True)
class _Columns:
    """The names of the two columns that are read, and of the classes."""

    picture: str
    label: str
    classes: tuple[str, ...]


class SavedPictures(Samples):
    """Rows of Arrow files; the target is the class.

    Args:
        saved: the data set.
        columns: which are read.
        rows: of all files together.
        labels: (n,) of these rows.
        view, growing, strict: as of `PictureFiles`.
    """

    def __init__(
        self,
        saved: SavedSet,
        columns: _Columns,
        rows: Int64[np.ndarray, " n"],
        labels: Int64[np.ndarray, " n"],
        view: View,
        *,
        growing: Growing | None = None,
        strict: bool = False,
    ) -> None:
        self.saved, self.columns, self.rows, self.labels = saved, columns, rows, labels
        self.view, self.growing, self.strict = view, growing, strict
        self._decoder: Decoder | None = None
        self._pictures: Any = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.columns.classes

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_decoder": None, "_pictures": None}

    def fingerprint(self) -> dict[str, int]:
        """The number of rows, their labels, where they are, and how they are seen."""
        seen = f"{self.view} {self.growing}".encode()
        return {
            "samples": len(self),
            "labels": zlib.crc32(self.labels.tobytes()),
            "rows": zlib.crc32(self.rows.tobytes(), self.saved.digest()),
            "view": zlib.crc32(seen),
        }

    def name(self, row: int) -> str:
        """Its folder and its row there."""
        return f"{self.saved.folder}/{int(self.rows[row])}"

    def one(self, row: int, epoch: int, rng: np.random.Generator | None) -> Sample | Fault:
        """A picture (c, side, side) as bytes, and its class."""
        if self._decoder is None:
            self._decoder = Decoder()
        source = self.source(row)
        if source is None:
            return Fault(self.name(row), "it has no picture")
        view = self.view if self.growing is None or rng is None else replace(self.view, side=self.growing.at(epoch))
        found = self._decoder.attempt(source, view, rng)
        return Fault(self.name(row), found) if isinstance(found, str) else Sample(found, int(self.labels[row]))

    def source(self, row: int) -> bytes | Path | None:
        """A picture as it was saved, or the file that it is in."""
        if self._pictures is None:
            self._pictures = self.saved.column(self.columns.picture)
        return picture_of(self._pictures[int(self.rows[row])].as_py())

    def take(self, rows: Shaped[np.ndarray, " r"]) -> SavedPictures:
        """Those of a mask or of row numbers, in this order."""
        index = np.arange(len(self))[rows]
        return SavedPictures(
            self.saved,
            self.columns,
            self.rows[index],
            self.labels[index],
            self.view,
            growing=self.growing,
            strict=self.strict,
        )


def saved_pictures(
    folder: Path | str,
    view: View,
    *,
    growing: Growing | None = None,
    val_fraction: float | int = 0.1,
    seed: int = 0,
    labelled: bool = True,
    strict: bool = False,
) -> tuple[SavedPictures, SavedPictures | None]:
    """Training and validation pictures; nothing is decoded.

    Args:
        labelled: False takes pictures of one class, or without any: they are then all of one class without a name.

    The picture column is the one of `datasets`' feature Image, the classes those of its ClassLabel, or else a column of
    whole numbers or names called label. Validation is the part named so, else what is held out of the one part.

    Raises:
        DataError: a folder that `datasets` did not save so, damaged, or without such columns.
        InputError: a single class, or a fraction out of range.
        MissingExtraError: pyarrow is not installed.
    """
    if not 0 <= val_fraction < 1:
        raise InputError.of("val_fraction", "at least 0 and below 1", val_fraction)
    root = Path(folder)
    first, beside = training_and_validation(root)
    train = _opened(first, view, growing, labelled, strict)
    if labelled and len(train.classes) < 2:
        raise InputError.of(f"{root}", "pictures of at least two classes", len(train.classes))
    if beside is not None:
        val = _opened(beside, view, growing, labelled, strict)
        if val.classes != train.classes:
            told = f"{beside.folder} has other classes than {first.folder}"
            raise DataError(f"{told}. Save both with the same ClassLabel.")
        return train, val
    if val_fraction == 0:
        return train, None
    held, _ = held_out(train.labels, len(train.classes), fraction=val_fraction, seed=seed)
    return train.take(~held), train.take(held)


def _opened(saved: SavedSet, view: View, growing: Growing | None, labelled: bool, strict: bool) -> SavedPictures:
    columns, features, folder = _columns(saved, labelled), saved.features(), saved.folder
    if not columns.label:
        rows = np.arange(len(saved.column(columns.picture)), dtype=np.int64)
        return SavedPictures(saved, columns, rows, np.zeros(len(rows), np.int64), view, growing=growing, strict=strict)
    labels = saved.column(columns.label)
    if labels.null_count:
        raise DataError(f"{labels.null_count:,} rows of {folder} have no {columns.label}. Remove them.")
    values = labels.to_numpy()
    if features[columns.label].get("_type") == "ClassLabel":
        numbers = values.astype(np.int64)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(columns.classes):
            raise DataError(f"{folder} has labels beyond its {len(columns.classes)} classes. Save it again.")
    else:
        names, numbers = np.unique(values.astype(str), return_inverse=True)
        columns = replace(columns, classes=tuple(names.tolist()))
    if not len(numbers):
        raise DataError(f"{folder} holds no rows. Save one that has pictures.")
    rows = np.arange(len(numbers), dtype=np.int64)
    return SavedPictures(saved, columns, rows, numbers.astype(np.int64), view, growing=growing, strict=strict)


def picture_column(saved: SavedSet) -> str:
    """The column of `datasets`' feature Image.

    Raises:
        DataError: there is none, or several of no usual name.
    """
    found = [name for name, each in saved.features().items() if each.get("_type") == "Image"]
    return saved.named(found, _PICTURES, "a column of pictures")


def _columns(saved: SavedSet, labelled: bool) -> _Columns:
    features = saved.features()
    kinds = {name: each.get("_type") for name, each in features.items()}
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    plain = [name for name, kind in kinds.items() if kind == "Value" and name in _CLASSES]
    picture = picture_column(saved)
    if not labelled and not labels and not plain:
        return _Columns(picture, "", ("",))
    label = saved.named(labels or plain, _CLASSES, "a column of classes (a ClassLabel, or one named label)")
    names = features[label].get("names") or ()
    return _Columns(picture, label, tuple(map(str, names)))
