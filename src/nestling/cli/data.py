"""``nestling data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch
from nestling.errors import InputError


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    group = typer.Typer(help="Fetch and check data sets.", no_args_is_help=True)
    group.command(name="fashion-mnist")(fashion_mnist_)
    group.command(name="icons")(icons_)
    group.command(name="packages")(packages_)
    group.command(name="shard")(shard)
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
    captions: Annotated[
        bool, typer.Option("--captions", help="All icons, with captions: for training on images and texts.")
    ] = False,
    sheet: Annotated[Path | None, typer.Option(help="Write a PNG with some of the icons here.")] = None,
) -> None:
    """Fetch 280,000 SVG icons (104 MB, by npm), draw those of the classes that many designers draw, and check them.

    What an icon shows is its class. Drawing takes about a minute, once; three with --captions, which takes the icons
    that few designers draw too, and tells all of them in words.

    Example: `nestling data icons --sheet icons.png`
    """
    from nestling.studies.icon_captions import caption_sheet, captioned, tell_captioned
    from nestling.studies.icon_data import contact_sheet, described

    watch = ConsoleWatch()
    if captions:
        data = captioned(size, seed, watch)
        tell_captioned(data, seed, watch)
        if sheet is not None:
            caption_sheet(data, seed, sheet)
    else:
        described(size, seed, watch)
        if sheet is not None:
            contact_sheet(size, seed, sheet)


def packages_(
    out: Annotated[Path, typer.Option(help="The table, JSON lines of query, document and group.")] = Path(
        "packages.jsonl"
    ),
) -> None:
    """Write what Debian says of its packages (59,000, in a line and at length) as pairs of texts to train on.

    Packages of one source are a group: they are told much alike, and are held out together.

    Example: `nestling data packages --out packages.jsonl`, then `nestling train --pairs packages.jsonl`
    """
    from nestling.data import packages
    from nestling.data.text_pairs import write_pairs

    watch = ConsoleWatch()
    if out.suffix != ".jsonl":
        raise InputError.of("--out", "a file that ends in .jsonl", out)
    found = packages(say=watch.say)
    write_pairs(out, zip(found.short, found.long, found.sources, strict=True))
    watch.say(f"{len(found):,} pairs of {len(set(found.sources)):,} sources, archive {found.digest}: {out}")
    watch.say(f"Next: nestling train --pairs {out}")


def shard(
    folder: Annotated[Path, typer.Argument(help="One folder per class, or what the table of captions speaks of.")],
    out: Annotated[Path, typer.Option(help="Folder of the shards.")] = Path("shards"),
    captions: Annotated[
        Path | None, typer.Option(help="CSV, TSV or JSON lines with file and caption: texts instead of classes.")
    ] = None,
    val_fraction: Annotated[float, typer.Option(help="Of each class, when there is no val/.")] = 0.1,
    per_shard: Annotated[int, typer.Option(help="Samples of a shard.", min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the order of the samples.", min=0)] = 0,
) -> None:
    """Write pictures as WebDataset shards, for data that are streamed: tar files of samples in random order.

    Example: `nestling data shard photos/ --out shards`, then `nestling train --images shards`
    """
    from nestling.studies.sharding import shard_captions, shard_tree, tell_written

    watch = ConsoleWatch()
    if captions is None:
        written = shard_tree(folder, out, val_fraction=val_fraction, most=per_shard, seed=seed, watch=watch)
    else:
        written = {"all": shard_captions(captions, folder, out, most=per_shard, seed=seed, watch=watch)}
    tell_written(written, watch)
    if captions is None:
        watch.say(f"Next: nestling train --images {out}")
