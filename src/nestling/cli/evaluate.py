"""``nestling evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import VECTORS, ConsoleWatch, print_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="evaluate")(evaluate)


def evaluate(
    gallery: Annotated[Path, typer.Argument(help=VECTORS)],
    queries: Annotated[Path, typer.Argument(help="Vectors (q, d).")],
    gallery_labels: Annotated[Path, typer.Option(help="One class per gallery vector.")],
    query_labels: Annotated[Path, typer.Option(help="One class per query.")],
    dims: Annotated[str | None, typer.Option(help="The prefixes.  [default: 8, 16, … to the width]")] = None,
    k: Annotated[int, typer.Option(help="Places of mAP and precision.", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Of the probe.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON lines.")] = False,
) -> None:
    """Measure every prefix of vectors that exist: 1-NN, a linear probe, mAP@k and precision@k.

    Example: `nestling evaluate train.npy val.npy --gallery-labels train-labels.npy --query-labels val-labels.npy`
    """
    from nestling.data import load_labels, load_vectors
    from nestling.nesting import Nesting
    from nestling.studies.vectors import evaluate_vectors

    watch = ConsoleWatch(quiet=as_json)
    base, asked = load_vectors(gallery), load_vectors(queries)
    nesting = Nesting.doubling(base.shape[1], smallest=min(8, base.shape[1])) if dims is None else Nesting.parse(dims)
    rows = evaluate_vectors(
        base, load_labels(gallery_labels), asked, load_labels(query_labels), nesting, k=k, seed=seed, watch=watch
    )
    if as_json:
        for row in rows:
            print_json(row)
    else:
        watch.prefix_table(f"{len(base):,} gallery vectors, {len(asked):,} queries, %", rows)
