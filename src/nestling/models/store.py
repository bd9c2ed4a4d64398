"""A model in a folder: `model.json`, which says how to build it, and the weights beside it.

The JSON names the weights file by its content, and is renamed into place last: a kill at any moment leaves
the old model or the new one. The weights file repeats the description, so that an edited JSON is noticed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from nestling.errors import CheckpointError, InputError
from nestling.files import sweep, sync_folder, write_file
from nestling.models.classifier import Classifier
from nestling.models.description import Model, described, rebuilt
from nestling.models.dual import DualEncoder
from nestling.models.masked import MaskedLanguageModel
from nestling.models.tensors import digest, read_tensors, write_tensors

ModelT = TypeVar("ModelT", Classifier, DualEncoder, MaskedLanguageModel)
FORMAT = 1
DESCRIPTION = "model.json"


def save(model: Model, folder: Path | str) -> None:
    """Write a model into a folder, made if need be; a model already there is replaced.

    Raises:
        InputError: the folder's name is taken by a file.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError.of("folder", "a folder", f"the file {folder}", "Choose another name.")
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    about = {"format": FORMAT, **described(model)}
    temporary_name = folder / "weights.new.safetensors"
    write_tensors(temporary_name, dict(model.state_dict()), about)
    content = hashlib.sha256(temporary_name.read_bytes()).hexdigest()
    weights = temporary_name.replace(folder / f"weights-{content[:16]}.safetensors")
    sync_folder(folder)  # the name must be on the disk before the JSON that points to it
    text = json.dumps({**about, "weights": weights.name}, indent=1) + "\n"
    write_file(folder / DESCRIPTION, text)
    for old in folder.glob("weights-*.safetensors"):
        if old != weights:
            old.unlink()


def load(folder: Path | str, kind: type[ModelT] = Classifier) -> ModelT:
    """Read what `save` wrote, in evaluation mode, on the CPU.

    Args:
        kind: the class that is wanted.

    Raises:
        CheckpointError: one of another kind, or as of `load_any`.
    """
    found = load_any(folder)
    if not isinstance(found, kind):
        name = Path(folder) / DESCRIPTION
        raise CheckpointError(f"{name} holds a {type(found).__name__}, not a {kind.__name__}. Give another folder.")
    return found


def load_any(folder: Path | str) -> Model:
    """Read what `save` wrote, of whatever kind.

    Raises:
        CheckpointError: no model there, a damaged file, a description that does not fit its weights, or a newer format.
    """
    path = Path(folder) / DESCRIPTION
    about = _read_description(path)
    try:
        weights = about.pop("weights")
        if not isinstance(weights, str) or Path(weights).name != weights:
            raise CheckpointError(f"{path} names no weights file beside it. Save the model again.")
        tensors, recorded = read_tensors(Path(folder) / weights)
        if recorded != about:
            raise CheckpointError(f"{path} does not describe {weights}. Restore the JSON that was saved with it.")
        return _built(about, tensors, path)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, MemoryError) as error:
        raise CheckpointError(f"{path} describes no model ({_short(error)}). Save the model again.") from error


def identity(model: Model) -> str:
    """The SHA-256 of a model's weights and description: what else belongs to it names it by this."""
    tensors = {name: t.detach().cpu() for name, t in model.state_dict().items()}
    return digest(tensors, json.dumps({"format": FORMAT, **described(model)}, sort_keys=True))


def _read_description(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist. Give a folder that holds a saved model.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({_short(error)}). Save the model again.") from error
    version = about.get("format") if isinstance(about, dict) else None
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{path} is no description of a model. Save the model again.")
    if version > FORMAT:
        raise CheckpointError(f"{path} is of format {version}, newer than the {FORMAT} known here. Upgrade Nestling.")
    return about


def _built(about: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> Model:
    model = rebuilt(about, tensors, path)
    own = model.state_dict()
    for name in sorted(set(own) ^ set(tensors)):
        raise CheckpointError(f"{path} does not fit its weights: {name} is in one only. Save the model again.")
    _check_shapes(own, tensors, path)
    model.load_state_dict(tensors)
    return model.eval()


def _check_shapes(own: dict[str, Tensor], tensors: dict[str, Tensor], path: Path) -> None:
    for name, tensor in own.items():
        wanted, got = tuple(tensor.shape), tuple(tensors[name].shape)
        if wanted != got:
            raise CheckpointError(
                f"{path} does not fit its weights: {name} has shape {got}, not {wanted}. Save the model again."
            )


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:160] or type(error).__name__
