"""The models of the study: what is missing is trained, what is there is read.

A model's folder is named by its system, its seed and a digest of all that decides its numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from nestling.models import DualEncoder, Encoder, ResidualEncoder, load, save
from nestling.models.store import identity
from nestling.nesting import Nesting
from nestling.studies.align_icons.pairs import Pairs
from nestling.studies.align_icons.settings import Settings
from nestling.studies.demo import report_training
from nestling.studies.images.encoders import COMPACT
from nestling.studies.reproduce.kept import about, complete, complete_once, read_array, write_arrays
from nestling.studies.reproduce.missing import make_missing
from nestling.studies.watch import Watch
from nestling.training import CaptionFeed, ContrastiveObjective, fit

_VERSION = 1  # of how models are made: what another way made is not read
_FREE = ("seed", "checkpoint_every", "log_every", "fsdp")
NAMES = ("pictures", "captions", "prompts")


class Training(NamedTuple):
    """A model to train: its prefixes, one for a plain model, and its seed."""

    nesting: Nesting
    seed: int

    @property
    def name(self) -> str:
        """Of its row."""
        return "MRL" if len(self.nesting) > 1 else "plain"


@dataclass(frozen=True, eq=False)
class Encoded:
    """What a model makes of the pictures, captions and prompts that are measured."""

    pictures: Float32[np.ndarray, "n d"]
    captions: Float32[np.ndarray, "g d"]
    prompts: Float32[np.ndarray, "c d"]


class Models:
    """Trains, encodes, keeps and reads.

    Args:
        folder: of all runs.
        pairs: what is trained on and measured; settings: of the study.
    """

    def __init__(self, folder: Path, pairs: Pairs, settings: Settings, watch: Watch) -> None:
        self.folder, self.pairs, self.settings, self.watch = folder, pairs, settings, watch
        self._begin = [pairs.digest, identity(self.fresh(Training(settings.nesting, 0)))]

    def trainings(self) -> list[Training]:
        """The nested and the plain model of each seed."""
        both = self.settings.nesting, Nesting((self.settings.nesting.width,))
        return [Training(nesting, seed) for seed in self.settings.seeds for nesting in both]

    def prepare(self) -> None:
        """Train what is missing, telling how many models and about how many minutes are left.

        Raises:
            CheckpointError, TrainingDivergedError: as of `encoded`.
        """
        missing: Sequence[Training] = [each for each in self.trainings() if not complete(self.place(each))]
        make_missing(missing, self.encoded, lambda each: f"{each.name}, seed {each.seed}", self.watch)

    def encoded(self, training: Training) -> Encoded:
        """By a model, trained now if it is not there.

        Raises:
            CheckpointError: what is there was written by another version, or is damaged.
            TrainingDivergedError: the loss became NaN or infinite.
        """
        folder = self.place(training)
        complete_once(folder, partial(self._make, training, folder), self.watch.say)
        about(folder)
        return Encoded(*(np.array(read_array(folder, name)) for name in NAMES))

    def model(self, training: Training) -> DualEncoder:
        """A trained model."""
        return load(self.place(training) / "model", DualEncoder)

    def fresh(self, training: Training) -> DualEncoder:
        """The first weights: the text tower's were trained, all others are drawn where nothing else is said."""
        settings = self.settings
        generator = torch.Generator().manual_seed(training.seed)
        image = self._pictures(generator)
        text = settings.choice.build(generator)
        text.tune(settings.tune)
        return DualEncoder(image, text, training.nesting, generator=generator)

    def _pictures(self, generator: torch.Generator) -> Encoder:
        """The picture tower."""
        settings, pixels = self.settings, self.pairs.pixels
        sample = self._seen(pixels[:: max(1, len(pixels) // 2000)]).astype(np.float32) / 255
        channels, size = sample.shape[1:3]
        if settings.image.name != COMPACT or settings.image.pretrained is not None:
            width = settings.nesting.width
            return settings.image.build(width, channels=channels, size=size, sample=sample, generator=generator)
        return ResidualEncoder(
            settings.stages[-1],
            channels=channels,
            size=size,
            stages=settings.stages,
            ending="pooled",
            mean=float(sample.mean()),
            std=max(float(sample.std()), 1e-3),
            generator=generator,
        )

    def _seen(self, pixels: UInt8[np.ndarray, "n ch s s"]) -> UInt8[np.ndarray, "n _ s s"]:
        """Grey as it is, or three times over, at no cost, for a tower that knows colours."""
        choice = self.settings.image
        trained = choice.name != COMPACT and choice.pretrained is not None
        if choice.name != "efficientnet-lite0" and not trained:
            return pixels
        return np.broadcast_to(pixels, (len(pixels), 3, *pixels.shape[2:]))

    def place(self, training: Training) -> Path:
        """Its folder."""
        train = {name: value for name, value in asdict(self.settings.train).items() if name not in _FREE}
        decides = {
            "version": _VERSION,
            "nesting": (training.nesting.dims, training.nesting.weights),
            "train": train,
            "tune": (self.settings.tune, self.settings.image.tune),
            "begin": self._begin,
            "seed": training.seed,
        }
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:10]
        return self.folder / f"{training.name.lower()}-{training.seed}-{digest}"

    def _make(self, training: Training, folder: Path) -> None:
        model, pairs = self.fresh(training), self.pairs
        fresh = () if self.settings.image.pretrained else (model.image,)
        objective = ContrastiveObjective(
            model, torch.from_numpy(pairs.ids), torch.from_numpy(pairs.groups), fresh=fresh
        )
        with self.watch.task(f"train {training.name}, seed {training.seed}") as step:
            fit(
                objective,
                CaptionFeed(self._seen(pairs.pixels), pairs.starts, pairs.rows),
                replace(self.settings.train, seed=training.seed),
                folder=folder / "run",
                resume=True,
                progress=partial(report_training, step),
            )
        model = model.cpu()
        save(model, folder / "model")
        asked = pairs.asked
        with self.watch.task(f"encode with {training.name}"):
            found = (
                model.encode_images(self._seen(asked.pixels)),
                model.encode_texts(asked.captions),
                model.encode_texts(asked.prompts),
            )
        write_arrays(folder, dict(zip(NAMES, found, strict=True)))
        for file in (folder / "run").glob("checkpoint-*"):  # the model is there
            file.unlink()
