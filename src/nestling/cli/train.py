"""``nestling train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nestling.cli import train_options as o
from nestling.cli.console import ConsoleWatch, print_json
from nestling.errors import InputError

if TYPE_CHECKING:  # torch loads when a training begins, not for --help
    from nestling.evaluation import Row
    from nestling.studies.images import ImageRun


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
    from nestling.nesting import Nesting
    from nestling.studies.images import ImageRun, choose, reading_of, train_frozen, train_images
    from nestling.training import TrainConfig

    watch = ConsoleWatch(quiet=as_json)
    if pairs is not None:
        from nestling.studies.text_pairs import PairRun, Prompts, train_pairs

        for name, given in (("--pretrained", pretrained), ("--unfreeze", unfreeze), ("--size", size), ("--crop", crop)):
            if given is not None:
                raise InputError.of(name, "left out with --pairs", given)
        epochs = 1 if epochs is None else epochs
        tuning = TrainConfig(
            epochs=epochs,
            batch_size=128 if batch_size is None else batch_size,
            lr=5e-5 if lr is None else lr,
            optimizer=optimizer,
            weight_decay=weight_decay,
            schedule=schedule,
            label_smoothing=0.0,
            precision=precision,
            seed=seed,
            checkpoint_every=checkpoint_every,
            warmup_epochs=0.1 * epochs if warmup is None else warmup,
            steps=steps,
            accumulate=accumulate,
            fsdp=fsdp,
            augment=False,
            clip_norm=None,
        )
        rows = train_pairs(
            PairRun(
                pairs=pairs,
                out=out,
                train=tuning,
                nesting=None if dims is None else Nesting.parse(dims),
                encoder="minilm" if encoder is None else encoder,
                prompts=Prompts(query_prompt, doc_prompt),
                longest=max_length,
                held_out=val_fraction,
                temperature=temperature,
                chunk=chunk,
                negatives=hard_negatives,
                margin=margin,
                compare=compare,
            ),
            resume=resume,
            watch=watch,
        )
        if as_json:
            _print(rows)
        elif rows:
            watch.say(f"\nModel: {out / 'model'} (sentence-transformers)   rows: {out / 'rows.jsonl'}")
        return
    assert images is not None
    dims = "8,16,32,64,128,256" if dims is None else dims
    choice = choose(
        images,
        encoder=encoder,
        pretrained=pretrained,
        tune=tune,
        size=size,
        grey=grey,
        unfreeze=unfreeze,
        from_pictures=crop is not None or grow is not None,
    )
    usual = choice.usual
    epochs = usual.epochs if epochs is None else epochs
    config = TrainConfig(
        epochs=epochs,
        batch_size=usual.batch_size if batch_size is None else batch_size,
        lr=usual.lr if lr is None else lr,
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
    run = ImageRun(
        images=images,
        out=out,
        nesting=Nesting.parse(dims),
        train=config,
        tied=tied,
        encoder=choice.encoder,
        reading=reading_of(
            images,
            size=choice.size,
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
    if choice.why:
        watch.say(choice.why)
    if choice.frozen:
        rows = train_frozen(run, unfreeze=unfreeze, resume=resume, watch=watch)
    else:
        rows = train_images(run, resume=resume, watch=watch)
    if as_json:
        _print(rows)
    elif rows:
        heads = choice.frozen and unfreeze is None
        watch.prefix_table("Validation, %", rows)
        _tell_next(run, watch, heads=heads, same=f"--dims {dims}{' --tied' * tied} --size {choice.size}")


def _tell_next(run: ImageRun, watch: ConsoleWatch, *, heads: bool, same: str) -> None:
    """Where the model is, and what to do with it.

    Args:
        heads: only heads were trained, on frozen features; same: the options that training on needs again.
    """
    log = run.out / ("frozen/heads/log.jsonl" if heads else "log.jsonl")
    watch.say(f"\nModel: {run.out / 'model'}   log: {log}   rows: {run.out / 'rows.jsonl'}")
    watch.say(f"Next:  nestling encode {run.out} {run.images} --out {run.out / 'vectors'}")
    watch.say(f"       nestling predict PICTURES --run {run.out} --accuracy 0.9")
    if heads:
        watch.say(f"       nestling train --images {run.images} --out {run.out} {same} --unfreeze last")


def _print(rows: Sequence[Row]) -> None:
    for row in rows:
        print_json(row)
