"""Train a nested classifier on one's own pictures, and measure every prefix (`nestling train --images`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from nestling.errors import InputError
from nestling.evaluation import Row, save_rows
from nestling.models import Classifier, NestedLinear, load, save
from nestling.nesting import Nesting
from nestling.studies.comparison import Comparison, Encoded, Labels
from nestling.studies.demo import report_training
from nestling.studies.images.calibration import keep_calibration
from nestling.studies.images.encoders import COMPACT, EncoderChoice
from nestling.studies.images.reading import Reading
from nestling.studies.images.source import Encode, Pictures, open_pictures, tell_faults
from nestling.studies.watch import Watch
from nestling.training import ClassificationObjective, TrainConfig, fit
from nestling.training.processes import this_process

Labelled = tuple[Float[np.ndarray, "_ d"], Int64[np.ndarray, " _"]]
"""Vectors and their classes."""
MEASURED = 50_000
"""Training pictures that probes and nearest neighbours are measured with, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRun:
    """What to train, on which pictures.

    Attributes:
        images: a tree of one folder per class, or shards, with or without ``train`` and ``val`` inside.
        out: the run's folder: log, checkpoints, ``model/`` and its calibration, ``rows.jsonl``.
        nesting, tied: the head: MRL, or MRL-E when tied.
        encoder: what is trained.
        reading: how the pictures are read.
        workers: decoding processes of each training process, where streamed; as many as cores are left when None.
        strict: an unreadable picture stops the run instead of being counted.
    """

    images: str
    out: Path
    nesting: Nesting
    train: TrainConfig
    tied: bool = False
    encoder: EncoderChoice = EncoderChoice()  # noqa: RUF009  it is frozen
    reading: Reading = Reading()  # noqa: RUF009
    workers: int | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        if self.reading.growing is not None and self.encoder.name == COMPACT:
            raise InputError.of("grow", "left out for the compact encoder, which sees one size", "an encoder of it")


def train_images(run: ImageRun, *, resume: bool, watch: Watch, start: Classifier | None = None) -> list[Row]:
    """Read, train, save and measure.

    Args:
        start: a model of these classes to begin with; `run.encoder` only says then what of it is trained.

    Returns:
        The rows of the validation pictures: the trained head, a refitted probe and 1-NN at every prefix; empty in all
        but the first of several processes.

    Raises:
        DataError, InputError: the pictures or the settings do not do.
        CheckpointError: the folder's run is of other settings, or damaged.
        TrainingDivergedError: the loss became NaN or infinite.
        ProcessLostError: another process of the run has ended.
    """
    main = this_process().is_main_process
    found = open_pictures(run.images, run.reading, strict=run.strict, workers=run.workers, watch=watch)
    found.held()  # before anything is trained
    model = build_model(run, found) if start is None else _tuned(start, run, found)
    with watch.task("train") as step:
        result = fit(
            ClassificationObjective(model),
            found.train.feed(),
            run.train,
            folder=run.out,
            resume=resume,
            progress=partial(report_training, step),
        )
    tell_faults(result.faults, watch)
    if not main:
        return []
    save(model.cpu(), run.out / "model")
    run.reading.save(run.out)
    rows = measured(model, found, seed=run.train.seed, watch=watch, calibrated=run.out)
    save_rows(rows, run.out / "rows.jsonl")
    return rows


def _tuned(start: Classifier, run: ImageRun, found: Pictures) -> Classifier:
    if start.classes != found.classes:
        raise InputError.of("images", f"of the {len(start.classes)} classes that were begun with", "others")
    start.requires_grad_(True)
    start.encoder.tune(run.encoder.tune)
    return start


def build_model(run: ImageRun, found: Pictures) -> Classifier:
    """The encoder for these pictures with a nested head, drawn from the run's seed."""
    generator = torch.Generator().manual_seed(run.train.seed)
    reading = run.reading
    sample = found.train.sample()
    encoder = run.encoder.build(
        run.nesting.width, channels=reading.channels, size=reading.size, sample=sample, generator=generator
    )
    head = NestedLinear(run.nesting, len(found.classes), tied=run.tied, generator=generator)
    return Classifier(encoder, head, classes=found.classes)


def measured(
    model: Classifier, found: Pictures, *, seed: int, watch: Watch, calibrated: Path | None = None
) -> list[Row]:
    """Head, refitted probe and 1-NN of the validation pictures, at every prefix.

    Args:
        calibrated: the run's folder, to keep their logits in for cascades.
    """
    encode = encoding(model)
    with watch.task("encode") as step:
        train, train_labels = found.train.encoded(encode, step, MEASURED)
    with watch.task("encode validation") as step:
        val, val_labels = found.held().encoded(encode, step)
    if calibrated is not None:
        keep_calibration(model, val, val_labels, calibrated, seed=seed)
    return measured_vectors(model, (train, train_labels), (val, val_labels), seed=seed, watch=watch)


def measured_vectors(model: Classifier, train: Labelled, val: Labelled, *, seed: int, watch: Watch) -> list[Row]:
    """The same of vectors that the model gave."""
    comparison = Comparison(Labels(train[1], val[1]), seed=seed, watch=watch)
    comparison.nested("MRL-E" if model.head.tied else "MRL", Encoded(model, train[0], val[0]))
    return comparison.rows


def model_of(run: Path) -> Classifier:
    """The model of a run, or a saved one.

    Raises:
        CheckpointError: there is none, or a damaged one.
    """
    return load(run / "model" if (run / "model").is_dir() else run)


def encoding(network: nn.Module) -> Encode:
    """A network as what `Part.encoded` wants: pictures to features, in evaluation mode."""
    device = next(network.parameters()).device
    network.eval()

    @torch.inference_mode()
    def encode(images: Tensor) -> Tensor:
        return network(images.to(device)).float().cpu()

    return encode
