"""``nestling adapt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import VECTORS, ConsoleWatch, print_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="adapt")(adapt)


def adapt(
    vectors: Annotated[Path, typer.Argument(help=VECTORS)],
    out: Annotated[Path, typer.Option(help="Folder of the adaptor: new, or one to replace.")],
    labels: Annotated[Path | None, typer.Option(help="One class per vector.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="Vectors (n, d), row i belonging to row i.")] = None,
    kind: Annotated[str, typer.Option(help="rotation: full width stays; residual: it changes too.")] = "rotation",
    dims: Annotated[str | None, typer.Option(help="The prefixes.  [default: 8, 16, … to the width]")] = None,
    steps: Annotated[int, typer.Option(help="Of learning, at most.", min=1)] = 400,
    separate: Annotated[bool, typer.Option("--separate", help="A residual map for each side of the pairs.")] = False,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON lines.")] = False,
) -> None:
    """Make vectors that exist nested: learn a map after which their short prefixes are good embeddings.

    Ends with a table, on vectors that were held out: each prefix as it was, by PCA, and adapted.

    Example: `nestling adapt train.npy --out adaptor`; better with classes (`--labels train-labels.npy`) or with pairs
    (`nestling adapt queries.npy --pairs documents.npy --out adaptor`)
    """
    from nestling.adaptor import MatryoshkaAdaptor
    from nestling.data import load_labels, load_vectors
    from nestling.errors import InputError
    from nestling.studies.adapting import Given, adapt_vectors

    if labels is not None and pairs is not None:
        raise InputError.of("--labels and --pairs", "one of them", "both")
    watch = ConsoleWatch(quiet=as_json)
    given = Given(
        load_vectors(vectors, finite=False),
        None if labels is None else load_labels(labels),
        None if pairs is None else load_vectors(pairs, finite=False),
    )
    adaptor = MatryoshkaAdaptor(kind, nesting=dims, steps=steps, separate=separate, random_state=seed)
    rows = adapt_vectors(given, out, adaptor, seed=seed, watch=watch)
    if as_json:
        for row in rows:
            print_json(row)
        return
    watch.say(f"Adaptor {out}")
    watch.say(f"Next: nestling apply {out} {vectors} --dim 64 --out short.npy")
