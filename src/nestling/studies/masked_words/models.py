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
from jaxtyping import Bool, Int64

from nestling.models import MaskedLanguageModel, load, save
from nestling.models.store import identity
from nestling.nesting import Nesting
from nestling.studies.masked_words.settings import Settings
from nestling.studies.masked_words.words import Words
from nestling.studies.reproduce.kept import about, complete, complete_once, read_array, write_arrays
from nestling.studies.reproduce.missing import make_missing
from nestling.studies.texts import report_rows, told_right
from nestling.studies.watch import Watch
from nestling.training import MaskedLanguageObjective, TokenFeed, fit

_VERSION = 2  # of how models are made and measured: what another way made is not read
_FREE = ("seed", "checkpoint_every", "log_every", "fsdp")


class Training(NamedTuple):
    """A model to train: its prefixes, one for a plain model, and its seed."""

    nesting: Nesting
    seed: int


@dataclass(frozen=True, eq=False)
class Answers:
    """Which hidden words of the test a model tells.

    Attributes:
        right: (K, h) by each prefix of the study; a plain model is cut to them.
        rows: (h,) in which row each hidden word stands.
        words: (h,) the true ones.
    """

    right: Bool[np.ndarray, "K h"]
    rows: Int64[np.ndarray, " h"]
    words: Int64[np.ndarray, " h"]


class Models:
    """Trains, measures, keeps and reads.

    Args:
        folder: of all runs.
        words: what is read; settings: of the study.
    """

    def __init__(self, folder: Path, words: Words, settings: Settings, watch: Watch) -> None:
        self.folder, self.words, self.settings, self.watch = folder, words, settings, watch
        self._data = [*words.fingerprint(), identity(self._fresh(Training(settings.nesting, 0)))]

    def trainings(self) -> list[Training]:
        """The nested model and one for each width, for each seed; the widest first."""
        each = [self.settings.nesting, *(Nesting((m,)) for m in sorted(self.settings.nesting, reverse=True))]
        return [Training(nesting, seed) for seed in self.settings.seeds for nesting in each]

    def prepare(self) -> None:
        """Train what is missing, telling how many models and about how many minutes are left.

        Raises:
            CheckpointError, TrainingDivergedError: as of `answers`.
        """
        missing: Sequence[Training] = [each for each in self.trainings() if not complete(self._place(each))]
        make_missing(missing, self.answers, lambda each: f"{_name(each)}, seed {each.seed}", self.watch)

    def answers(self, training: Training) -> Answers:
        """Of a model, trained now if it is not there.

        Raises:
            CheckpointError: what is there was written by another version, or is damaged.
            TrainingDivergedError: the loss became NaN or infinite.
        """
        folder = self._place(training)
        complete_once(folder, partial(self._make, training, folder), self.watch.say)
        return self._read(folder)

    def before(self) -> Answers:
        """Of the model that all trainings of the first seed begin with."""
        training = Training(self.settings.nesting, self.settings.seeds[0])
        folder = self.folder / f"before-{self._digest(training, trained=False)}"
        complete_once(folder, lambda: self._measure(self._fresh(training), folder, "before training"), self.watch.say)
        return self._read(folder)

    def model(self, training: Training) -> MaskedLanguageModel:
        """A trained model."""
        return load(self._place(training) / "model", MaskedLanguageModel)

    def _fresh(self, training: Training) -> MaskedLanguageModel:
        """With a new transform; the bias says how often a piece occurs, which would take long to learn."""
        generator = torch.Generator().manual_seed(training.seed)
        encoder = self.settings.encoder.build(generator)
        model = MaskedLanguageModel(encoder, training.nesting, generator=generator)
        with torch.no_grad():
            known = self.words.frequencies()
            model.bias[: len(known)] = torch.from_numpy(known)
        return model

    def _make(self, training: Training, folder: Path) -> None:
        model = self._train(training, folder)
        save(model, folder / "model")
        self.words.tokenizer.save(folder / "model")
        self._measure(model, folder, _name(training))
        for file in (folder / "run").glob("checkpoint-*"):  # 270 MB each, and the model is there
            file.unlink()

    def _train(self, training: Training, folder: Path) -> MaskedLanguageModel:
        model = self._fresh(training)
        with self.watch.task(f"train {_name(training)}, seed {training.seed}") as step:
            fit(
                MaskedLanguageObjective(model, self.words.masking),
                TokenFeed(self.words.train),
                replace(self.settings.train, seed=training.seed),
                folder=folder / "run",
                resume=True,
                progress=partial(report_rows, step),
            )
        return model.cpu()

    def _measure(self, model: MaskedLanguageModel, folder: Path, name: str) -> None:
        """By all prefixes of the study, whichever the model was trained for."""
        cut = MaskedLanguageModel(model.encoder, self.settings.nesting) if model.nesting.width == self._width else model
        cut.load_state_dict(model.state_dict())
        with self.watch.task(f"measure {name}") as step:
            precision = self.settings.train.precision
            told = told_right(cut, self.words.test, self.words.masking, precision=precision, step=step)
        write_arrays(folder, told._asdict())

    @property
    def _width(self) -> int:
        return self.settings.nesting.width

    def _read(self, folder: Path) -> Answers:
        about(folder)
        return Answers(*(np.array(read_array(folder, name)) for name in ("right", "rows", "words")))

    def _place(self, training: Training) -> Path:
        return self.folder / f"{_name(training).lower()}-{training.seed}-{self._digest(training)}"

    def _digest(self, training: Training, *, trained: bool = True) -> str:
        train = {name: value for name, value in asdict(self.settings.train).items() if name not in _FREE}
        decides = {
            "version": _VERSION,
            "nesting": (training.nesting.dims, training.nesting.weights, self.settings.nesting.dims),
            "train": train if trained else self.settings.train.precision,
            "share": self.settings.share,
            "begin": self._data,
            "seed": training.seed,
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:10]


def _name(training: Training) -> str:
    return "MRL-E" if len(training.nesting) > 1 else f"FF-{training.nesting.width}"
