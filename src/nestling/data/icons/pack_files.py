"""A pack on the disk: ``pixels.npz``, then ``manifest.jsonl``, a line about the whole and one about each image."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import UInt8

from nestling.errors import ChecksumError, DataError
from nestling.files import write_file

_PIXELS, _MANIFEST = "pixels.npz", "manifest.jsonl"
PackT = TypeVar("PackT")


class Kept(NamedTuple):
    """What was read.

    Attributes:
        pixels: (n, s, s).
        head: about the whole.
        lines: n, about each image.
    """

    pixels: UInt8[np.ndarray, "n s s"]
    head: dict[str, Any]
    lines: list[dict[str, Any]]


def is_kept(folder: Path) -> bool:
    """Whether a pack was written there: the manifest comes last."""
    return (folder / _MANIFEST).exists()


def keep(
    folder: Path, pixels: UInt8[np.ndarray, "n s s"], head: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]
) -> None:
    """Write a pack; of its head ``sha256`` is filled in, and ``lines_sha256`` where it has one.

    Equal packs give equal bytes.

    Raises:
        DataError: the folder cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pixels=pixels)
    text = [json.dumps(line) for line in lines]
    sums = {"sha256": _sha256(buffer.getbuffer()), "lines_sha256": _sha256("\n".join(text).encode())}
    first = json.dumps({key: sums.get(key, value) for key, value in head.items()})
    write_file(folder / _PIXELS, buffer.getvalue())
    write_file(folder / _MANIFEST, "\n".join([first, *text]) + "\n")


def kept(folder: Path, read: Callable[[Kept], PackT]) -> PackT:
    """What `read` makes of the pack in a folder.

    Raises:
        ChecksumError: the pixels or the lines are not those that were written.
        DataError: a file is missing or is not what it should be.
    """
    again = f"Delete {folder} and build it again."
    try:
        found = _read(folder, again)
        made = read(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"{folder} holds no pack of icons: {error}. {again}") from error
    if found.pixels.ndim != 3 or len(found.pixels) != len(found.lines):
        raise DataError(f"{folder} holds {len(found.pixels)} images and the origins of {len(found.lines)}. {again}")
    return made


def _read(folder: Path, again: str) -> Kept:
    first, _, text = (folder / _MANIFEST).read_text("utf-8").partition("\n")
    head = json.loads(first)
    text, data = text.removesuffix("\n"), (folder / _PIXELS).read_bytes()
    if _sha256(data) != head["sha256"]:
        raise ChecksumError(f"{folder / _PIXELS} is damaged. {again}")
    if "lines_sha256" in head and _sha256(text.encode()) != head["lines_sha256"]:
        raise ChecksumError(f"{folder / _MANIFEST} is damaged. {again}")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        pixels = np.asarray(arrays["pixels"], np.uint8)
    return Kept(pixels, head, [json.loads(line) for line in text.splitlines()])


def _sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()
