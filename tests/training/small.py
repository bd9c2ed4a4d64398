"""A model, data and a configuration small enough to train in a second; shared with the child processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from nestling.models import Classifier, DualEncoder, Encoder, NestedLinear, ResidualEncoder
from nestling.nesting import Nesting
from nestling.training import (
    ArrayFeed,
    ClassificationObjective,
    ContrastiveObjective,
    Objective,
    TrainConfig,
    TrainResult,
    fit,
)

SIDE = 12
COUNT = 64


class PlainEncoder(Encoder):
    """No batch norm: its gradient is the same however a batch is shared. Dropout on demand."""

    name: ClassVar[str] = "test-plain"

    def __init__(self, width: int = 8, *, dropout: float = 0.0, generator: torch.Generator) -> None:
        super().__init__()
        self.width, self.config = width, {"width": width}
        self.first, self.last = nn.Linear(SIDE * SIDE, 16), nn.Linear(16, width)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.1, 0.1, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.dropout(torch.relu(self.first(images.flatten(1).float() / 255))))


def data(count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    """Pictures whose brightest quarter is their class."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, count)
    images = rng.integers(0, 120, (count, 1, SIDE, SIDE), dtype=np.uint8)
    half = SIDE // 2
    for image, label in zip(images, labels, strict=True):
        y, x = divmod(int(label), 2)
        image[0, y * half : (y + 1) * half, x * half : (x + 1) * half] += 120
    return images, labels.astype(np.int64)


def plain_objective(dropout: float = 0.0) -> ClassificationObjective:
    generator = torch.Generator().manual_seed(1)
    encoder = PlainEncoder(dropout=dropout, generator=generator)
    return ClassificationObjective(Classifier(encoder, NestedLinear(Nesting((2, 8)), 4, generator=generator)))


def residual_objective(seed: int = 1) -> ClassificationObjective:
    generator = torch.Generator().manual_seed(seed)
    encoder = ResidualEncoder(8, size=SIDE, stages=(4, 8), generator=generator)
    return ClassificationObjective(Classifier(encoder, NestedLinear(Nesting((2, 8)), 4, generator=generator)))


def config(**changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "epochs": 6,
        "batch_size": 16,
        "lr": 1e-2,
        "seed": 3,
        "checkpoint_every": 2,
        "log_every": 1,
        "crop_padding": 1,
        "flip": False,  # a mirrored picture would be one of another class
    }
    return TrainConfig(**{**settings, **changes})


def train(folder: str | Path | None, resume: bool = False, **changes: Any) -> TrainResult:
    """One run of the residual model; what the child processes call."""
    torch.set_num_threads(1)
    images, labels = data()
    return fit(residual_objective(), ArrayFeed(images, labels), config(**changes), folder=folder, resume=resume)


class WordEncoder(Encoder):
    """Tokens, embedded and averaged, through layers that may be shared out."""

    name: ClassVar[str] = "test-words"

    def __init__(self, width: int = 8, *, layers: int = 4, generator: torch.Generator) -> None:
        super().__init__()
        self.width, self.config = width, {"width": width}
        self.words = nn.Embedding(4, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.4, 0.4, generator=generator)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids).mean(dim=1)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return x


Kind = Callable[[], tuple[Objective, tuple[np.ndarray, np.ndarray], dict[str, Any]]]


def _classification(**changes: Any) -> tuple[Objective, tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    return plain_objective(), data(), changes


def _contrastive(**changes: Any) -> tuple[Objective, tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """Four captions for 64 pictures: most rows of a batch are false negatives of another process's rows."""
    generator = torch.Generator().manual_seed(1)
    pictures, words = PlainEncoder(generator=generator), WordEncoder(generator=generator)
    model = DualEncoder(pictures, words, Nesting((2, 8)), generator=generator)
    captions = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 0]])
    return ContrastiveObjective(model, captions), data(), changes


KINDS: dict[str, Kind] = {
    "classification": _classification,
    "contrastive": _contrastive,
    "contrastive-fsdp": lambda: _contrastive(fsdp=True),
    "accumulated": lambda: _classification(accumulate=4),
}
"""What several processes are tried on: an objective, its data, and changes of the configuration."""
