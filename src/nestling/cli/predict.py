"""``nestling predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch, print_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="predict")(predict)


def predict(
    pictures: Annotated[Path, typer.Argument(help="A folder of pictures in any order, or one picture.")],
    run: Annotated[Path, typer.Option(help="Of `nestling train` or `nestling finish`.")] = Path("runs/images"),
    accuracy: Annotated[float, typer.Option(help="To promise, between 0 and 1.")] = 0.95,
    out: Annotated[Path, typer.Option(help="CSV: path, class, probability, dims.")] = Path("predictions.csv"),
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable picture.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as a JSON line.")] = False,
) -> None:
    """Classify pictures by a cascade: each by the first prefix that is sure enough for the wanted accuracy.

    The accuracy is promised, with 95 % confidence, for pictures like those held out in training. A cascade saves the
    work of heads, not of the encoder, which runs whole for every picture.

    Example: `nestling predict photos/new --run runs/photos --accuracy 0.9`
    """
    from nestling.studies.images.predict import predict_pictures

    watch = ConsoleWatch(quiet=as_json)
    found = predict_pictures(pictures, run, out, accuracy=accuracy, strict=strict, watch=watch)
    if as_json:
        print_json({"written": str(out), **found.to_json()})
        return
    count = int(found.answered.sum())
    rows = [[str(m), f"{n:,}", f"{100 * n / count:.1f}"] for m, n in zip(found.dims, found.answered, strict=True)]
    watch.table("Answered by", ["dims", "pictures", "%"], rows)
    watch.say(f"Expected dims {found.expected_dims:.1f} of {found.dims[-1]}")
    watch.say(f"Promised: at least {100 * accuracy:g} % right (confidence 95 %), of pictures like those held out")
    if found.first is not None:
        first = f"{found.first.path}: {found.first.reason}"
        watch.say(f"Skipped {found.unreadable:,} unreadable files, the first: {first}")
    watch.say(f"Wrote {out}: {count:,} pictures")
