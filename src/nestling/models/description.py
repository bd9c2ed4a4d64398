"""What a model is, as JSON, and the model of such a description: one pair of functions for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from nestling.errors import CheckpointError
from nestling.models.classifier import Classifier
from nestling.models.dual import DualEncoder
from nestling.models.encoders import Encoder, build
from nestling.models.encoders.text import BertEncoder
from nestling.models.heads import NestedLinear
from nestling.models.masked import MaskedLanguageModel
from nestling.nesting import Nesting

Model = Classifier | DualEncoder | MaskedLanguageModel


def described(model: Model) -> dict[str, Any]:
    """All that decides what the weights mean."""
    if isinstance(model, Classifier):
        head = model.head
        nested = _nested(head.nesting) | {"tied": head.tied, "bias": len(head.biases) > 0}
        return {**_encoder(model.encoder), **nested, "classes": list(model.classes)}
    if isinstance(model, DualEncoder):
        towers = {"image": _encoder(model.image), "text": _encoder(model.text)}
        return {"kind": "dual", **towers, **_nested(model.nesting)}
    return {"kind": "masked", **_encoder(model.encoder), **_nested(model.nesting)}


def rebuilt(about: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path) -> Model:
    """A model of this description, its weights not yet read.

    Raises:
        CheckpointError: the description does not fit the weights.
    """
    nesting = Nesting(tuple(about["nesting"]), tuple(about["weights_c_m"]))
    kind = about.get("kind", "classifier")
    if kind == "classifier":
        classes: list[str] = about["classes"]
        # Before anything is built: a width of 10¹² in the JSON must not ask the machine for that much memory.
        for i, m in enumerate((nesting.width,) if about["tied"] else nesting.dims):
            _check(tensors, f"head.weights.{i}", (len(classes), m), path)
        head = NestedLinear(nesting, len(classes), tied=about["tied"], bias=about["bias"])
        return Classifier(_built(about), head, classes=classes)
    if kind == "dual":
        for name in ("image_map.weight", "text_map.weight"):
            _check(tensors, name, (nesting.width, None), path)
        return DualEncoder(_built(about["image"]), _built(about["text"]), nesting)
    if kind == "masked":
        return MaskedLanguageModel(cast(BertEncoder, _built(about)), nesting)
    raise CheckpointError(f"{path} describes a model of the kind {kind!r}, which is not known here. Upgrade Nestling.")


def _encoder(encoder: Encoder) -> dict[str, Any]:
    return {"encoder": encoder.name, "config": encoder.config}


def _built(about: Mapping[str, Any]) -> Encoder:
    return build(about["encoder"], about["config"])


def _nested(nesting: Nesting) -> dict[str, Any]:
    return {"nesting": list(nesting.dims), "weights_c_m": list(nesting.weights)}


def _check(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, int | None], path: Path) -> None:
    found = tuple(tensors[name].shape) if name in tensors else ()
    if len(found) != 2 or found[0] != shape[0] or shape[1] not in (None, found[1]):
        wanted = " × ".join("any" if side is None else str(side) for side in shape)
        raise CheckpointError(f"{path} does not fit its weights: {name} is not {wanted}. Save the model again.")
