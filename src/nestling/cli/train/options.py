"""The options of ``nestling train``, in the groups that its help shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_PICTURES, _TEXTS, _TRAINING = "Pictures", "Texts (with --pairs)", "Training"

Images = Annotated[
    str | None,
    typer.Option(help="One folder per class, WebDataset shards or what `datasets` saved; train/ and val/ or not."),
]
Pairs = Annotated[
    str | None,
    typer.Option(
        help="Texts instead: .jsonl, .csv, .tsv or .parquet with columns query and document, or a BEIR folder."
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder of the run.  [default: runs/images, runs/pairs]")]
Dims = Annotated[
    str | None,
    typer.Option(help="The prefixes; the largest is the width.  [default: 8,16,32,64,128,256; texts: 8 … all]"),
]
Tied = Annotated[bool, typer.Option("--tied", help="MRL-E: one head, sliced.", rich_help_panel=_PICTURES)]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="compact, resnet-18|50, vit-b16|s16 or efficientnet-lite0|b0|b3|b7; texts: minilm, a folder or a name."
    ),
]
Pretrained = Annotated[
    str | None,
    typer.Option(help="Weights to begin with: a folder, a hub's name, or `package`.", rich_help_panel=_PICTURES),
]
Tune = Annotated[
    str, typer.Option(help="Of an encoder with weights: all, the last block, or none.", rich_help_panel=_PICTURES)
]
Unfreeze = Annotated[
    str | None,
    typer.Option(help="After heads on frozen features: train the `last` block, or `all`.", rich_help_panel=_PICTURES),
]
Size = Annotated[
    int | None,
    typer.Option(help="Pixels of a side.  [default: 64; frozen: 224]", min=16, max=1024, rich_help_panel=_PICTURES),
]
Grey = Annotated[bool, typer.Option("--grey", help="One channel instead of three.", rich_help_panel=_PICTURES)]
ValFraction = Annotated[float, typer.Option(help="Held out of each class when there is no val/.")]
Crop = Annotated[
    float | None, typer.Option(help="Random crops keep at least this part of the area.", rich_help_panel=_PICTURES)
]
Flip = Annotated[bool, typer.Option(help="Mirror every second picture.", rich_help_panel=_PICTURES)]
Grow = Annotated[
    str | None,
    typer.Option(help="Progressive resolution FIRST:LAST:START:END, such as 160:192:29:34.", rich_help_panel=_PICTURES),
]
Workers = Annotated[
    int | None, typer.Option(help="Decoding processes of each training process.", min=0, rich_help_panel=_PICTURES)
]
Epochs = Annotated[
    int | None,
    typer.Option(help="[default: 10; heads on frozen features: 20; texts: 1]", min=1, rich_help_panel=_TRAINING),
]
Steps = Annotated[
    int | None,
    typer.Option(
        help="Train so many steps instead of epochs.",
        min=1,
        rich_help_panel=_TRAINING,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        help="[default: 256; --unfreeze: 64; texts: 128]",
        min=1,
        rich_help_panel=_TRAINING,
    ),
]
Lr = Annotated[
    float | None,
    typer.Option(
        help="Peak rate.  [default: .004; heads: .003; --unfreeze: .0005; texts: .00005]",
        rich_help_panel=_TRAINING,
    ),
]
Optimizer = Annotated[str, typer.Option(help="adamw, sgd or adafactor.", rich_help_panel=_TRAINING)]
WeightDecay = Annotated[float, typer.Option(help="Of matrices.", min=0, rich_help_panel=_TRAINING)]
Schedule = Annotated[str, typer.Option(help="one-cycle, linear or cosine.", rich_help_panel=_TRAINING)]
Warmup = Annotated[
    float | None,
    typer.Option(
        help="Epochs up to the peak.  [default: 1, or less; texts: a tenth]",
        rich_help_panel=_TRAINING,
    ),
]
LabelSmoothing = Annotated[
    float, typer.Option(help="Mass moved from the true class to all alike.", rich_help_panel=_PICTURES)
]
SmoothFrom = Annotated[
    int, typer.Option(help="Prefixes of fewer dims keep sharp labels.", min=0, rich_help_panel=_PICTURES)
]
Precision = Annotated[str, typer.Option(help="fp32 or bf16.", rich_help_panel=_TRAINING)]
Accumulate = Annotated[
    int,
    typer.Option(help="Parts of a batch that are computed one after the other.", min=1, rich_help_panel=_TRAINING),
]
Fsdp = Annotated[
    bool, typer.Option("--fsdp", help="Processes share the model instead of copying it.", rich_help_panel=_TRAINING)
]
QueryPrompt = Annotated[str, typer.Option(help="Put before every query.", rich_help_panel=_TEXTS)]
DocPrompt = Annotated[str, typer.Option(help="Put before every document.", rich_help_panel=_TEXTS)]
MaxLength = Annotated[int | None, typer.Option(help="Tokens that texts are cut to.", rich_help_panel=_TEXTS)]
HardNegatives = Annotated[int, typer.Option(help="Of each pair, found by an index.", min=0, rich_help_panel=_TEXTS)]
Margin = Annotated[
    float, typer.Option(help="Share of the answer's cosine that these must lie below it.", rich_help_panel=_TEXTS)
]
Temperature = Annotated[float, typer.Option(help="Of the InfoNCE.", rich_help_panel=_TEXTS)]
Chunk = Annotated[int, typer.Option(help="Texts in memory at once.", min=1, rich_help_panel=_TEXTS)]
Compare = Annotated[bool, typer.Option(help="Train plainly too, for the table.", rich_help_panel=_TEXTS)]
Seed = Annotated[int, typer.Option(min=0, rich_help_panel=_TRAINING)]
CheckpointEvery = Annotated[int, typer.Option(help="Steps.", min=1, rich_help_panel=_TRAINING)]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.", rich_help_panel=_TRAINING)
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first unreadable image.", rich_help_panel=_PICTURES)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the rows as JSON lines.")]
