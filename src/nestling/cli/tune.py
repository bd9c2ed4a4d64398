"""``nestling tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch, print_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="tune")(tune)


def tune(
    index: Annotated[Path, typer.Argument(help="The folder of an index.")],
    queries: Annotated[
        Path | None,
        typer.Argument(help="Vectors (q, d) like those to be searched for.  [default: gallery rows stand in]"),
    ] = None,
    recall: Annotated[
        float, typer.Option(help="The part of the true neighbours, or of exact search's mAP, to reach.", min=0, max=1)
    ] = 0.99,
    k: Annotated[int, typer.Option(help="Neighbours of each query.", min=1)] = 10,
    labels: Annotated[
        Path | None, typer.Option(help="One class per gallery vector: tune for mAP@k instead of neighbours.")
    ] = None,
    query_labels: Annotated[Path | None, typer.Option(help="One class per query, with --labels.")] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of queries.", min=0)] = 0,
    budget: Annotated[
        int | None, typer.Option(help="Bytes a vector that may stay in memory.  [default: 64]", min=1)
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw recall over time into this .svg or .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan and the frontier as one JSON line.")] = False,
) -> None:
    """Find the cheapest plan that reaches a wanted recall, measured on queries it was not chosen on.

    The index keeps it, with the codes that it needs, and searches by it.

    Example: `nestling tune wiki.nest queries.npy --recall 0.99 --plot frontier.svg`
    """
    from nestling.studies.tuning import frontier_table, measure, tune_index

    watch = ConsoleWatch(quiet=as_json)
    tuned = tune_index(
        index,
        queries,
        recall=recall,
        k=k,
        labels=labels,
        query_labels=query_labels,
        seed=seed,
        budget=budget,
        plot=plot,
        watch=watch,
    )
    if as_json:
        print_json(tuned.to_json())
        return
    columns = ["plan", f"{measure(tuned)} [95 %]", "MFLOPs", "read", "a query"]
    watch.table("The plans of which none is both faster and better", columns, frontier_table(tuned))
    for warning in tuned.warnings:
        watch.say(warning)
    watch.say(f"Chosen, and used from now on: {tuned.plan}")
    if plot is not None:
        watch.say(f"Picture: {plot}")
    watch.say(f"Next: nestling search {index} {queries or 'QUERIES'} --k {k}")
