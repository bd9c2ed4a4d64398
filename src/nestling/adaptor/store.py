"""An adaptor in a folder: `adaptor.json`, and its arrays as safetensors beside it. No torch, never pickle.

A new folder takes its name when it is complete. In a folder that holds an adaptor the JSON, which names the arrays by
their content, is renamed into place last. So a kill at any moment leaves the old adaptor, the new one, or none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load as read_arrays
from safetensors.numpy import save as written_arrays

from nestling.adaptor.maps import Map, map_of, tensors_of
from nestling.errors import CheckpointError, InputError
from nestling.files import new_folder, sweep, write_file

FORMAT = 1
DESCRIPTION = "adaptor.json"


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """What is kept of an adaptor.

    Attributes:
        parameters: the estimator's, in JSON's types.
        nesting: the learnt prefixes.
        steps: done.
        maps: one or two.
    """

    parameters: dict[str, Any]
    nesting: str
    steps: int
    maps: tuple[Map, ...]


def save(folder: str | os.PathLike[str], saved: Saved, more: Mapping[str, str] | None = None) -> None:
    """Write an adaptor, and texts by file name beside it.

    Raises:
        InputError: the folder holds something else.
        DataError: it cannot be written.
    """
    path = check_free(folder)
    arrays = {f"{i}.{name}": a for i, found in enumerate(saved.maps) for name, a in tensors_of(found).items()}
    data = written_arrays(dict(sorted(arrays.items())))
    content = hashlib.sha256(data).hexdigest()
    about = {
        "format": FORMAT,
        "nesting": saved.nesting,
        "parameters": saved.parameters,
        "steps": saved.steps,
        "weights": f"weights-{content[:16]}.safetensors",
        "sha256": content,
    }
    files: dict[str, bytes | str] = {
        about["weights"]: data,
        **(more or {}),
        DESCRIPTION: json.dumps(about, indent=1) + "\n",
    }
    if (path / DESCRIPTION).exists():
        sweep(path)
        for name, content_of in files.items():
            write_file(path / name, content_of)
        for old in path.glob("weights-*.safetensors"):
            if old.name != about["weights"]:
                old.unlink()
        return
    with new_folder(path) as temporary:
        for name, content_of in files.items():
            write_file(temporary / name, content_of)


def check_free(folder: str | os.PathLike[str]) -> Path:
    """The path, if an adaptor can be saved there.

    Raises:
        InputError: it is a file, or a folder that holds something else.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise InputError.of("folder", "a folder", f"the file {path}", "Choose another name.")
    if path.is_dir() and any(path.iterdir()) and not (path / DESCRIPTION).exists():
        raise InputError.of("folder", "new, empty or an adaptor's", f"{path} with other files", "Choose another name.")
    return path


def load(folder: str | os.PathLike[str]) -> Saved:
    """Read what `save` wrote.

    Raises:
        CheckpointError: no adaptor there, a damaged one, or one of a newer format.
    """
    path = Path(folder) / DESCRIPTION
    about = _description(path)
    try:
        name = about["weights"]
        if not isinstance(name, str) or Path(name).name != name:
            raise damaged(folder, "it names no file beside it")
        data = (path.parent / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != about["sha256"]:
            raise damaged(folder, f"{name} has not the recorded SHA-256")
        arrays = read_arrays(data)
        maps = tuple(
            map_of({key.partition(".")[2]: a for key, a in arrays.items() if key.startswith(f"{i}.")})
            for i in range(len({key.partition(".")[0] for key in arrays}))
        )
        if not maps or len(maps) > 2 or len({len(found.matrix) for found in maps}) != 1:
            raise damaged(folder, "its arrays make no adaptor")
        return Saved(dict(about["parameters"]), str(about["nesting"]), int(about["steps"]), maps)
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
        raise damaged(folder, str(error).splitlines()[0][:160] if str(error) else type(error).__name__) from error


def damaged(folder: str | os.PathLike[str], why: str) -> CheckpointError:
    """The sentence of a folder that cannot be read."""
    return CheckpointError(f"{folder} holds no whole adaptor ({why}). Adapt again or use another copy.")


def _description(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist. Give a folder that `nestling adapt` made.") from None
    except (OSError, ValueError) as error:
        raise damaged(path.parent, f"{path.name} cannot be read") from error
    version = about.get("format") if isinstance(about, dict) else None
    if not isinstance(version, int) or version < 1:
        raise damaged(path.parent, f"{path.name} describes none")
    if version > FORMAT:
        raise CheckpointError(f"{path} is of format {version}, newer than the {FORMAT} known here. Upgrade Nestling.")
    return about
