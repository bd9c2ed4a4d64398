"""Which text encoder is trained, and the tokenizer that it reads by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nestling.data.tokens import Tokenizer
from nestling.errors import InputError
from nestling.models.encoders.text import BERTS, BertEncoder, minilm

PACKAGED = "minilm"
"""all-MiniLM-L6-v2, from its package."""
_DROPOUTS = {"distilbert": ("dropout", "attention_dropout")}
_BERTS_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


@dataclass(frozen=True, slots=True)
class TextEncoderChoice:
    """An encoder, with weights or without.

    Attributes:
        name: an architecture, for fresh weights.
        pretrained: "minilm", a folder that `transformers` saved or a name of the model hub; its architecture is taken.
        tokenizer: a folder with a ``tokenizer.json``; the pretrained folder's when None, for fresh weights the 30,522
            pieces of BERT's uncased English vocabulary, which come with "minilm".
        dropout: of fresh and of pretrained weights; the architecture's own when None.
    """

    name: str = "bert-base"
    pretrained: str | None = None
    tokenizer: str | None = None
    dropout: float | None = None

    def build(self, generator: torch.Generator) -> BertEncoder:
        """The encoder.

        Raises:
            InputError: no such architecture, model or dropout.
            CheckpointError, MissingExtraError: as of `BertEncoder.from_pretrained`.
        """
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError.of("dropout", "from 0 to below 1, or none", self.dropout)
        if self.pretrained is None:
            if self.name not in BERTS:
                raise InputError.of("encoder", f"one of {', '.join(BERTS)}", repr(self.name))
            return BertEncoder(self._dropping(BERTS[self.name], "bert"), generator=generator)
        found = BertEncoder.from_pretrained(self._folder() or self.pretrained)
        if self.dropout is None:
            return found
        architecture = self._dropping(found.config["architecture"], found.family)
        changed = BertEncoder(architecture, family=found.family, generator=generator)
        changed.load_state_dict(found.state_dict())
        return changed

    def reader(self, encoder: BertEncoder) -> Tokenizer:
        """The tokenizer.

        Raises:
            DataError: there is none.
            InputError: its ids are not the encoder's, or a model of the hub was given without one.
        """
        if self.tokenizer is None and self.pretrained is not None and self._folder() is None:
            raise InputError.of(
                "tokenizer", "a folder with a tokenizer.json", "none", f"{self.pretrained} is no folder."
            )
        found = Tokenizer.load(self.tokenizer or self._folder() or minilm())
        if found.size > encoder.words or found.padding != encoder.padding:
            got = f"{found.size:,} words and padding {found.padding}"
            raise InputError.of("tokenizer", f"of at most {encoder.words:,} words with padding {encoder.padding}", got)
        return found

    def _folder(self) -> Path | None:
        """The pretrained model's folder; None for fresh weights, and for a name of the hub."""
        if self.pretrained == PACKAGED:
            return minilm()
        if self.pretrained is not None and Path(self.pretrained).is_dir():
            return Path(self.pretrained)
        return None

    def _dropping(self, architecture: dict[str, Any], family: str) -> dict[str, Any]:
        if self.dropout is None:
            return architecture
        return architecture | dict.fromkeys(_DROPOUTS.get(family, _BERTS_DROPOUTS), self.dropout)
