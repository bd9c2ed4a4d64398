"""``nestling reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="reproduce")(reproduce)


def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            help="linear, unseen-widths, adaptive-classification, retrieval, adaptive-retrieval, few-shot, classes, "
            "robustness, ablations, rates; all, which is these; or align-icons, masked-words, text-retrieval."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="icons-600, icons-1500, or a folder of one folder per class; of masked-words a file or folder of "
            "texts.  [default: icons-600, WordNet's glosses]"
        ),
    ] = None,
    scale: Annotated[str, typer.Option(help="full, or small: every row in minutes.")] = "full",
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Trainings of each model; from 3 on, two more at few dims.  [default: 3, of masked-words 1]", min=1
        ),
    ] = None,
    only_seed: Annotated[
        int | None,
        typer.Option(help="One of these trainings alone (0, 1, …), for several machines: --join makes one of them."),
    ] = None,
    join: Annotated[
        list[Path] | None,
        typer.Option(help="Train nothing: show the rows of this folder and the next ones (repeat) as one report."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report and its rows.")] = Path("report"),
    runs: Annotated[
        Path | None, typer.Option(help="Folder of the trained models; kept, and reused.  [default: in the cache]")
    ] = None,
) -> None:
    """Reproduce a table or figure of the paper: train what is missing, measure, show it beside the paper's figures.

    Interrupted, it goes on where it was. Example: `nestling reproduce linear --scale small`
    """
    from nestling.studies.reproduce.asked import Asked
    from nestling.studies.reproduce.names import reproduce as study

    watch = ConsoleWatch()
    parts = tuple(join or ())
    asked = Asked(data=data, scale=scale, seeds=seeds, only=only_seed, join=parts, out=out, runs=runs)
    study(name, asked, watch=watch)
    watch.say(f"\n  Report {out / 'index.html'} (rows beside it)")
