"""``nestling encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch, print_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="encode")(encode)


def encode(
    run: Annotated[Path, typer.Argument(help="A run of `nestling train`, or a saved model's folder.")],
    data: Annotated[
        str, typer.Argument(help="A tree of images, or shards; texts: one a line of .txt, or FILE.parquet::COLUMN.")
    ],
    out: Annotated[Path, typer.Option(help="A .npy, .parquet or .arrow file, or a folder for the run's split.")] = Path(
        "vectors"
    ),
    prompt: Annotated[str, typer.Option(help="Put before every text.")] = "",
    workers: Annotated[int | None, typer.Option(help="Decoding processes of each process.", min=0)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable image.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the written paths as a JSON line.")] = False,
) -> None:
    """Turn images or texts into vectors with a trained model.

    Into a file: all of them, whatever their number; memory stays the same, and the same command goes on after a kill.
    Into a folder: training and validation images apart, as the run split them. Texts are for runs of `train --pairs`
    and, like images, for those of `recipe align`.

    Example: `nestling encode runs/photos photos/ --out vectors`; many: `torchrun --nproc-per-node 2 -m nestling encode
    runs/photos more/ --out more.parquet`; texts: `nestling encode runs/pairs texts.txt --out texts.npy`
    """
    from nestling.studies.encoding import Encoding
    from nestling.studies.encoding import encode as study

    watch = ConsoleWatch(quiet=as_json)
    asked = Encoding(data=data, out=out, prompt=prompt, strict=strict, workers=workers)
    written = study(run, asked, watch=watch)
    if as_json and written:
        print_json({"written": [str(path) for path in written]})
    for path in written:
        watch.say(f"Wrote {path}")
    if {out / "train.npy", out / "val.npy"} <= set(written):
        labels = f"--gallery-labels {out / 'train-labels.npy'} --query-labels {out / 'val-labels.npy'}"
        watch.say(f"Next: nestling evaluate {out / 'train.npy'} {out / 'val.npy'} {labels}")
