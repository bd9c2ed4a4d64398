"""``nestling train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch, print_json
from nestling.errors import InputError

_PICTURES, _TEXTS, _TRAINING = "Pictures", "Texts (with --pairs)", "Training"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="train")(train)


def train(
    images: Annotated[
        str | None,
        typer.Option(help="One folder per class, WebDataset shards or what `datasets` saved; train/ and val/ or not."),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            help="Texts instead: .jsonl, .csv, .tsv or .parquet with columns query and document, or a BEIR folder."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.  [default: runs/images, runs/pairs]")] = None,
    dims: Annotated[
        str | None,
        typer.Option(help="The prefixes; the largest is the width.  [default: 8,16,32,64,128,256; texts: 8 … all]"),
    ] = None,
    tied: Annotated[bool, typer.Option("--tied", help="MRL-E: one head, sliced.", rich_help_panel=_PICTURES)] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="compact, resnet-18|50, vit-b16|s16 or efficientnet-lite0|b0|b3|b7; texts: minilm, a folder or a name."
        ),
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(help="Weights to begin with: a folder, a hub's name, or `package`.", rich_help_panel=_PICTURES),
    ] = None,
    tune: Annotated[
        str, typer.Option(help="Of an encoder with weights: all, the last block, or none.", rich_help_panel=_PICTURES)
    ] = "all",
    unfreeze: Annotated[
        str | None,
        typer.Option(
            help="After heads on frozen features: train the `last` block, or `all`.", rich_help_panel=_PICTURES
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Pixels of a side.  [default: 64; frozen: 224]", min=16, max=1024, rich_help_panel=_PICTURES),
    ] = None,
    grey: Annotated[
        bool, typer.Option("--grey", help="One channel instead of three.", rich_help_panel=_PICTURES)
    ] = False,
    val_fraction: Annotated[float, typer.Option(help="Held out of each class when there is no val/.")] = 0.1,
    crop: Annotated[
        float | None, typer.Option(help="Random crops keep at least this part of the area.", rich_help_panel=_PICTURES)
    ] = None,
    flip: Annotated[bool, typer.Option(help="Mirror every second picture.", rich_help_panel=_PICTURES)] = True,
    grow: Annotated[
        str | None,
        typer.Option(
            help="Progressive resolution FIRST:LAST:START:END, such as 160:192:29:34.", rich_help_panel=_PICTURES
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Decoding processes of each training process.", min=0, rich_help_panel=_PICTURES)
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="[default: 10; heads on frozen features: 20; texts: 1]", min=1, rich_help_panel=_TRAINING),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Train so many steps instead of epochs.",
            min=1,
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="[default: 256; --unfreeze: 64; texts: 128]",
            min=1,
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Peak rate.  [default: .004; heads: .003; --unfreeze: .0005; texts: .00005]",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="adamw, sgd or adafactor.", rich_help_panel=_TRAINING)] = "adamw",
    weight_decay: Annotated[float, typer.Option(help="Of matrices.", min=0, rich_help_panel=_TRAINING)] = 0.02,
    schedule: Annotated[
        str, typer.Option(help="one-cycle, linear or cosine.", rich_help_panel=_TRAINING)
    ] = "one-cycle",
    warmup: Annotated[
        float | None,
        typer.Option(
            help="Epochs up to the peak.  [default: 1, or less; texts: a tenth]",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    label_smoothing: Annotated[
        float, typer.Option(help="Mass moved from the true class to all alike.", rich_help_panel=_PICTURES)
    ] = 0.0,
    smooth_from: Annotated[
        int, typer.Option(help="Prefixes of fewer dims keep sharp labels.", min=0, rich_help_panel=_PICTURES)
    ] = 0,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.", rich_help_panel=_TRAINING)] = "fp32",
    accumulate: Annotated[
        int,
        typer.Option(help="Parts of a batch that are computed one after the other.", min=1, rich_help_panel=_TRAINING),
    ] = 1,
    fsdp: Annotated[
        bool, typer.Option("--fsdp", help="Processes share the model instead of copying it.", rich_help_panel=_TRAINING)
    ] = False,
    query_prompt: Annotated[str, typer.Option(help="Put before every query.", rich_help_panel=_TEXTS)] = "",
    doc_prompt: Annotated[str, typer.Option(help="Put before every document.", rich_help_panel=_TEXTS)] = "",
    max_length: Annotated[
        int | None, typer.Option(help="Tokens that texts are cut to.", rich_help_panel=_TEXTS)
    ] = None,
    hard_negatives: Annotated[
        int, typer.Option(help="Of each pair, found by an index.", min=0, rich_help_panel=_TEXTS)
    ] = 0,
    margin: Annotated[
        float, typer.Option(help="Share of the answer's cosine that these must lie below it.", rich_help_panel=_TEXTS)
    ] = 0.05,
    temperature: Annotated[float, typer.Option(help="Of the InfoNCE.", rich_help_panel=_TEXTS)] = 0.05,
    chunk: Annotated[int, typer.Option(help="Texts in memory at once.", min=1, rich_help_panel=_TEXTS)] = 32,
    compare: Annotated[bool, typer.Option(help="Train plainly too, for the table.", rich_help_panel=_TEXTS)] = True,
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=_TRAINING)] = 0,
    checkpoint_every: Annotated[int, typer.Option(help="Steps.", min=1, rich_help_panel=_TRAINING)] = 500,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.", rich_help_panel=_TRAINING)
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first unreadable image.", rich_help_panel=_PICTURES)
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON lines.")] = False,
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
            for row in rows:
                print_json(row)
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
        for row in rows:
            print_json(row)
    elif rows:
        watch.prefix_table("Validation, %", rows)
        log = out / ("frozen/heads/log.jsonl" if choice.frozen and unfreeze is None else "log.jsonl")
        watch.say(f"\nModel: {out / 'model'}   log: {log}   rows: {out / 'rows.jsonl'}")
        watch.say(f"Next:  nestling encode {out} {images} --out {out / 'vectors'}")
        watch.say(f"       nestling predict PICTURES --run {out} --accuracy 0.9")
        if choice.frozen and unfreeze is None:
            same = f"--dims {dims}{' --tied' * tied} --size {choice.size}"
            watch.say(f"       nestling train --images {images} --out {out} {same} --unfreeze last")
