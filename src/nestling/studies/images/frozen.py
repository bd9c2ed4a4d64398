"""Nested heads on frozen features: what `nestling train --images` does with large pictures, in minutes.

Features once → a plain classifier, which gives an orthogonal start → nested linear heads → the finishing rotation. All
of it ends up as one linear map behind the encoder: what is left is an ordinary run. In the run's folder, ``frozen/``
keeps the stages.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import nn

from nestling.errors import InputError
from nestling.evaluation import Row, save_rows
from nestling.models import Classifier, Encoder, NestedLinear, load, save
from nestling.nesting import Nesting
from nestling.studies.demo import report_training
from nestling.studies.images.calibration import keep_calibration, logits_of
from nestling.studies.images.features import Features, frozen_features
from nestling.studies.images.reading import Reading
from nestling.studies.images.run import MEASURED, ImageRun, measured_vectors, train_images
from nestling.studies.images.source import open_pictures
from nestling.studies.images.starting import classifier_start, principal_start, second_moment
from nestling.studies.watch import Watch
from nestling.training import ArrayFeed, HeadObjective, TrainConfig, finish, fit
from nestling.training.lock import refusing
from nestling.training.processes import shareable, this_process

FOLDER = "frozen"
HEADS = TrainConfig(epochs=20, batch_size=256, lr=3e-3, weight_decay=0.02, augment=False)
"""How heads are learnt on frozen features, unless said otherwise."""
WITHIN = 256
"""Features that the finishing rotation turns, or as many as the nesting has: behind them the start left little."""
_PASSING = ("principal.npy", "turned.npy")  # features of the training pictures while the stages run
_FEWEST_STEPS = 16  # of an epoch


@dataclass(frozen=True, eq=False)
class Frozen:
    """What the stages leave.

    Attributes:
        model: the frozen encoder, the map behind it, and the heads.
        train, val: features of the encoder without that map.
    """

    model: Classifier
    train: Features
    val: Features

    def vectors(self, part: Features, rows: np.ndarray | None = None) -> Float32[np.ndarray, "n m"]:
        """What the model makes of a part's pictures."""
        chosen = part if rows is None else replace(part, rows=part.rows[rows], labels=part.labels[rows])
        behind, width = _behind(self.model.encoder), self.model.head.nesting.width
        with torch.inference_mode():
            found = [behind(torch.from_numpy(block))[:, :width].numpy() for block in chosen.blocks()]
        return np.concatenate(found)


def train_frozen(run: ImageRun, *, unfreeze: str | None, resume: bool, watch: Watch) -> list[Row]:
    """Learn heads on frozen features; then, if so said, train the encoder's last block or all of it.

    Args:
        run: its encoder has weights and is not trained. Its configuration is of what comes last: of the heads, or of
            the training after them.
        unfreeze: "last" or "all", beginning with the heads that are in the folder, if there are; None ends with heads.

    Returns:
        As of `train_images`.

    Raises:
        InputError: the folder holds a run and `resume` is false.
        RunLockedError: another process is training in it.
        ChecksumError: features that were kept are damaged.
        DataError, CheckpointError, TrainingDivergedError, ProcessLostError: as of `train_images`.
    """
    if unfreeze is None and not resume and any((run.out / name).exists() for name in ("run.json", "model")):
        raise InputError.of("folder", "new", f"{run.out}, which holds a run", "Resume it or name another.")
    if unfreeze is not None:
        tuned = replace(run, encoder=replace(run.encoder, tune=unfreeze))
        return train_images(tuned, resume=resume, watch=watch, start=_begun(run, watch))
    frozen = frozen_heads(run, replace(run.train, augment=False), resume=resume, watch=watch)
    if not this_process().is_main_process:
        return []
    save(frozen.model, run.out / "model")
    run.reading.save(run.out)
    val = frozen.vectors(frozen.val)
    keep_calibration(frozen.model, val, frozen.val.labels, run.out, seed=run.train.seed)
    drawn = np.random.default_rng(0).permutation(len(frozen.train))[:MEASURED]
    train = frozen.vectors(frozen.train, drawn), frozen.train.labels[drawn]
    rows = measured_vectors(frozen.model, train, (val, frozen.val.labels), seed=run.train.seed, watch=watch)
    save_rows(rows, run.out / "rows.jsonl")
    return rows


def _begun(run: ImageRun, watch: Watch) -> Classifier:
    """The frozen encoder with heads that are in the run's folder, or new ones."""
    folder = run.out / FOLDER
    if not (folder / "model").is_dir():
        return frozen_heads(run, HEADS, resume=True, watch=watch).model
    model = load(folder / "model")
    if (size := Reading.of_run(folder, model.encoder).size) != run.reading.size:
        raise InputError.of("size", f"that of the heads in {folder} ({size})", run.reading.size)
    if (model.head.nesting, model.head.tied) != (run.nesting, run.tied):
        wish = f"those of the heads in {folder} ({model.head.nesting}{', tied' * model.head.tied})"
        raise InputError.of("dims", wish, f"{run.nesting}{', tied' * run.tied}", "Name another folder to begin anew.")
    return model


def frozen_heads(run: ImageRun, config: TrainConfig, *, resume: bool, watch: Watch) -> Frozen:
    """The stages, each of which goes on where it was cut off.

    Raises:
        RunLockedError: another process is at them.
    """
    main, folder = this_process().is_main_process, run.out / FOLDER
    with refusing(folder, watch.say) if main else nullcontext():
        frozen = _stages(run, config, folder, resume=resume, watch=watch)
        this_process().wait_for_everyone()
        if main:
            for name in _PASSING:
                (folder / name).unlink(missing_ok=True)
            save(frozen.model, folder / "model")
            run.reading.save(folder)
    _tell(frozen, watch)
    return frozen


def _stages(run: ImageRun, config: TrainConfig, folder: Path, *, resume: bool, watch: Watch) -> Frozen:
    reading = run.reading
    found = open_pictures(run.images, reading, strict=run.strict, workers=run.workers, watch=watch)
    encoder = run.encoder.build(
        run.nesting.width,
        channels=reading.channels,
        size=reading.size,
        sample=np.empty(0),
        generator=torch.Generator().manual_seed(run.train.seed),
    )
    train, val = frozen_features(found, encoder, workers=run.workers, watch=watch)
    config = replace(config, batch_size=shareable(max(1, min(config.batch_size, len(train) // _FEWEST_STEPS))))
    learner = _Heads(train.labels, len(found.classes), config, folder, resume, watch)
    start = _start(train, learner, folder / _PASSING[0])
    turned = _turned(train, start, folder / _PASSING[1])
    head = learner.learnt(turned, run.nesting, tied=run.tied, name="heads")
    model = Classifier(encoder.rotated(torch.from_numpy(start)), head.cpu(), classes=found.classes)
    within = max(WITHIN, run.nesting.width)
    with watch.task("finish") as step:
        told, seed, place = partial(report_training, step), run.train.seed, folder / "finishing"
        model = finish(model, turned, train.labels, seed=seed, within=within, folder=place, progress=told)
    return Frozen(model.cpu().eval(), train, val)


@dataclass(frozen=True, slots=True, eq=False)
class _Heads:
    """Learns linear heads on features that do not change."""

    labels: Int64[np.ndarray, " n"]
    classes: int
    config: TrainConfig
    folder: Path
    resume: bool
    watch: Watch

    def learnt(self, features: Float32[np.ndarray, "n d"], nesting: Nesting, *, tied: bool, name: str) -> NestedLinear:
        """Heads on the first features, from zero."""
        head = NestedLinear(nesting, self.classes, tied=tied)
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
        feed, folder = ArrayFeed(features[:, : nesting.width], self.labels), self.folder / name
        with self.watch.task(name) as step:
            told = partial(report_training, step)
            fit(HeadObjective(head), feed, self.config, folder=folder, resume=self.resume, progress=told)
        return head.cpu()


def _start(train: Features, learner: _Heads, path: Path) -> Float[np.ndarray, "d d"]:
    """An orthogonal map times a number that makes the mean square of a feature 1: then rates suit any encoder.

    First what a plain classifier on all features reads, which serves short prefixes better than principal directions
    do (docs/LOG.md).
    """
    moment = second_moment(train.blocks)
    scaled = principal_start(moment) / np.sqrt(np.trace(moment) / len(moment))
    features = _turned(train, scaled, path)
    plain = learner.learnt(features, Nesting((len(scaled),)), tied=False, name="classifier")
    weight = plain.weight_at(len(scaled)).detach().numpy()
    return classifier_start(weight, scaled @ moment @ scaled.T) @ scaled


def _turned(part: Features, start: Float[np.ndarray, "d d"], path: Path) -> Float32[np.ndarray, "n d"]:
    """start · x of a part, written by the first process and mapped by all."""
    if this_process().is_main_process:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(len(part), len(start)))
        done, map_to = 0, start.T.astype(np.float32)
        for block in part.blocks():
            array[done : done + len(block)] = block @ map_to
            done += len(block)
        array.flush()
        del array
    this_process().wait_for_everyone()
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _behind(encoder: Encoder) -> nn.Module:
    """The map that rotating left behind the network."""
    return cast(nn.Module, encoder.out)


def _tell(frozen: Frozen, watch: Watch) -> None:
    """How the heads do on the validation pictures."""
    nesting = frozen.model.head.nesting
    logits = logits_of(frozen.model, frozen.vectors(frozen.val))
    right = [100 * float((z.argmax(axis=1) == frozen.val.labels).mean()) for z in logits]
    told = ", ".join(f"{value:.1f} % at {m}" for m, value in zip(nesting, right, strict=True))
    watch.say(f"Heads on frozen features, validation: {told}")
