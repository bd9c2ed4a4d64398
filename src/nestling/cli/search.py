"""``nestling search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch, print_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="search")(search)


def search(
    gallery: Annotated[Path, typer.Argument(help="Vectors (n, d): .npy, .npz, .safetensors or .parquet.")],
    queries: Annotated[Path, typer.Argument(help="Vectors (q, d).")],
    k: Annotated[
        int | None, typer.Option(help="Neighbours of each query.  [default: 10, or the plan's]", min=1)
    ] = None,
    plan: Annotated[
        str | None, typer.Option(help="Stages dims:keep, such as 16:200,512:10; without one, exact.")
    ] = None,
    metric: Annotated[str, typer.Option(help="cosine, ip or l2.")] = "cosine",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line per query.")] = False,
) -> None:
    """Find the nearest gallery vectors of each query, exactly or by a plan of prefixes.

    Example: `nestling search train.npy val.npy --plan 16:200,256:10`
    """
    from nestling.data import load_vectors
    from nestling.studies.vectors import search_vectors

    hits, cost = search_vectors(load_vectors(gallery), load_vectors(queries), k=k, plan=plan, metric=metric)
    if as_json:
        for query, (ids, scores) in enumerate(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)):
            print_json({"query": query, "ids": ids, "scores": scores})
        return
    watch = ConsoleWatch()
    shown = min(len(hits), 20)
    rows = [
        [str(q), "  ".join(f"{i}:{s:.4f}" for i, s in zip(hits.ids[q], hits.scores[q], strict=True))]
        for q in range(shown)
    ]
    watch.table("Neighbours, id:score", ["query", "best first"], rows)
    if shown < len(hits):
        watch.say(f"… and {len(hits) - shown:,} more queries; --json gives all.")
    watch.say(f"{cost:.2f} MFLOPs per query, as the paper counts")
