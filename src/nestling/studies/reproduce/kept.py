"""What a reproduction keeps in a folder for each model: arrays, and a last file that says it is complete."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nestling.errors import CheckpointError
from nestling.files import write_file
from nestling.training.lock import waiting

FORMAT = 1
_DONE = "features.json"


def complete(folder: Path) -> bool:
    """Whether all that a model leaves is there."""
    return (folder / _DONE).exists()


def complete_once(folder: Path, make: Callable[[], object], told: Callable[[str], object]) -> None:
    """Make what a folder lacks, unless another process is at it: then wait, and find it there.

    Args:
        make: fills the folder, by `write_arrays` at last; told: hears for whom it waits.
    """
    if complete(folder):
        return
    with waiting(folder, told):
        if not complete(folder):
            make()


def about(folder: Path) -> dict[str, Any]:
    """What was written beside the arrays.

    Raises:
        CheckpointError: it is of another version, or damaged.
    """
    try:
        found = json.loads((folder / _DONE).read_text())
        version = int(found["format"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / _DONE} is damaged ({error}). Delete {folder}.") from error
    if version != FORMAT:
        raise CheckpointError(f"{folder} was written by another version (format {version}, not {FORMAT}). Delete it.")
    return found


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray], **more: object) -> None:
    """Write the arrays, and last the file that makes the folder complete."""
    for name, array in arrays.items():
        write_array(folder / f"{name}.npy", array)
    write_file(folder / _DONE, json.dumps({"format": FORMAT, **more}) + "\n")


def write_array(path: Path, array: np.ndarray) -> None:
    """One array, atomically."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    write_file(path, buffer.getvalue())


def read_array(folder: Path, name: str) -> np.ndarray:
    """Mapped, not read.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / name}.npy is damaged ({error}). Delete {folder}.") from error
