"""Tensors in a file of their own, with a description and a digest over both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nestling.errors import CheckpointError
from nestling.files import replacing

_ENTRY = "nestling"  # the SHA-256 of all that follows and of the tensors, a space, the description


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able description into one safetensors file, with a digest over both.

    safetensors has no checksum of its own: one flipped bit in a weight would be read as a weight.
    """
    # A copy of each: safetensors refuses tied and channels-last tensors.
    plain = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in sorted(tensors.items())}
    text = json.dumps(about, sort_keys=True)
    # One entry: safetensors writes several in a random order, and equal models would be different files.
    with replacing(path) as temporary:
        save_file(plain, temporary, {_ENTRY: f"{digest(plain, text)} {text}"})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The inverse of `write_tensors`.

    Raises:
        CheckpointError: the file is missing, truncated, damaged, or not one that Nestling wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            entry = (file.metadata() or {}).get(_ENTRY, "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist. Give a folder that Nestling saved.") from None
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError, KeyError, MemoryError) as error:
        raise CheckpointError(f"{path} is damaged ({_short(error)}). Use another copy or an older one.") from error
    recorded, _, text = entry.partition(" ")
    if recorded != digest(tensors, text):
        raise CheckpointError(
            f"{path} is damaged (its content has not the recorded SHA-256). Use another copy or an older one."
        )
    return tensors, json.loads(text)


def digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """The SHA-256 of tensors on the CPU, with their names and shapes, and of a text."""
    found = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__
