"""``nestling train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch, print_json
from nestling.errors import InputError


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="train")(train)


def train(
    images: Annotated[Path, typer.Option(help="One folder per class of PNG or JPEG, with or without train/ and val/.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/images"),
    dims: Annotated[str, typer.Option(help="The prefixes; the largest is the width.")] = "8,16,32,64,128,256",
    tied: Annotated[bool, typer.Option("--tied", help="MRL-E: one head, sliced.")] = False,
    size: Annotated[int, typer.Option(help="Pixels of a side that images are scaled to.", min=16, max=128)] = 64,
    grey: Annotated[bool, typer.Option("--grey", help="One channel instead of three.")] = False,
    val_fraction: Annotated[float, typer.Option(help="Held out of each class when there is no val/.")] = 0.1,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    batch_size: Annotated[int, typer.Option(min=1)] = 256,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 4e-3,
    optimizer: Annotated[str, typer.Option(help="adamw or sgd.")] = "adamw",
    schedule: Annotated[str, typer.Option(help="one-cycle or cosine.")] = "one-cycle",
    label_smoothing: Annotated[float, typer.Option(help="Mass moved from the true class to all alike.")] = 0.0,
    smooth_from: Annotated[int, typer.Option(help="Prefixes of fewer dims keep sharp labels.", min=0)] = 0,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    checkpoint_every: Annotated[int, typer.Option(help="Steps.", min=1)] = 500,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable image.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON lines.")] = False,
) -> None:
    """Train a nested classifier on your own images and measure every prefix.

    Example: `nestling train --images photos/ --out runs/photos`; several processes:
    `torchrun --nproc-per-node 2 -m nestling train --images photos/`
    """
    from nestling.nesting import Nesting
    from nestling.studies.image_run import ImageRun, train_images
    from nestling.training import TrainConfig

    watch = ConsoleWatch(quiet=as_json)
    config = TrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        schedule=schedule,
        label_smoothing=label_smoothing,
        smooth_from=smooth_from,
        precision=precision,
        seed=seed,
        checkpoint_every=checkpoint_every,
        warmup_epochs=min(1.0, epochs / 4),
    )
    if out.is_file():
        raise InputError.of("--out", "a folder", f"the file {out}")
    run = ImageRun(
        images=images,
        out=out,
        nesting=Nesting.parse(dims),
        train=config,
        tied=tied,
        size=size,
        channels=1 if grey else 3,
        val_fraction=val_fraction,
        strict=strict,
    )
    rows = train_images(run, resume=resume, watch=watch)
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        watch.prefix_table("Validation, %", rows)
        watch.say(f"\nModel: {out / 'model'}   log: {out / 'log.jsonl'}   rows: {out / 'rows.jsonl'}")
        watch.say(f"Next:  nestling encode {out} --images {images} --out {out / 'vectors'}")
