"""``nestling data``."""

from __future__ import annotations

import typer

from nestling.cli.console import ConsoleWatch


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    group = typer.Typer(help="Fetch and check data sets.", no_args_is_help=True)
    group.command(name="fashion-mnist")(fashion_mnist_)
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
