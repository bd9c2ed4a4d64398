"""A model of texts by sentence-transformers, as a module that embeds queries and documents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from nestling.errors import DataError, InputError, require_extra
from nestling.models.encoders.architecture import quiet
from nestling.models.encoders.text import minilm
from nestling.studies.watch import Step

PACKAGED = "minilm"
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Prompts:
    """What is put before a text of each side."""

    query: str = ""
    document: str = ""


class PairEncoder(nn.Module):
    """Any model that sentence-transformers loads.

    Args:
        source: "minilm" for all-MiniLM-L6-v2 of its package, a folder of sentence-transformers or transformers, or a
            name of the model hub.
        longest: tokens that texts are cut to; the model's own when None.

    Raises:
        DataError: it cannot be read.
        InputError: no room for a token, or more than the model has.
        MissingExtraError: sentence-transformers is not installed.
    """

    def __init__(self, source: str, longest: int | None = None) -> None:
        super().__init__()
        library: Any = require_extra("sentence_transformers")
        place = str(minilm()) if source == PACKAGED else source
        if os.sep in place and not Path(place).is_dir() and place.startswith((".", os.sep)):
            raise DataError(f"{place} does not exist. Give a folder of a model, or a name of the hub.")
        try:
            with quiet():
                self.model: Any = library.SentenceTransformer(place, device="cpu")
        except (OSError, ValueError, KeyError) as error:
            line = (str(error).splitlines() or [type(error).__name__])[0][:160]
            raise DataError(f"{source} cannot be read as a model of texts ({line}).") from error
        own = self.model.max_seq_length
        if longest is not None:
            if longest < 2 or (own is not None and longest > own):
                raise InputError.of("--max-length", f"from 2 to the model's {own}", longest)
            self.model.max_seq_length = longest
        for name, parameter in self.model.named_parameters():
            if ".pooler." in name:  # what a mean of tokens does not ask gets no gradient, which DDP calls an error
                parameter.requires_grad_(False)

    @property
    def width(self) -> int:
        """Of the vectors."""
        ask = getattr(self.model, "get_embedding_dimension", None) or self.model.get_sentence_embedding_dimension
        return int(ask())

    def embed(self, texts: Sequence[str]) -> Tensor:
        """(b, d)."""
        read = getattr(self.model, "preprocess", None) or self.model.tokenize
        device = next(self.model.parameters()).device
        features = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in read(list(texts)).items()}
        return self.model(features)["sentence_embedding"]

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str], step: Step | None = None) -> Float32[np.ndarray, "n d"]:
        """Of many texts, those of like length together; the longest first, so that what is left is not underrated."""
        self.eval()
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        found = np.empty((len(texts), self.width), np.float32)
        for at in range(0, len(order), _AT_ONCE):
            rows = order[at : at + _AT_ONCE]
            found[rows] = self.embed([texts[i] for i in rows]).float().cpu().numpy()
            if step is not None:
                step(at + len(rows), len(order), "texts")
        return found

    def save(self, folder: Path) -> None:
        """As sentence-transformers and transformers load it."""
        self.model.save_pretrained(str(folder), create_model_card=False)
