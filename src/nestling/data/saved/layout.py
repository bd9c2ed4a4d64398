"""What lies in a folder of ``save_to_disk``: one data set, or several with names (``train``, ``validation``, ``test``).

Nothing of a folder leads out of it but the paths of pictures, which `datasets` writes where it was told to.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from nestling.errors import DataError, require_extra

_STATE, _INFO, _PARTS = "state.json", "dataset_info.json", "dataset_dict.json"
_VALIDATION = ("validation", "val", "valid", "test")


def is_saved(source: str | Path) -> bool:
    """Is it a folder of ``save_to_disk``, of one data set or of several?"""
    return any((Path(source) / name).is_file() for name in (_STATE, _PARTS))


@dataclass(frozen=True, slots=True)
class SavedSet:
    """One data set: its folder and its Arrow files, in their order."""

    folder: Path
    files: tuple[Path, ...]

    @classmethod
    def open(cls, folder: Path) -> SavedSet:
        """Which files it has.

        Raises:
            DataError: it names none, lacks one, or keeps its rows in another order than theirs.
        """
        state = _json(folder / _STATE)
        if state.get("_indices_files"):
            raise DataError(f"{folder} keeps its rows in another order. Save it again with a newer `datasets`.")
        try:
            names = [str(each["filename"]) for each in cast("Any", state.get("_data_files"))]
        except (TypeError, KeyError) as error:
            raise DataError(f"{folder / _STATE} names no files ({error}). Save the data set again.") from error
        if not names or any(Path(name).name != name for name in names):
            raise DataError(f"{folder / _STATE} names no files of its own. Save the data set again.")
        for name in names:
            if not (folder / name).is_file():
                raise DataError(f"{folder / name} is missing. Copy or save the data set again.")
        return cls(folder, tuple(folder / name for name in names))

    def features(self) -> Mapping[str, dict[str, Any]]:
        """Of the columns that are one value a row.

        Raises:
            DataError: it tells none.
        """
        found: Any = _json(self.folder / _INFO).get("features")
        if not isinstance(found, dict):
            raise DataError(f"{self.folder / _INFO} tells no features. Save the data set again.")
        each = cast("dict[str, Any]", found)
        return {name: cast("dict[str, Any]", about) for name, about in each.items() if isinstance(about, dict)}

    def named(self, found: Sequence[str], customary: Sequence[str], what: str) -> str:
        """Of these columns the only one, or the one that has the usual name.

        Raises:
            DataError: there is none, or several of no usual name.
        """
        chosen = found if len(found) == 1 else [name for name in customary if name in found]
        if not chosen:
            told = f"several: {', '.join(found)}" if found else "none"
            hint = "Rename or cast a column, and save it again."
            raise DataError(f"{self.folder} should have {what}; it has {told}. {hint}")
        return chosen[0]

    def column(self, name: str) -> Any:
        """A column of all files, mapped.

        Raises:
            DataError: a damaged file.
        """
        pa = require_extra("pyarrow")
        chunks: list[Any] = []
        for file in self.files:
            try:
                table = pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
                chunks += table.column(name).chunks
            except (pa.ArrowException, OSError, KeyError) as error:
                raise DataError(
                    f"{file} is damaged ({str(error).splitlines()[0]}). Save the data set again."
                ) from error
        return pa.chunked_array(chunks)

    def digest(self) -> int:
        """What tells its files from others': their names and sizes."""
        return zlib.crc32(repr([(file.name, file.stat().st_size) for file in self.files]).encode())


def sets(root: Path) -> Mapping[str, SavedSet]:
    """The data sets of a folder by their names; a single one is called ``train``.

    Raises:
        DataError: none are named, or as of `SavedSet.open`.
    """
    if (root / _STATE).is_file():
        return {"train": SavedSet.open(root)}
    found: Any = _json(root / _PARTS).get("splits")
    listed = cast("list[object]", found) if isinstance(found, list) else []
    names = [name for name in listed if isinstance(name, str) and Path(name).name == name]  # and lead nowhere else
    if not names:
        raise DataError(f"{root / _PARTS} names no parts. Save the data set again.")
    return {name: SavedSet.open(root / name) for name in names}


def training_and_validation(root: Path) -> tuple[SavedSet, SavedSet | None]:
    """What is trained on, and what is named so that it is measured on; errors as of `sets`."""
    found = sets(root)
    first = "train" if "train" in found else next(iter(found))
    beside: Iterator[SavedSet] = (found[name] for name in _VALIDATION if name in found and name != first)
    return found[first], next(beside, None)


def picture_of(value: Any) -> bytes | Path | None:
    """What a cell of pictures holds: bytes, or the file that it is in."""
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
