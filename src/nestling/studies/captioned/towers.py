"""Which towers are trained, and the tokenizer that the text tower reads by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nestling.data.tokens import Tokenizer
from nestling.errors import InputError
from nestling.models import DualEncoder, align_model
from nestling.models.encoders.text import minilm
from nestling.nesting import Nesting
from nestling.studies.images import EncoderChoice
from nestling.studies.texts import TextEncoderChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerChoice:
    """A picture tower and a text tower, or a whole ALIGN.

    Attributes:
        image, text: the towers.
        align: a folder that `transformers` saved an `AlignModel` in, or a name of the model hub; both towers are
            its, and of `text` only the tokenizer is read.
    """

    image: EncoderChoice
    text: TextEncoderChoice
    align: str | None = None

    def reader(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            DataError: there is none.
            InputError: a model of the hub was given without one.
        """
        if self.align is None:
            return self.text.reader(self.text.build(torch.Generator().manual_seed(0)))
        beside = Path(self.align) / "tokenizer.json"
        return Tokenizer.load(self.text.tokenizer or (self.align if beside.is_file() else minilm()))

    def build(
        self, nesting: Nesting, *, channels: int, size: int, sample: np.ndarray, generator: torch.Generator
    ) -> DualEncoder:
        """The model; arguments as of `EncoderChoice.build`.

        Raises:
            InputError, CheckpointError, MissingExtraError: as of the towers.
        """
        if self.align is None:
            width = nesting.width
            image = self.image.build(width, channels=channels, size=size, sample=sample, generator=generator)
            return DualEncoder(image, self.text.build(generator), nesting, generator=generator)
        if channels != 3:
            raise InputError.of("channels", "3 for ALIGN", channels)
        return align_model(self.align, nesting, generator=generator)
