"""Classify pictures that have no classes yet, by the cascade of a trained run.

Command: ``nestling predict FOLDER --run RUN``. A cascade saves the work of heads, and what is stored or sent of a
vector; the encoder runs whole for every picture.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from nestling.data.tree import Unreadable
from nestling.data.unlabelled import PictureBatch, UnlabelledPictures
from nestling.errors import DataError, InputError
from nestling.evaluation.cascade import Answers, Cascade
from nestling.files import replacing
from nestling.models import Classifier
from nestling.studies.images.calibration import logits_of
from nestling.studies.images.trained import TrainedRun
from nestling.studies.watch import Watch

COLUMNS = ("path", "class", "probability", "dims")


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What was answered.

    Attributes:
        cascade: who answered.
        answered: (K,) how many pictures each prefix of the cascade's nesting did.
        unreadable: how many files could not be read.
        first: the first of those, if any.
    """

    cascade: Cascade
    answered: Int64[np.ndarray, " k"]
    unreadable: int
    first: Unreadable | None

    @property
    def dims(self) -> tuple[int, ...]:
        """The prefixes."""
        return self.cascade.nesting.dims

    @property
    def expected_dims(self) -> float:
        """The mean width of the prefixes that answered."""
        return float(self.answered @ np.array(self.dims) / self.answered.sum())

    def to_json(self) -> dict[str, Any]:
        """The same, JSON-able."""
        return {
            "pictures": int(self.answered.sum()),
            "unreadable": self.unreadable,
            "promised": self.cascade.promised,
            "expected_dims": self.expected_dims,
            "answered": {str(m): int(n) for m, n in zip(self.dims, self.answered, strict=True)},
        }


def predict_pictures(
    folder: Path, run: Path, out: Path, *, accuracy: float, strict: bool, watch: Watch, batch_size: int = 256
) -> Predicted:
    """Write a line for each picture: its path, class, calibrated probability, and the dims that answered.

    Memory holds two batches, whatever the number of pictures; the file appears when it is complete.

    Args:
        folder: pictures in a tree of any form, or one picture.
        run: of `nestling train` or `nestling finish`.
        out: a CSV file.
        accuracy: to promise, between 0 and 1.
        strict: a file that cannot be read stops all.

    Raises:
        CheckpointError: no model or no calibration in the run's folder, or damaged ones.
        InputError: the accuracy is out of range or cannot be promised; the run is not of pictures.
        DataError: no pictures, none that can be read, or with `strict` one that cannot; `out` cannot be written.
    """
    if out.is_dir():
        raise InputError.of("out", "a file", f"the folder {out}")
    trained = TrainedRun.open(run)
    cascade = trained.cascade(accuracy)
    pictures = UnlabelledPictures(folder, trained.reading.view())
    total = pictures.count()
    if torch.accelerator.is_available():
        trained.model.to(torch.accelerator.current_accelerator())
    told = _Tally(cascade)
    with (
        watch.task("classify") as step,
        replacing(out) as temporary,
        # A file's name may be no text; its bytes go through.
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream,
    ):
        csv.writer(stream).writerow(COLUMNS)
        for batch in pictures.batches(size=batch_size, strict=strict):
            told.add(batch, _written(batch, trained.model, cascade, stream))
            step(told.done, max(total, told.done))
        return told.result(folder, pictures.unlisted)


def _written(batch: PictureBatch, model: Classifier, cascade: Cascade, stream: TextIO) -> Answers | None:
    if not batch.paths:
        return None
    answers = _answers(model, cascade, batch.pixels)
    dims = np.array(cascade.nesting.dims)[answers.used]
    rows = zip(batch.paths, answers.predicted, answers.confidence, dims, strict=True)
    csv.writer(stream).writerows((path, model.classes[c], f"{sure:.6f}", m) for path, c, sure, m in rows)
    return answers


def _answers(model: Classifier, cascade: Cascade, pixels: UInt8[np.ndarray, "b c s s"]) -> Answers:
    # All heads of the batch at once: to gather the rows that the first heads left would cost more than it saves.
    return cascade.answers(logits_of(model, model.encode(pixels)))


class _Tally:
    """Counts while batches pass."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade, self.answered = cascade, np.zeros(len(cascade.nesting), np.int64)
        self.unreadable = 0
        self.first: Unreadable | None = None

    @property
    def done(self) -> int:
        return int(self.answered.sum()) + self.unreadable

    def add(self, batch: PictureBatch, answers: Answers | None) -> None:
        if answers is not None:
            self.answered += np.bincount(answers.used, minlength=len(self.answered))
        self._refused(batch.unreadable)

    def result(self, folder: Path, unlisted: list[Unreadable]) -> Predicted:
        self._refused(unlisted)
        if not self.answered.any():
            why = "" if self.first is None else f" ({self.first.path}: {self.first.reason})"
            raise DataError(f"{folder} holds no picture that can be read{why}. Give others.")
        return Predicted(self.cascade, self.answered, self.unreadable, self.first)

    def _refused(self, files: tuple[Unreadable, ...] | list[Unreadable]) -> None:
        self.unreadable += len(files)
        self.first = self.first or next(iter(files), None)
