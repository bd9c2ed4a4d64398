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
    images: Annotated[str, typer.Option(help="One folder per class, or WebDataset shards; train/ and val/ or not.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/images"),
    dims: Annotated[str, typer.Option(help="The prefixes; the largest is the width.")] = "8,16,32,64,128,256",
    tied: Annotated[bool, typer.Option("--tied", help="MRL-E: one head, sliced.")] = False,
    encoder: Annotated[str, typer.Option(help="compact, resnet-18|50, vit-b16|s16 or efficientnet-lite0.")] = "compact",
    pretrained: Annotated[
        str | None, typer.Option(help="Weights to begin with: a folder, a hub's name, or `package`.")
    ] = None,
    tune: Annotated[str, typer.Option(help="Of an encoder with weights: all, the last block, or none.")] = "all",
    size: Annotated[int, typer.Option(help="Pixels of a side that images are scaled to.", min=16, max=1024)] = 64,
    grey: Annotated[bool, typer.Option("--grey", help="One channel instead of three.")] = False,
    val_fraction: Annotated[float, typer.Option(help="Held out of each class when there is no val/.")] = 0.1,
    crop: Annotated[float | None, typer.Option(help="Random crops keep at least this part of the area.")] = None,
    flip: Annotated[bool, typer.Option(help="Mirror every second picture.")] = True,
    grow: Annotated[
        str | None, typer.Option(help="Progressive resolution FIRST:LAST:START:END, such as 160:192:29:34.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Decoding processes of each training process.", min=0)] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    steps: Annotated[int | None, typer.Option(help="Train so many steps instead of epochs.", min=1)] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 256,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 4e-3,
    optimizer: Annotated[str, typer.Option(help="adamw, sgd or adafactor.")] = "adamw",
    weight_decay: Annotated[float, typer.Option(help="Of matrices.", min=0)] = 0.02,
    schedule: Annotated[str, typer.Option(help="one-cycle, linear or cosine.")] = "one-cycle",
    warmup: Annotated[float | None, typer.Option(help="Epochs up to the peak.  [default: 1, or less]")] = None,
    label_smoothing: Annotated[float, typer.Option(help="Mass moved from the true class to all alike.")] = 0.0,
    smooth_from: Annotated[int, typer.Option(help="Prefixes of fewer dims keep sharp labels.", min=0)] = 0,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    accumulate: Annotated[int, typer.Option(help="Parts of a batch that are computed one after the other.", min=1)] = 1,
    fsdp: Annotated[bool, typer.Option("--fsdp", help="Processes share the model instead of copying it.")] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    checkpoint_every: Annotated[int, typer.Option(help="Steps.", min=1)] = 500,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable image.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON lines.")] = False,
) -> None:
    """Train a nested classifier on your own images and measure every prefix.

    Images of up to 64 pixels are read into memory first, larger ones and shards are decoded while training.

    Example: `nestling train --images photos/ --out runs/photos`; with weights:
    `nestling train --images photos/ --encoder efficientnet-lite0 --pretrained package --tune last --size 224`;
    several processes: `torchrun --nproc-per-node 2 -m nestling train --images photos/`
    """
    from nestling.nesting import Nesting
    from nestling.studies.images import EncoderChoice, ImageRun, reading_of, train_images
    from nestling.training import TrainConfig

    watch = ConsoleWatch(quiet=as_json)
    config = TrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        weight_decay=weight_decay,
        schedule=schedule,
        label_smoothing=label_smoothing,
        smooth_from=smooth_from,
        precision=precision,
        seed=seed,
        checkpoint_every=checkpoint_every,
        warmup_epochs=min(1.0, epochs / 4) if warmup is None else warmup,
        steps=steps,
        accumulate=accumulate,
        fsdp=fsdp,
        flip=flip,
    )
    if out.is_file():
        raise InputError.of("--out", "a folder", f"the file {out}")
    run = ImageRun(
        images=images,
        out=out,
        nesting=Nesting.parse(dims),
        train=config,
        tied=tied,
        encoder=EncoderChoice(name=encoder, pretrained=pretrained, tune=tune),
        reading=reading_of(
            images,
            size=size,
            channels=1 if grey else 3,
            val_fraction=val_fraction,
            seed=seed,
            crop=crop,
            flip=flip,
            grow=grow,
            workers=workers,
        ),
        workers=workers,
        strict=strict,
    )
    rows = train_images(run, resume=resume, watch=watch)
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        watch.prefix_table("Validation, %", rows)
        watch.say(f"\nModel: {out / 'model'}   log: {out / 'log.jsonl'}   rows: {out / 'rows.jsonl'}")
        watch.say(f"Next:  nestling encode {out} {images} --out {out / 'vectors'}")
        watch.say(f"       nestling predict PICTURES --run {out} --accuracy 0.9")
