"""The models whose vectors are adapted; none of them is trained here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8

from nestling.data.tokens import Tokenizer
from nestling.errors import require_extra
from nestling.models.encoders.text import BertEncoder, minilm
from nestling.models.encoders.vision import EfficientNetLite0
from nestling.models.tensors import digest
from nestling.studies.text_retrieval.settings import LITE0, MINILM, WORDLLAMA

_SIDE = 96  # pixels at which EfficientNet-Lite0 sees pictures


@runtime_checkable
class Encoder(Protocol):
    """Texts or pictures in, vectors out; the same for the same, in whatever company.

    Attributes:
        batch: how many at once.
        identity: tells one model from another.
    """

    batch: int
    identity: str

    def __call__(self, items: Any) -> Float32[np.ndarray, "b d"]:
        """Vectors of length one, but of WordLlama."""
        ...

    def cost(self, items: Any) -> Float32[np.ndarray, " n"]:
        """What is encoded together should cost alike: numbers to sort by."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2: the mean of the last layer, 384 numbers.

    Args:
        length: tokens that texts are cut to.

    Raises:
        MissingExtraError: its package is not installed.
    """

    batch = 64

    def __init__(self, length: int) -> None:
        self.encoder = BertEncoder.from_pretrained(minilm())
        self.tokenizer, self.length = Tokenizer.load(minilm()), length
        self.identity = f"{digest(self.encoder.state_dict(), self.tokenizer.text())} {length}"

    @torch.inference_mode()
    def __call__(self, items: Sequence[str]) -> Float32[np.ndarray, "b d"]:
        """(b, 384)."""
        ids = torch.from_numpy(self.tokenizer.read(items, self.length))
        return F.normalize(self.encoder(ids).float(), dim=1).numpy()

    def cost(self, items: Sequence[str]) -> Float32[np.ndarray, " n"]:
        """Letters, about as the tokens."""
        return np.array([len(each) for each in items], np.float32)


class WordLlama:
    """WordLlama (Miller 2024): the mean of static vectors of the pieces, 256 numbers, trained nested.

    Raises:
        MissingExtraError: `wordllama` is not installed.
    """

    batch = 1024

    def __init__(self) -> None:
        package = require_extra("wordllama")
        folder = Path(package.__file__ or "").parent
        self.model = package.WordLlama.load(cache_dir=folder, disable_download=True)
        weights = folder / "weights" / "l2_supercat_256.safetensors"
        self.identity = hashlib.sha256(weights.read_bytes()).hexdigest()

    def __call__(self, items: Sequence[str]) -> Float32[np.ndarray, "b d"]:
        """(b, 256), as the library gives them."""
        return np.asarray(self.model.embed(list(items)), np.float32)

    def cost(self, items: Sequence[str]) -> Float32[np.ndarray, " n"]:
        """Letters, about as the pieces."""
        return np.array([len(each) for each in items], np.float32)


class Lite0:
    """EfficientNet-Lite0 with ImageNet's weights: 1,280 pooled features of pictures drawn dark on white.

    Raises:
        MissingExtraError: its packages are not installed.
    """

    batch = 128

    def __init__(self) -> None:
        self.encoder = EfficientNetLite0.from_pretrained()
        self.identity = f"{digest(self.encoder.state_dict(), '')} {_SIDE}"

    @torch.inference_mode()
    def __call__(self, items: UInt8[np.ndarray, "b 1 s s"]) -> Float32[np.ndarray, "b d"]:
        """(b, 1280)."""
        light = 1 - torch.from_numpy(np.array(items)).float() / 255
        seen = F.interpolate(light, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False, antialias=True)
        return F.normalize(self.encoder(seen.expand(-1, 3, -1, -1)), dim=1).numpy()

    def cost(self, items: np.ndarray) -> Float32[np.ndarray, " n"]:
        """All the same."""
        return np.zeros(len(items), np.float32)


def encoder_of(model: str, length: int) -> Encoder:
    """The model of this name.

    Raises:
        MissingExtraError: a package is not installed.
    """
    if model == MINILM:
        return MiniLM(length)
    if model == WORDLLAMA:
        return WordLlama()
    assert model == LITE0
    return Lite0()
