"""Train a nested masked language model on texts in files, and measure every prefix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from nestling.data.texts import text_files
from nestling.errors import InputError
from nestling.evaluation import Row, save_rows
from nestling.evaluation.base import correct_rows
from nestling.models import MaskedLanguageModel, save
from nestling.nesting import Nesting
from nestling.studies.texts.accuracy import METRIC, told_right
from nestling.studies.texts.encoders import TextEncoderChoice
from nestling.studies.texts.tokens import TokenFiles
from nestling.studies.watch import Step, Watch
from nestling.training import MaskedLanguageObjective, Masking, TokenFeed, TrainConfig, fit
from nestling.training.processes import this_process

MEASURED = 4096
"""Rows of validation texts that are measured, at most."""
ENCODER = "encoder"
"""The folder of a run in which `transformers` and sentence-transformers find what was trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRun:
    """What to train, on which texts.

    Attributes:
        texts: a file or a folder, as of `text_files`; column: of .parquet files.
        out: the run's folder: log, checkpoints, token ids, ``model/`` with its tokenizer, ``encoder/``, ``rows.jsonl``.
        nesting: the prefixes.
        encoder: what is trained.
        length: tokens of a row.
        share: of the tokens that are hidden.
        val_fraction: share of the texts that are held out.
    """

    texts: str
    out: Path
    nesting: Nesting
    train: TrainConfig
    encoder: TextEncoderChoice = TextEncoderChoice()  # noqa: RUF009  it is frozen
    column: str | None = None
    length: int = 512
    share: float = 0.15
    val_fraction: float = 0.01


def train_texts(run: TextRun, *, resume: bool, watch: Watch) -> list[Row]:
    """Read, train, save and measure.

    Returns:
        The masked accuracy of the validation texts at every prefix; empty in all but the first of several processes.

    Raises:
        DataError, InputError: the texts or the settings do not do.
        CheckpointError: the folder's run is of other settings, or damaged.
        TrainingDivergedError: the loss became NaN or infinite.
        ProcessLostError: another process of the run has ended.
    """
    if not 0 < run.val_fraction < 1:
        raise InputError.of("val_fraction", "between 0 and 1", run.val_fraction)
    texts = text_files(run.texts, column=run.column)
    state = this_process()
    generator = torch.Generator().manual_seed(run.train.seed)
    encoder = run.encoder.build(generator)
    tokenizer = run.encoder.reader(encoder)
    masking = Masking(tokenizer.mask, tokenizer.special, tokenizer.size, share=run.share)
    model = MaskedLanguageModel(encoder, run.nesting, generator=generator)
    tokens = TokenFiles(run.out / "tokens", run.length, run.val_fraction)
    if state.is_main_process:
        tokens.make(texts, tokenizer, watch)
    state.wait_for_everyone()
    train, val = tokens.rows("train"), tokens.rows("val")
    watch.say(f"{len(train):,} training and {len(val):,} validation rows of {run.length} tokens")
    with watch.task("train") as step:
        fit(
            MaskedLanguageObjective(model, masking),
            TokenFeed(train),
            run.train,
            folder=run.out,
            resume=resume,
            progress=partial(report_rows, step),
        )
    if not state.is_main_process:
        return []
    save(model.cpu(), run.out / "model")
    tokenizer.save(run.out / "model")
    cast(Any, model.encoder.network).save_pretrained(run.out / ENCODER)
    tokenizer.save(run.out / ENCODER)
    with watch.task("measure") as step:
        told = told_right(model, val[:MEASURED], masking, precision=run.train.precision, step=step)
    rows = correct_rows(told.right, run.nesting, metric=METRIC, system="MRL-E")
    save_rows(rows, run.out / "rows.jsonl")
    return rows


def report_rows(
    step: Step, done: int, total: int, loss: float, rows_per_s: float, lr: float, seconds_left: float
) -> None:
    """Hand `fit`'s progress to a watch."""
    del lr, seconds_left  # the bar knows its own time left
    step(done, total, f"loss {loss:5.2f} {rows_per_s:,.1f} rows/s")
