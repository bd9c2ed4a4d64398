"""What lies where in a tar file of samples."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from nestling.errors import DataError

_LARGEST = 1 << 28  # bytes of one file of a sample: what lies about its size must not fill the memory


class Place(NamedTuple):
    """Where the bytes of a file begin, and how many they are."""

    start: int
    size: int


class TarIndex(NamedTuple):
    """The samples of a tar file, in its order.

    Attributes:
        samples: ending → place, of each.
        names: of the samples.
        broken: why reading ended early, or nothing.
    """

    samples: tuple[Mapping[str, Place], ...]
    names: tuple[str, ...]
    broken: str


def index_of(path: Path) -> TarIndex:
    """The samples of an uncompressed tar file: as many as can be read.

    Raises:
        DataError: there is no such file.
    """
    found: dict[str, dict[str, Place]] = {}
    broken = ""
    try:
        with path.open("rb") as file:
            whole = os.fstat(file.fileno()).st_size
            broken = _collect(file, whole, found)
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror or error}). Check the shards.") from error
    return TarIndex(tuple(found.values()), tuple(found), broken)


def _collect(file: BinaryIO, whole: int, found: dict[str, dict[str, Place]]) -> str:
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                name, dot, ending = _parts(member.name)
                if not member.isreg() or not dot:
                    continue
                if member.size > _LARGEST:
                    return f"{member.name} says it has {member.size:,} bytes"
                if member.offset_data + member.size > whole:
                    return f"it ends within {member.name}"
                found.setdefault(name, {})[ending.lower()] = Place(member.offset_data, member.size)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError) as error:
        return (str(error) or type(error).__name__).rstrip(".")
    return ""


def _parts(name: str) -> tuple[str, str, str]:
    """Folder and name up to the first dot, and the ending behind it, as WebDataset has them."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.partition(".")
    return f"{folder}{slash}{stem}", dot if stem else "", ending
