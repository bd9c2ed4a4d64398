"""A run's folder, opened to be used: its classifier, its reading, and where its calibration lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nestling.errors import InputError
from nestling.evaluation.cascade import Cascade
from nestling.models import BertEncoder, Classifier, load
from nestling.studies.images.calibration import fitted_cascade
from nestling.studies.images.reading import Reading


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A classifier of pictures.

    Attributes:
        model: in evaluation mode, on the CPU.
        folder: of the run.
        reading: how its pictures are read.
    """

    model: Classifier
    folder: Path
    reading: Reading

    @classmethod
    def open(cls, run: Path) -> TrainedRun:
        """Read a run's folder, or the folder of the model inside one.

        Raises:
            CheckpointError: no model there, or a damaged one.
            InputError: a model of texts.
        """
        inside = (run / "model").is_dir()
        model, folder = load(run / "model" if inside else run), run if inside else run.parent
        if isinstance(model.encoder, BertEncoder):
            raise InputError.of("run", "of a classifier of pictures", f"one of texts ({model.encoder.name})")
        return cls(model, folder, Reading.of_run(folder, model.encoder))

    def cascade(self, accuracy: float) -> Cascade:
        """As of `fitted_cascade`."""
        return fitted_cascade(self.model, self.folder, accuracy)
