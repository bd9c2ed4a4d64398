"""Train a nested classifier on a folder of one's own images, measure every prefix, and use it again.

Commands: ``nestling train --images FOLDER``, ``nestling finish RUN --images FOLDER`` and ``nestling encode RUN --images
FOLDER``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from nestling.data import ImageFolder, LabelledImages, image_folder, save_vectors
from nestling.errors import CheckpointError, InputError
from nestling.evaluation import Row, save_rows
from nestling.files import write_file
from nestling.models import Classifier, NestedLinear, ResidualEncoder, load, save
from nestling.nesting import Nesting
from nestling.studies.comparison import Comparison, Encoded, Labels
from nestling.studies.demo import report_training
from nestling.studies.watch import Watch
from nestling.training import ArrayFeed, ClassificationObjective, TrainConfig, finish, fit

READING = "images.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRun:
    """What to train, on which images.

    Attributes:
        images: a tree of one folder per class, with or without ``train/`` and ``val/`` inside.
        out: the run's folder: log, checkpoints, ``model/``, ``rows.jsonl``.
        nesting, tied: the head: MRL, or MRL-E when tied.
        size, channels: what every image is scaled to; 28–64 pixels suit the compact encoder.
        val_fraction: what is held out of each class when the tree has no ``val/``.
        strict: an unreadable image stops the run instead of being counted.
    """

    images: Path
    out: Path
    nesting: Nesting
    train: TrainConfig
    tied: bool = False
    size: int = 64
    channels: int = 3
    val_fraction: float = 0.1
    strict: bool = False


def train_images(run: ImageRun, *, resume: bool, watch: Watch) -> list[Row]:
    """Read, train, save and measure.

    Returns:
        The rows of the validation images: the trained head, a refitted probe and 1-NN at every prefix; empty in all
        but the first of several processes.

    Raises:
        DataError, InputError: the images or the settings do not do.
        CheckpointError: the folder's run is of other settings, or damaged.
        TrainingDivergedError: the loss became NaN or infinite.
    """
    main = PartialState(cpu=not torch.accelerator.is_available()).is_main_process
    found = read_images(run.images, run.size, run.channels, run.val_fraction, run.train.seed, run.strict, watch)
    if found.val is None:
        raise InputError.of("val_fraction", "above 0 when the tree has no val folder", run.val_fraction)
    tell_images(found, watch)
    model = build_model(run, found.train)
    with watch.task("train") as step:
        fit(
            ClassificationObjective(model),
            ArrayFeed(found.train.pixels, found.train.labels),
            run.train,
            folder=run.out,
            resume=resume,
            progress=partial(report_training, step),
        )
    if not main:
        return []
    save(model.cpu(), run.out / "model")
    reading = {"val_fraction": run.val_fraction, "seed": run.train.seed}
    write_file(run.out / READING, json.dumps(reading) + "\n")
    rows = _measure(model, found.train, found.val, seed=run.train.seed, watch=watch)
    save_rows(rows, run.out / "rows.jsonl")
    return rows


def encode_images(run: Path, images: Path, out: Path, *, strict: bool, watch: Watch) -> list[Path]:
    """Write ``train.npy``, ``train-labels.npy``, and the same of ``val``, split as the run split them.

    Returns:
        The files written.

    Raises:
        CheckpointError: no model in the run's folder, or a damaged one.
        DataError, InputError: the images do not do.
    """
    model = load(run / "model" if (run / "model").is_dir() else run)
    config = model.encoder.config
    val_fraction, seed = _reading(run / READING)
    found = read_images(images, config["size"], config["channels"], val_fraction, seed, strict, watch)
    tell_images(found, watch)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name, part in (("train", found.train), ("val", found.val)):
        if part is None:
            continue
        with watch.task(f"encode {name}"):
            vectors = model.encode(part.pixels)
        for suffix, array in (("", vectors), ("-labels", np.array(part.classes)[part.labels])):
            path = out / f"{name}{suffix}.npy"
            _save(path, array)
            written.append(path)
    return written


def finish_images(
    run: Path, images: Path, out: Path, *, epochs: int, seed: int, strict: bool, watch: Watch
) -> tuple[list[Row], list[Row]]:
    """Learn the rotation behind a trained model on its training images; the finished model goes to ``out/model``.

    Returns:
        The rows of the validation images before and after: head, refitted probe and 1-NN at every prefix.

    Raises:
        CheckpointError: no model in the run's folder, or a damaged one.
        DataError, InputError: the images do not do, or the encoder cannot be rotated.
    """
    model = load(run / "model" if (run / "model").is_dir() else run)
    config = model.encoder.config
    val_fraction, split_seed = _reading(run / READING)
    found = read_images(images, config["size"], config["channels"], val_fraction, split_seed, strict, watch)
    if found.val is None:
        raise InputError.of("images", "split as the run split them", f"{images}, where nothing is held out")
    if found.train.classes != model.classes:
        raise InputError.of(
            "images", f"of the run's {len(model.classes)} classes", f"{len(found.train.classes)} others"
        )
    tell_images(found, watch)
    with watch.task("encode"):
        features = model.encode(found.train.pixels, whole=True)
    with watch.task("finish") as step:
        finished = finish(
            model,
            features,
            found.train.labels,
            epochs=epochs,
            seed=seed,
            progress=partial(report_training, step),
        )
    save(finished, out / "model")
    write_file(out / READING, json.dumps({"val_fraction": val_fraction, "seed": split_seed}) + "\n")
    before, after = (_measure(each, found.train, found.val, seed=seed, watch=watch) for each in (model, finished))
    save_rows(after, out / "rows.jsonl")
    return before, after


def read_images(
    folder: Path, size: int, channels: int, val_fraction: float, seed: int, strict: bool, watch: Watch
) -> ImageFolder:
    """`image_folder`, with a bar."""
    with watch.task("read images") as step:
        return image_folder(
            folder,
            size=size,
            channels=channels,
            val_fraction=val_fraction,
            seed=seed,
            strict=strict,
            progress=lambda done, total: step(done, total),
        )


def tell_images(found: ImageFolder, watch: Watch) -> None:
    """Say what was read, what was skipped, and what would make the measurement too good."""
    val = 0 if found.val is None else len(found.val)
    watch.say(f"{len(found.train):,} training and {val:,} validation images, {len(found.train.classes)} classes")
    if found.unreadable:
        first = found.unreadable[0]
        watch.say(f"Skipped {len(found.unreadable):,} unreadable files, the first: {first.path}: {first.reason}")
    if found.loose:
        watch.say(f"Ignored {found.loose:,} images outside every class folder")
    if found.singles:
        watch.say(f"Classes with one image, not in validation: {', '.join(found.singles[:5])}")
    if found.duplicates.count:
        watch.say(
            f"{found.duplicates.count:,} validation images are exact duplicates of training images: "
            "the accuracies below are too good by as much"
        )


def build_model(run: ImageRun, images: LabelledImages) -> Classifier:
    """The compact encoder for these images with a nested head, drawn from the run's seed."""
    generator = torch.Generator().manual_seed(run.train.seed)
    sample = images.pixels[:: max(1, len(images) // 2000)].astype(np.float32) / 255
    encoder = ResidualEncoder(
        run.nesting.width,
        channels=run.channels,
        size=run.size,
        mean=float(sample.mean()),
        std=max(float(sample.std()), 1e-3),
        generator=generator,
    )
    head = NestedLinear(run.nesting, len(images.classes), tied=run.tied, generator=generator)
    return Classifier(encoder, head, classes=images.classes)


def _measure(model: Classifier, train: LabelledImages, val: LabelledImages, *, seed: int, watch: Watch) -> list[Row]:
    with watch.task("encode"):
        encoded = Encoded(model, model.encode(train.pixels), model.encode(val.pixels))
    comparison = Comparison(Labels(train.labels, val.labels), seed=seed, watch=watch)
    comparison.nested("MRL-E" if model.head.tied else "MRL", encoded)
    return comparison.rows


def _reading(path: Path) -> tuple[float, int]:
    try:
        reading = json.loads(path.read_text()) if path.exists() else {}
        return float(reading.get("val_fraction", 0.0)), int(reading.get("seed", 0))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Delete it to encode without a split.") from error


def _save(path: Path, array: np.ndarray) -> None:
    save_vectors(path, array) if array.ndim == 2 else np.save(path, array, allow_pickle=False)
