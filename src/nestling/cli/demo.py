"""``nestling demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="demo")(demo)


def demo(
    quick: Annotated[bool, typer.Option(help="A part of the images and two epochs: under 2 minutes.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("report"),
    runs: Annotated[
        Path | None, typer.Option(help="Folder of the trained runs; kept, and reused.  [default: runs/demo]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and intervals.", min=0)] = 0,
) -> None:
    """Train a nested network on 70,000 real images, measure every prefix, search coarse to fine.

    Takes about 8 minutes on 2 cores and ends with a report to show around. Example: `nestling demo --quick`
    """
    from nestling.studies import demo as study
    from nestling.studies.page import LINEAR, ONE_NN, PROBE, accuracy_table, difference_sentences, retrieval_table

    watch = ConsoleWatch()
    folder = runs or Path("runs") / ("demo-quick" if quick else "demo") / f"seed-{seed}"
    report = study.run(study.get_config(quick=quick, seed=seed), out, folder, watch=watch)
    for metric in (LINEAR, PROBE, ONE_NN):
        watch.table(f"{metric}, %", *accuracy_table(report, metric))
    for sentence in difference_sentences(report):
        watch.say(sentence)
    watch.say(f"{len(report.classes)} classes fit into {len(report.classes) - 1} dimensions, so SVD is strong here.")
    watch.table("Retrieval", *retrieval_table(report, brief=True))
    watch.say(f"\nDone in {report.seconds / 60:.1f} minutes.")
    watch.say(f"  Report          {out / 'index.html'} (rows in {out / 'report.json'})")
    watch.say(f"  Trained model   {folder / 'mrl' / 'model'}")
    watch.say("  Your own images nestling train --images FOLDER   (one folder per class of PNG or JPEG)")
