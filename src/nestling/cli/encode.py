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
    data: Annotated[str, typer.Argument(help="A tree of images, or shards.")],
    out: Annotated[Path, typer.Option(help="A .npy, .parquet or .arrow file, or a folder for the run's split.")] = Path(
        "vectors"
    ),
    workers: Annotated[int | None, typer.Option(help="Decoding processes of each process.", min=0)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable image.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the written paths as a JSON line.")] = False,
) -> None:
    """Turn images into vectors with a trained model.

    Into a file: all images of any tree or of shards, whatever their number; memory stays the same, and the same command
    goes on after a kill. Into a folder: train and validation apart, as the run split them.

    Example: `nestling encode runs/photos photos/ --out vectors`; many: `torchrun --nproc-per-node 2 -m nestling encode
    runs/photos more/ --out more.parquet`
    """
    from nestling.studies.images import encode_images, encode_to_file, is_vector_file

    watch = ConsoleWatch(quiet=as_json)
    if is_vector_file(out):
        written = encode_to_file(run, data, out, strict=strict, workers=workers, watch=watch)
    else:
        written = encode_images(run, data, out, strict=strict, workers=workers, watch=watch)
    if as_json and written:
        print_json({"written": [str(path) for path in written]})
    for path in written:
        watch.say(f"Wrote {path}")
    if {out / "train.npy", out / "val.npy"} <= set(written):
        labels = f"--gallery-labels {out / 'train-labels.npy'} --query-labels {out / 'val-labels.npy'}"
        watch.say(f"Next: nestling evaluate {out / 'train.npy'} {out / 'val.npy'} {labels}")
