"""A model, data and a configuration small enough to train in a second; shared with the child processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from nestling.data.decoding import View
from nestling.data.picture_files import picture_files
from nestling.data.shards import open_shards, write_shards
from nestling.models import Classifier, DualEncoder, Encoder, NestedLinear, ResidualEncoder
from nestling.nesting import Nesting
from nestling.training import (
    ArrayFeed,
    CaptionFeed,
    CaptionObjective,
    ClassificationObjective,
    ContrastiveObjective,
    Feed,
    MaskedLanguageObjective,
    Masking,
    Objective,
    TokenFeed,
    TrainConfig,
    TrainResult,
    WorkerFeed,
    fit,
)
from nestling.training.pairs import PairFeed
from nestling.training.pairs import PairObjective as TextPairObjective
from tests.models.test_masked import MASK, SPECIAL, masked_model, masked_texts

SIDE = 12
COUNT = 64


class PlainEncoder(Encoder):
    """No batch norm: its gradient is the same into how many parts a batch is cut. Dropout on demand."""

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


Found = tuple[Objective, Feed, dict[str, Any]]


def _classification(folder: Path, **changes: Any) -> Found:
    return plain_objective(), ArrayFeed(*data()), changes


def _contrastive(folder: Path, **changes: Any) -> Found:
    """Four captions for 64 pictures: most rows of a batch are false negatives of another process's rows."""
    generator = torch.Generator().manual_seed(1)
    pictures, words = PlainEncoder(generator=generator), WordEncoder(generator=generator)
    model = DualEncoder(pictures, words, Nesting((2, 8)), generator=generator)
    captions = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 0]])
    return ContrastiveObjective(model, captions), ArrayFeed(*data()), changes


def _pairs(folder: Path, **changes: Any) -> Found:
    """The same captions as ids: that two are equal is seen without the other process's rows."""
    objective, feed, _ = _contrastive(folder)
    assert isinstance(objective, ContrastiveObjective)
    assert isinstance(feed, ArrayFeed)
    return CaptionObjective(objective.model), ArrayFeed(feed.inputs, objective.captions.numpy()[feed.targets]), changes


def _several(folder: Path, **changes: Any) -> Found:
    """Of each picture one caption of two, drawn for every pass."""
    objective, _, _ = _contrastive(folder)
    images, labels = data()
    rows = np.stack([labels, (labels + 1) % 4], axis=1).ravel()
    return objective, CaptionFeed(images, 2 * np.arange(len(images) + 1), rows), changes


def _shards(folder: Path, **changes: Any) -> Found:
    """Pictures in files, in 13 shards: one is missing, one ends early."""
    if not (folder / "shards").exists():
        images, labels = data()
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            (folder / "tree" / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(folder / "tree" / str(label) / f"{i:02d}.png")
        files = picture_files(folder / "tree", VIEW, val_fraction=0).train
        write_shards(files.paths, files.labels.tolist(), folder / "shards", classes=files.classes, most=5)
        path = folder / "shards" / "000003.tar"
        path.write_bytes(path.read_bytes()[:3000])
    return plain_objective(), WorkerFeed(open_shards(str(folder / "shards"), VIEW), workers=2), changes


def _masked(folder: Path, **changes: Any) -> Found:
    """Texts of different lengths, of which each process hides another number of words."""
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = masked_model(Nesting((3, 6, 12)), num_hidden_layers=4, **quiet)
    rows = masked_texts(64).numpy()
    return MaskedLanguageObjective(model, Masking(MASK, SPECIAL, 50, share=0.3)), TokenFeed(rows), changes


class Letters(nn.Module):
    """A vector of each text, by its letters and their places."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(26, 8)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.4, 0.4, generator=torch.Generator().manual_seed(1))

    def embed(self, texts: Sequence[str]) -> Tensor:
        found = torch.zeros(len(texts), 26)
        for row, text in enumerate(texts):
            for place, letter in enumerate(text):
                found[row, ord(letter) - ord("a")] += 1 / (1 + place)
        return torch.tanh(self.map(found))


def _text_pairs(folder: Path, **changes: Any) -> Found:
    """Few texts in many pairs: most are joined by pairs that the other process has."""
    rng = np.random.default_rng(4)
    texts = ["".join(chr(97 + int(i)) for i in rng.integers(0, 26, 5)) for _ in range(60)]
    queries, documents = rng.integers(0, 30, 64), rng.integers(30, 50, 64)
    targets = np.stack([documents, rng.integers(50, 60, 64)], axis=1)  # negatives that answer nothing
    objective = TextPairObjective(Letters(), texts, Nesting((2, 8)), temperature=0.3, chunk=6)
    return objective, PairFeed(queries, targets, texts), changes


VIEW = View(side=SIDE, channels=1, crop=0.5)
KINDS: dict[str, Callable[[Path], Found]] = {
    "classification": _classification,
    "contrastive": _contrastive,
    "pairs": _pairs,
    "several-captions": _several,
    "contrastive-fsdp": lambda folder: _contrastive(folder, fsdp=True),
    "batch-norm": lambda folder: (residual_objective(), ArrayFeed(*data()), {}),
    "accumulated": lambda folder: _classification(folder, accumulate=4),
    "shards": _shards,
    "masked": _masked,
    "masked-fsdp": lambda folder: _masked(folder, fsdp=True),
    "text-pairs": _text_pairs,
}
"""What several processes are tried on: an objective, its data, and changes of the configuration."""
