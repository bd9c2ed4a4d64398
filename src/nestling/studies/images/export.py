"""Write a run's classifier in a format of others.

Command: ``nestling export RUN --to onnx``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nestling.adaptor.store import DESCRIPTION
from nestling.errors import InputError
from nestling.evaluation.cascade import Cascade
from nestling.integrations import export_onnx
from nestling.nesting import Nesting
from nestling.studies.images.trained import TrainedRun

FORMATS = ("onnx",)


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        nesting: whose prefixes it answers at.
        cascade: in the file, or None.
        difference: from the model, as `export_onnx` measures it; None if nothing was compared.
    """

    path: Path
    nesting: Nesting
    cascade: Cascade | None
    difference: float | None


def export_run(run: Path, out: Path | None, *, to: str, accuracy: float | None) -> Exported:
    """Write the model, with the cascade that promises an accuracy.

    Args:
        run: of `nestling train` or `nestling finish`, or a saved model's folder.
        out: the file; ``model.onnx`` in the run's folder when left out.
        to: the format.
        accuracy: to promise, between 0 and 1; None for no cascade, which needs no calibration.

    Raises:
        InputError: no such format; the accuracy is out of range or cannot be promised; a model of texts.
        CheckpointError: no model or no calibration in the run's folder, or damaged ones.
        ExportError, DataError, MissingExtraError: as of `export_onnx`.
    """
    if to not in FORMATS:
        raise InputError.of("to", "onnx for a run, sentence-transformers for an adaptor", repr(to))
    if (run / DESCRIPTION).exists():
        raise InputError.of("to", "sentence-transformers for an adaptor", repr(to), "Name its model too: --model.")
    trained = TrainedRun.open(run)
    cascade = None if accuracy is None else trained.cascade(accuracy)
    view, path = trained.reading.view(), run / f"model.{to}" if out is None else out
    shape = (view.channels, view.side, view.side)
    difference = export_onnx(trained.model, path, shape=shape, inside=view.inside, cascade=cascade)
    return Exported(path, trained.model.head.nesting, cascade, difference)
