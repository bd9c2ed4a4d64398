"""``nestling search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import VECTORS, ConsoleWatch, print_json

_SHOWN = 20


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="search")(search)


def search(
    gallery: Annotated[Path, typer.Argument(help=f"The folder of an index. Or: {VECTORS}")],
    queries: Annotated[
        Path, typer.Argument(help="Vectors (q, d) in such a file; or - for standard input: a JSON array a line.")
    ],
    k: Annotated[
        int | None, typer.Option(help="Neighbours of each query.  [default: the plan's, or 10]", min=1)
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            help="Stages dims:keep, such as 16:200,512:10.  [default: what `nestling tune` found, else exact]"
        ),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="The true neighbours by the stored vectors.")] = False,
    among: Annotated[Path | None, typer.Option(help="A file of ids: find only these.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="cosine, ip or l2, of a file; an index has its own.  [default: cosine]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line per query.")] = False,
) -> None:
    """Find the nearest gallery vectors of each query, exactly or by a plan of prefixes.

    Example: `nestling search train.npy val.npy --plan 16:200,256:10`; in an index, with queries from another program:
    `nestling search wiki.nest - --k 5 --json < queries.json`
    """
    from nestling.studies.index_search import hit_records, hit_table, search_path

    hits, cost = search_path(gallery, queries, k=k, plan=plan, exact=exact, among=among, metric=metric)
    if as_json:
        for record in hit_records(hits):
            print_json(record)
        return
    watch = ConsoleWatch()
    watch.table("Neighbours, id:score", ["query", "best first"], hit_table(hits, _SHOWN))
    if len(hits) > _SHOWN:
        watch.say(f"… and {len(hits) - _SHOWN:,} more queries; --json gives all.")
    watch.say(cost)
