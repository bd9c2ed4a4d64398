"""``nestling finish``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch, print_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="finish")(finish)


def finish(
    run: Annotated[Path, typer.Argument(help="A run of `nestling train`, or a saved model's folder.")],
    images: Annotated[str, typer.Option(help="What it was trained on: one folder per class, or shards.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the finished model.  [default: RUN/finished]")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the features, some seconds each.", min=2)] = 12,
    seed: Annotated[int, typer.Option(help="Of the order of the images.", min=0)] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable image.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON lines.")] = False,
) -> None:
    """Learn a rotation behind a trained model that makes its short prefixes better; full width stays as it is.

    A minute's work on frozen features. Example: `nestling finish runs/photos --images photos/`
    """
    from nestling.studies.images import finish_images

    watch = ConsoleWatch(quiet=as_json)
    folder = out or run / "finished"
    before, after = finish_images(run, images, folder, epochs=epochs, seed=seed, strict=strict, watch=watch)
    if as_json:
        for row in after:
            print_json(row)
        return
    watch.prefix_table("Before, validation images, %", before)
    watch.prefix_table("Finished, validation images, %", after)
    watch.say(f"Finished model {folder / 'model'}")
    watch.say(f"Next: nestling encode {folder} {images} --out vectors")
