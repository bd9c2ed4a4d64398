"""The command: whose data are told, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import typer

from nestling.cli.console import ConsoleWatch, print_json
from nestling.cli.train import options as o
from nestling.cli.train.settings import Settings
from nestling.errors import InputError


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="train")(train)


def train(
    images: o.Images = None,
    pairs: o.Pairs = None,
    out: o.Out = None,
    dims: o.Dims = None,
    tied: o.Tied = False,
    encoder: o.Encoder = None,
    pretrained: o.Pretrained = None,
    tune: o.Tune = "all",
    unfreeze: o.Unfreeze = None,
    size: o.Size = None,
    grey: o.Grey = False,
    val_fraction: o.ValFraction = 0.1,
    crop: o.Crop = None,
    flip: o.Flip = True,
    grow: o.Grow = None,
    workers: o.Workers = None,
    epochs: o.Epochs = None,
    steps: o.Steps = None,
    batch_size: o.BatchSize = None,
    lr: o.Lr = None,
    optimizer: o.Optimizer = "adamw",
    weight_decay: o.WeightDecay = 0.02,
    schedule: o.Schedule = "one-cycle",
    warmup: o.Warmup = None,
    label_smoothing: o.LabelSmoothing = 0.0,
    smooth_from: o.SmoothFrom = 0,
    precision: o.Precision = "fp32",
    accumulate: o.Accumulate = 1,
    fsdp: o.Fsdp = False,
    query_prompt: o.QueryPrompt = "",
    doc_prompt: o.DocPrompt = "",
    max_length: o.MaxLength = None,
    hard_negatives: o.HardNegatives = 0,
    margin: o.Margin = 0.05,
    temperature: o.Temperature = 0.05,
    chunk: o.Chunk = 32,
    compare: o.Compare = True,
    seed: o.Seed = 0,
    checkpoint_every: o.CheckpointEvery = 500,
    resume: o.Resume = False,
    strict: o.Strict = False,
    as_json: o.AsJson = False,
) -> None:
    """Train a nested classifier of your own images, or a nested encoder of your own texts, and measure every prefix.

    Where no encoder is named and the images are larger than 64 pixels, nested heads are learnt on the features of a
    frozen EfficientNet-Lite0, in minutes; `--unfreeze` trains on. Others are trained from nothing: images of up to 64
    pixels are read into memory first, larger ones and shards are decoded while training.

    Example: `nestling train --images photos/ --out runs/photos`; with weights of your choice:
    `nestling train --images photos/ --encoder efficientnet-lite0 --pretrained package --tune last --size 224`;
    texts: `nestling train --pairs pairs.jsonl --encoder minilm --hard-negatives 2`;
    several processes: `torchrun --nproc-per-node 2 -m nestling train --images photos/`
    """
    if (images is None) == (pairs is None):
        raise InputError.of("train", "told --images or --pairs", "both" if images else "neither")
    out = Path("runs/pairs" if images is None else "runs/images") if out is None else out
    if out.is_file():
        raise InputError.of("--out", "a folder", f"the file {out}")
    settings = Settings(
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        weight_decay=weight_decay,
        schedule=schedule,
        warmup=warmup,
        precision=precision,
        accumulate=accumulate,
        fsdp=fsdp,
        seed=seed,
        checkpoint_every=checkpoint_every,
    )
    watch = ConsoleWatch(quiet=as_json)
    if images is not None:
        from nestling.cli.train.pictures import Pictures

        rows = Pictures(
            images=images,
            dims="8,16,32,64,128,256" if dims is None else dims,
            tied=tied,
            encoder=encoder,
            pretrained=pretrained,
            tune=tune,
            unfreeze=unfreeze,
            size=size,
            grey=grey,
            val_fraction=val_fraction,
            crop=crop,
            flip=flip,
            grow=grow,
            workers=workers,
            label_smoothing=label_smoothing,
            smooth_from=smooth_from,
            strict=strict,
        ).train(settings, out, resume=resume, watch=watch)
    else:
        assert pairs is not None
        from nestling.cli.train.texts import Texts

        for name, given in (("--pretrained", pretrained), ("--unfreeze", unfreeze), ("--size", size), ("--crop", crop)):
            if given is not None:
                raise InputError.of(name, "left out with --pairs", given)
        rows = Texts(
            pairs=pairs,
            dims=dims,
            encoder="minilm" if encoder is None else encoder,
            query_prompt=query_prompt,
            doc_prompt=doc_prompt,
            max_length=max_length,
            val_fraction=val_fraction,
            temperature=temperature,
            chunk=chunk,
            hard_negatives=hard_negatives,
            margin=margin,
            compare=compare,
        ).train(settings, out, resume=resume, watch=watch)
    if as_json:
        for row in rows:
            print_json(row)
