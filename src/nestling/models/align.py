"""ALIGN whole: both towers of `transformers`' `AlignModel` in a `DualEncoder`, so that its prefixes can be trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nestling.errors import InputError
from nestling.models.dual import DualEncoder
from nestling.models.encoders.align import PROJECTION, AlignImageEncoder, AlignTextEncoder, pretrained_towers
from nestling.nesting import Nesting

_PARTS = {"vision_config", "text_config", "projection_dim", "temperature_init_value", "initializer_range"}


def align_model(
    source: Path | str | Mapping[str, Any], nesting: Nesting, *, generator: torch.Generator | None = None
) -> DualEncoder:
    """A dual encoder of ALIGN's towers.

    With a trained model and a nesting as wide as its space, the maps are the identity: at full width the vectors are
    those of `get_image_features` and `get_text_features`. Otherwise the maps are drawn.

    Args:
        source: a folder that `transformers` saved, a name of the model hub, or fields of an `AlignConfig` for fresh
            weights.
        nesting: the prefixes.
        generator: draws what is drawn; torch's own when left out.

    Raises:
        InputError: there is no model, or one of another kind; fields that are no `AlignConfig`.
        CheckpointError: weights that are damaged, incomplete, or only there as a pickle.
        MissingExtraError: `transformers` is not installed.
    """
    if isinstance(source, Mapping):
        return _fresh(source, nesting, generator)
    towers = pretrained_towers(source)
    temperature = max(towers.temperature, 0.01)  # theirs has no floor
    model = DualEncoder(towers.image, towers.text, nesting, generator=generator, temperature=temperature)
    if towers.image.width == towers.text.width == nesting.width:
        with torch.no_grad():
            for each in (model.image_map, model.text_map):
                nn.init.eye_(each.weight)
    return model


def _fresh(fields: Mapping[str, Any], nesting: Nesting, generator: torch.Generator | None) -> DualEncoder:
    if not set(fields) <= _PARTS:
        raise InputError.of("source", f"made of {', '.join(sorted(_PARTS))}", ", ".join(sorted(set(fields) - _PARTS)))
    image = AlignImageEncoder(fields.get("vision_config") or {}, generator=generator)
    text = AlignTextEncoder(
        fields.get("text_config"), projection=fields.get("projection_dim", PROJECTION), generator=generator
    )
    temperature = float(fields.get("temperature_init_value", 1.0))
    return DualEncoder(image, text, nesting, generator=generator, temperature=temperature)
