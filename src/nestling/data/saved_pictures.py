"""Pictures in a folder that Hugging Face's `datasets` saved: Arrow files, a column of pictures and one of classes.

Read by pyarrow, mapped: in memory is a picture at a time. The folder is of one data set, or of several with names
(``train``, ``validation``, ``test``).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Int64, Shaped

from nestling.data.decoding import Decoder, View
from nestling.data.images import held_out
from nestling.data.picture_files import Growing
from nestling.data.samples import Fault, Sample, Samples
from nestling.errors import DataError, InputError, require_extra

_STATE, _INFO, _PARTS = "state.json", "dataset_info.json", "dataset_dict.json"
_VALIDATION = ("validation", "val", "valid", "test")
_PICTURES, _CLASSES = ("image", "img", "picture"), ("label", "labels", "fine_label", "class")


def is_saved(source: str) -> bool:
    """Is it a folder of ``save_to_disk``, of one data set or of several?"""
    return any((Path(source) / name).is_file() for name in (_STATE, _PARTS))


@dataclass(frozen=True, slots=True)
class _Columns:
    """The names of the two columns that are read, and of the classes."""

    picture: str
    label: str
    classes: tuple[str, ...]


class SavedPictures(Samples):
    """Rows of Arrow files; the target is the class.

    Args:
        files: Arrow files, in their order.
        columns: which are read.
        rows: of all files together.
        labels: (n,) of these rows.
        view, growing, strict: as of `PictureFiles`.
    """

    def __init__(
        self,
        files: Sequence[str],
        columns: _Columns,
        rows: Int64[np.ndarray, " n"],
        labels: Int64[np.ndarray, " n"],
        view: View,
        *,
        growing: Growing | None = None,
        strict: bool = False,
    ) -> None:
        self.files, self.columns, self.rows, self.labels = tuple(files), columns, rows, labels
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
        files = [(Path(file).name, Path(file).stat().st_size) for file in self.files]
        return {
            "samples": len(self),
            "labels": zlib.crc32(self.labels.tobytes()),
            "rows": zlib.crc32(self.rows.tobytes(), zlib.crc32(repr(files).encode())),
            "view": zlib.crc32(seen),
        }

    def name(self, row: int) -> str:
        """Its folder and its row there."""
        return f"{Path(self.files[0]).parent}/{int(self.rows[row])}"

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
            self._pictures = _column(self.files, self.columns.picture)
        return _source(self._pictures[int(self.rows[row])].as_py())

    def take(self, rows: Shaped[np.ndarray, " r"]) -> SavedPictures:
        """Those of a mask or of row numbers, in this order."""
        index = np.arange(len(self))[rows]
        return SavedPictures(
            self.files,
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
    parts = _parts(root)
    first = "train" if "train" in parts else next(iter(parts))
    train = _opened(parts[first], view, growing, labelled, strict)
    beside = next((parts[name] for name in _VALIDATION if name in parts and name != first), None)
    if labelled and len(train.classes) < 2:
        raise InputError.of(f"{root}", "pictures of at least two classes", len(train.classes))
    if beside is not None:
        val = _opened(beside, view, growing, labelled, strict)
        if val.classes != train.classes:
            raise DataError(f"{beside} has other classes than {parts[first]}. Save both with the same ClassLabel.")
        return train, val
    if val_fraction == 0:
        return train, None
    held, _ = held_out(train.labels, len(train.classes), fraction=val_fraction, seed=seed)
    return train.take(~held), train.take(held)


def _parts(root: Path) -> Mapping[str, Path]:
    if (root / _STATE).is_file():
        return {"train": root}
    found: Any = _json(root / _PARTS).get("splits")
    listed = cast("list[object]", found) if isinstance(found, list) else []
    names = [name for name in listed if isinstance(name, str) and Path(name).name == name]  # and lead nowhere else
    if not names:
        raise DataError(f"{root / _PARTS} names no parts. Save the data set again.")
    return {name: root / name for name in names}


def _opened(folder: Path, view: View, growing: Growing | None, labelled: bool, strict: bool) -> SavedPictures:
    files = list(_files(folder))
    columns, features = _columns(folder, labelled), _features(folder)
    if not columns.label:
        rows = np.arange(len(_column(files, columns.picture)), dtype=np.int64)
        return SavedPictures(files, columns, rows, np.zeros(len(rows), np.int64), view, growing=growing, strict=strict)
    labels = _column(files, columns.label)
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
    return SavedPictures(files, columns, rows, numbers.astype(np.int64), view, growing=growing, strict=strict)


def _columns(folder: Path, labelled: bool) -> _Columns:
    features = _features(folder)
    kinds = {name: each.get("_type") for name, each in features.items()}
    pictures = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    plain = [name for name, kind in kinds.items() if kind == "Value" and name in _CLASSES]
    picture = _one(pictures, _PICTURES, folder, "a column of pictures")
    if not labelled and not labels and not plain:
        return _Columns(picture, "", ("",))
    label = _one(labels or plain, _CLASSES, folder, "a column of classes (a ClassLabel, or one named label)")
    names = features[label].get("names") or ()
    return _Columns(picture, label, tuple(map(str, names)))


def _features(folder: Path) -> Mapping[str, dict[str, Any]]:
    """Those that are one value a row."""
    found: Any = _json(folder / _INFO).get("features")
    if not isinstance(found, dict):
        raise DataError(f"{folder / _INFO} tells no features. Save the data set again.")
    each = cast("dict[str, Any]", found)
    return {name: cast("dict[str, Any]", about) for name, about in each.items() if isinstance(about, dict)}


def _one(found: Sequence[str], customary: Sequence[str], folder: Path, what: str) -> str:
    """The only one, or the one that has the usual name."""
    chosen = found if len(found) == 1 else [name for name in customary if name in found]
    if not chosen:
        told = f"several: {', '.join(found)}" if found else "none"
        raise DataError(f"{folder} should have {what}; it has {told}. Rename or cast a column, and save it again.")
    return chosen[0]


def _files(folder: Path) -> Iterator[str]:
    listed: Any = _json(folder / _STATE).get("_data_files")
    try:
        names = [str(each["filename"]) for each in listed]
    except (TypeError, KeyError) as error:
        raise DataError(f"{folder / _STATE} names no files ({error}). Save the data set again.") from error
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing. Save the data set again.")
        yield str(folder / name)


def _column(files: Sequence[str], name: str) -> Any:
    """A column of all files, mapped."""
    pa = require_extra("pyarrow")
    chunks: list[Any] = []
    for file in files:
        try:
            table = pa.ipc.open_stream(pa.memory_map(file)).read_all()
            chunks += table.column(name).chunks
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DataError(f"{file} is damaged ({str(error).splitlines()[0]}). Save the data set again.") from error
    return pa.chunked_array(chunks)


def _source(value: Any) -> bytes | Path | None:
    """The bytes of a picture, or the file that it is in."""
    if value is None:
        return None
    inside, path = value.get("bytes"), value.get("path")
    if isinstance(inside, bytes):
        return inside
    return Path(path) if isinstance(path, str) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}). Save the data set again.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is no description of a data set. Save the data set again.")
    return cast("dict[str, Any]", found)
