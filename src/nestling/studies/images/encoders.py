"""Which encoder a run trains: by name, with fresh weights or those of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nestling.errors import InputError
from nestling.models import Encoder, ResidualEncoder, load
from nestling.models.encoders import encoder_class

COMPACT = "compact"
KNOWN = {
    "resnet-18": "resnet",
    "resnet-50": "resnet",
    "vit-b16": "vit",
    "vit-s16": "vit",
    "efficientnet-lite0": "efficientnet-lite0",
    "efficientnet-b0": "align-image",
    "efficientnet-b3": "align-image",
    "efficientnet-b7": "align-image",
}
"""What people call an architecture → the encoder that has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderChoice:
    """What is trained, and how much of it.

    Attributes:
        name: "compact", for pictures of up to 64 pixels, or one of `KNOWN`.
        pretrained: a folder that `transformers` saved, a model of ours, a name of the model hub, or "package" for the
            weights that come with a package.
        tune: as of `Encoder.tune`.

    Raises:
        InputError: no such encoder.
    """

    name: str = COMPACT
    pretrained: str | None = None
    tune: str = "all"

    def __post_init__(self) -> None:
        if self.name != COMPACT and self.name not in KNOWN:
            raise InputError.of("encoder", f"one of {', '.join((COMPACT, *KNOWN))}", repr(self.name))
        if self.tune != "all" and self.pretrained is None:
            raise InputError.of("tune", "all for an encoder with fresh weights", repr(self.tune), "Give --pretrained.")

    def build(self, width: int, *, channels: int, size: int, sample: np.ndarray, generator: torch.Generator) -> Encoder:
        """The encoder.

        Args:
            width: of the nesting; the compact encoder has it, others have at least it.
            sample: pictures (s, c, side, side) of 0 … 1, by whose mean and spread fresh encoders are normalised.

        Raises:
            InputError, CheckpointError, MissingExtraError: as of the encoder's builder and `from_pretrained`.
        """
        encoder = self._fresh(width, channels, size, sample, generator) if self.pretrained is None else self._loaded()
        if encoder.width < width:
            raise InputError.of("dims", f"at most the {encoder.width} features of {self.name}", width)
        encoder.tune(self.tune)
        return encoder

    def _fresh(self, width: int, channels: int, size: int, sample: np.ndarray, generator: torch.Generator) -> Encoder:
        if self.name == COMPACT:
            mean, std = float(sample.mean()), max(float(sample.std()), 1e-3)
            return ResidualEncoder(width, channels=channels, size=size, mean=mean, std=std, generator=generator)
        axes = (0, 2, 3)
        arguments: dict[str, Any] = {"mean": sample.mean(axis=axes).tolist()}
        arguments["std"] = np.maximum(sample.std(axis=axes), 1e-3).tolist()
        if KNOWN[self.name] != "efficientnet-lite0":
            arguments["architecture"] = self._architecture(channels, size)
        elif channels != 3:
            raise InputError.of("channels", "3 for efficientnet-lite0", channels)
        return encoder_class(KNOWN[self.name])(**arguments, generator=generator)

    def _architecture(self, channels: int, size: int) -> dict[str, Any]:
        from nestling.models.encoders.align import EFFICIENTNETS
        from nestling.models.encoders.vision import RESNETS, VITS

        if self.name in EFFICIENTNETS:
            return {**EFFICIENTNETS[self.name], "num_channels": channels}
        if self.name in RESNETS:
            return {**RESNETS[self.name], "num_channels": channels}
        # Patches of 16 pixels are a quarter of a small picture: then 8 × 8 smaller ones.
        patch = 16 if size >= 128 else max(2, round(size / 8))
        return {**VITS[self.name], "num_channels": channels, "image_size": size, "patch_size": patch}

    def _loaded(self) -> Encoder:
        assert self.pretrained is not None
        if (Path(self.pretrained) / "model.json").is_file():
            return load(self.pretrained).encoder
        if (Path(self.pretrained) / "model" / "model.json").is_file():
            return load(Path(self.pretrained) / "model").encoder
        if self.name == COMPACT:
            raise InputError.of("pretrained", "a run or a saved model of ours for the compact encoder", self.pretrained)
        source = None if self.pretrained == "package" else self.pretrained
        if source is None and KNOWN[self.name] != "efficientnet-lite0":
            raise InputError.of("pretrained", f"a folder or a name for {self.name}", "package")
        return encoder_class(KNOWN[self.name]).from_pretrained(source)
