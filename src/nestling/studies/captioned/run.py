"""Train a dual encoder of pictures and captions, and measure every prefix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nestling.data import Samples
from nestling.evaluation import Row, save_rows
from nestling.models import DualEncoder, save
from nestling.nesting import Nesting
from nestling.studies.captioned.recall import recall_rows
from nestling.studies.captioned.source import CaptionedReading, open_captioned
from nestling.studies.captioned.towers import TowerChoice
from nestling.studies.demo import report_training
from nestling.studies.images.source import none_readable, tell_faults
from nestling.studies.watch import Watch
from nestling.training import CaptionObjective, TrainConfig, WorkerFeed, batched, fit, in_order
from nestling.training.objective import numbered
from nestling.training.processes import this_process

MEASURED = 10_000
"""Validation pairs that are measured, at most."""
_BATCH = 256
_SAMPLE = 200  # pictures, by which fresh encoders are normalised


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedRun:
    """What to train, on which pairs.

    Attributes:
        pairs: shards of name.jpg and name.txt, or a folder of such files.
        out: the run's folder: log, checkpoints, ``model/`` with its tokenizer, ``rows.jsonl``.
        nesting: the prefixes.
        towers: what is trained; reading: how pairs are read.
        workers: decoding processes of each training process; as many as cores are left when None.
    """

    pairs: str
    out: Path
    nesting: Nesting
    train: TrainConfig
    towers: TowerChoice
    reading: CaptionedReading
    workers: int | None = None


def train_captioned(run: CaptionedRun, *, resume: bool, watch: Watch) -> list[Row]:
    """Read, train, save and measure.

    Returns:
        Recall of the validation pairs in both directions, at every prefix; empty in all but the first of several
        processes.

    Raises:
        DataError, InputError: the pairs or the settings do not do.
        CheckpointError: the folder's run is of other settings, or damaged.
        TrainingDivergedError: the loss became NaN or infinite.
        ProcessLostError: another process of the run has ended.
    """
    main = this_process().is_main_process
    tokenizer = run.towers.reader()
    train, val = open_captioned(run.pairs, tokenizer, run.reading, watch)
    model = run.towers.build(
        run.nesting,
        channels=run.reading.channels,
        size=run.reading.size,
        sample=_sample(train),
        generator=torch.Generator().manual_seed(run.train.seed),
    )
    with watch.task("train") as step:
        result = fit(
            CaptionObjective(model),
            WorkerFeed(train, workers=run.workers),
            run.train,
            folder=run.out,
            resume=resume,
            progress=partial(report_training, step),
        )
    tell_faults(result.faults, watch)
    if not main:
        return []
    save(model.cpu(), run.out / "model")
    tokenizer.save(run.out / "model")
    run.reading.save(run.out)
    rows = measured(model, val, workers=run.workers, watch=watch)
    save_rows(rows, run.out / "rows.jsonl")
    return rows


def measured(model: DualEncoder, val: Samples, *, workers: int | None, watch: Watch) -> list[Row]:
    """Recall of pairs, of some drawn ones where there are many; those that cannot be read are left out."""
    rows = _drawn(len(val), MEASURED)
    pictures, captions, groups = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    faults, done = list[str](), 0
    with watch.task("encode validation") as step:
        for passage in in_order(val, batched(rows, _BATCH), workers=workers):
            done += len(passage.rows) + len(passage.faults)
            faults += passage.faults
            if len(passage.rows):
                pictures.append(model.encode_images(passage.inputs))
                captions.append(model.encode_texts(passage.targets))
                groups.append(numbered(passage.targets).numpy())
            step(done, len(rows))
    tell_faults(tuple(faults), watch)
    if not pictures:
        raise none_readable(len(rows), faults[0])
    x, y, equal = (np.concatenate(each) for each in (pictures, captions, groups))
    return recall_rows(x, y, equal, model.nesting, system="MRL")


def _sample(train: Samples) -> np.ndarray:
    """Some pictures as numbers 0 … 1."""
    rows = _drawn(len(train), _SAMPLE)
    kept, chunk = train.readable(rows)
    if not len(kept):
        raise none_readable(len(rows), chunk.faults[0])
    return chunk.inputs.astype(np.float32) / 255


def _drawn(count: int, most: int) -> np.ndarray:
    if most >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))
