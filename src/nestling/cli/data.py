"""``nestling data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    group = typer.Typer(help="Fetch and check data sets.", no_args_is_help=True)
    group.command(name="fashion-mnist")(fashion_mnist_)
    group.command(name="icons")(icons_)
    app.add_typer(group, name="data")


def fashion_mnist_() -> None:
    """Fetch Fashion-MNIST (60,000 + 10,000 images) into the cache and verify its checksums.

    The cache is `NESTLING_DATA`, or `~/.cache/nestling`. Example: `nestling data fashion-mnist`
    """
    from nestling.data import data_folder, fashion_mnist

    watch = ConsoleWatch()
    for split in ("train", "test"):
        images = fashion_mnist(split, say=watch.say)
        watch.say(f"{split}: {len(images):,} images, {len(images.classes)} classes, checksum verified")
    watch.say(f"Cache: {data_folder()}")


def icons_(
    size: Annotated[int, typer.Option(help="Pixels of a side: 32 or 64.")] = 32,
    seed: Annotated[int, typer.Option(help="Of the families drawn for validation and test.")] = 0,
    sheet: Annotated[Path | None, typer.Option(help="Write a PNG with icons of some classes here.")] = None,
) -> None:
    """Fetch 280,000 SVG icons (104 MB, by npm), draw those of the classes that many designers draw, and check them.

    What an icon shows is its class. Drawing takes about a minute, once.

    Example: `nestling data icons --sheet icons.png`
    """
    from nestling.studies.icon_data import contact_sheet, described

    described(size, seed, ConsoleWatch())
    if sheet is not None:
        contact_sheet(size, seed, sheet)
