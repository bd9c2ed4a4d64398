"""The state of a run in one file, written whole or not at all; the last two are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nestling.errors import CheckpointError, InputError
from nestling.models.tensors import read_tensors, write_tensors
from nestling.training.config import TrainConfig
from nestling.training.processes import shared_like, whole

FORMAT = 1
KEPT = 2
_NAME = re.compile(r"checkpoint-(\d{9,})\.safetensors")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run after `step` steps.

    Attributes:
        step: steps done.
        config: the run's configuration.
        nesting: its dims, as text.
        data: what tells one data set from another: "samples", "labels".
        tensors: ``model/NAME`` and ``optimizer/PARAMETER/KEY``.
    """

    step: int
    config: TrainConfig
    nesting: str
    data: Mapping[str, int]
    tensors: Mapping[str, Tensor]

    def path(self, folder: Path) -> Path:
        """Its file in a folder."""
        return folder / f"checkpoint-{self.step:09d}.safetensors"

    def write(self, folder: Path) -> Path:
        """Write into the folder, then delete all but the last two."""
        path = self.path(folder)
        about = {
            "format": FORMAT,
            "step": self.step,
            "config": self.config.to_json(),
            "nesting": self.nesting,
            "data": dict(self.data),
        }
        write_tensors(path, self.tensors, about)
        for old in saved(folder)[:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read and verify one file.

        Raises:
            CheckpointError: damaged (the message names the older good one, if any), or of another version.
        """
        try:
            tensors, about = read_tensors(path)
        except CheckpointError as error:
            raise CheckpointError(f"{error}{_older(path)}") from error
        return cls(tensors=tensors, **_understood(path, about))

    def check(self, other: Checkpoint, path: Path | str) -> None:
        """Raise `CheckpointError` unless this one belongs to the run that is about to begin, `other`."""
        different = self.config.differences(other.config)
        if different:
            theirs = ", ".join(f"{n} {getattr(self.config, n)!r} (now {getattr(other.config, n)!r})" for n in different)
            raise CheckpointError(f"{path} was made with {theirs}. Give the same settings or another folder.")
        if self.nesting != other.nesting:
            raise CheckpointError(
                f"{path} was made with the nesting {self.nesting} (now {other.nesting}). "
                "Give the same nesting or another folder."
            )
        if dict(self.data) != dict(other.data):
            raise CheckpointError(
                f"{path} was made with other data ({dict(self.data)}, now {dict(other.data)}). "
                "Give the same data or another folder."
            )


def saved(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first; none when there is no folder."""
    found = [(int(match[1]), p) for p in folder.glob("checkpoint-*") if (match := _NAME.fullmatch(p.name))]
    return [path for _, path in sorted(found)]


def newest_good(folder: Path) -> tuple[Checkpoint | None, Path | None, list[tuple[Path, str]]]:
    """The newest checkpoint that can be read, its path, and those newer ones that cannot, with the reasons.

    Raises:
        CheckpointError: there are checkpoints, and none can be read; or the newest is of a newer format.
    """
    bad: list[tuple[Path, str]] = []
    for path in reversed(saved(folder)):
        try:
            tensors, about = read_tensors(path)
        except CheckpointError as error:
            bad.append((path, str(error)))
            continue
        return Checkpoint(tensors=tensors, **_understood(path, about)), path, bad
    if bad:
        raise CheckpointError(f"{bad[0][1]} There is no older good one: start again in a new folder.")
    return None, None, bad


def state_of(objective: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that the next step depends on, one after the other; to be called by all processes."""
    for name, tensor in objective.state_dict().items():
        yield f"model/{name}", whole(tensor)
    for name, parameter in objective.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                yield f"optimizer/{name}/{key}", whole(value)


@torch.no_grad()
def restore(checkpoint: Checkpoint, path: Path, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the saved tensors into the model and the optimizer.

    Raises:
        CheckpointError: the model has other tensors than the saved one; nothing is changed then.
    """
    own = objective.state_dict()
    theirs = {n.removeprefix("model/"): t for n, t in checkpoint.tensors.items() if n.startswith("model/")}
    for name in sorted(set(own) ^ set(theirs)):
        raise CheckpointError(f"{path} is of another model: {name} is in one only. Build the model that was saved.")
    for name, tensor in own.items():
        if tensor.shape != theirs[name].shape:
            raise CheckpointError(
                f"{path} is of another model: {name} has shape {tuple(theirs[name].shape)} there, "
                f"{tuple(tensor.shape)} here. Build the model that was saved."
            )
    for name, tensor in own.items():
        tensor.copy_(shared_like(theirs[name], tensor))
    parameters = dict(objective.named_parameters())
    for full, tensor in checkpoint.tensors.items():
        if full.startswith("optimizer/"):
            name, _, key = full.removeprefix("optimizer/").rpartition("/")
            optimizer.state[parameters[name]][key] = _like(parameters[name], tensor)


def _like(parameter: Tensor, saved_tensor: Tensor) -> Tensor:
    # The moments must lie in memory as their parameter does: the fused optimizers walk both as flat arrays.
    if saved_tensor.shape != parameter.shape:
        return saved_tensor.to(parameter.device)
    return torch.empty_like(parameter, dtype=saved_tensor.dtype).copy_(shared_like(saved_tensor, parameter))


@torch.no_grad()
def copy_state(source: nn.Module, target: nn.Module) -> None:
    """Give `target` the tensors of `source`, a module of the same parts of which each process may hold a share."""
    found = source.state_dict()
    for name, tensor in target.state_dict().items():
        tensor.copy_(whole(found[name]))


def _understood(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(about.get("format"), int) or about["format"] > FORMAT:
        raise CheckpointError(
            f"{path} is of format {about.get('format')}, not the {FORMAT} known here. Upgrade Nestling."
        )
    try:
        return {
            "step": int(about["step"]),
            "config": TrainConfig.from_json(about["config"]),
            "nesting": str(about["nesting"]),
            "data": dict(about["data"]),
        }
    except (KeyError, TypeError, InputError) as error:
        raise CheckpointError(f"{path} is of another version ({error}). Use the Nestling that wrote it.") from error


def _older(path: Path) -> str:
    files = saved(path.parent)
    for other in reversed(files[: files.index(path)] if path in files else []):
        try:
            read_tensors(other)
        except CheckpointError:
            continue
        return f" {other.name} is good: use that one."
    return ""
