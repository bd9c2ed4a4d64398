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
    images: Annotated[Path, typer.Option(help="One folder per class of PNG or JPEG.")],
    out: Annotated[Path, typer.Option(help="Folder for the .npy files.")] = Path("vectors"),
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable image.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the written paths as a JSON line.")] = False,
) -> None:
    """Turn images into vectors with a trained model, split as its training split them.

    Example: `nestling encode runs/photos --images photos/ --out vectors`
    """
    from nestling.studies.image_run import encode_images

    watch = ConsoleWatch(quiet=as_json)
    written = encode_images(run, images, out, strict=strict, watch=watch)
    if as_json:
        print_json({"written": [str(path) for path in written]})
        return
    for path in written:
        watch.say(f"Wrote {path}")
    if len(written) == 4:
        labels = f"--gallery-labels {written[1]} --query-labels {written[3]}"
        watch.say(f"Next: nestling evaluate {written[0]} {written[2]} {labels}")
