"""``nestling check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import VECTORS, ConsoleWatch, print_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="check")(check)


def check(
    vectors: Annotated[str, typer.Argument(help=f"{VECTORS} Or postgresql://… of pgvector.")],
    queries: Annotated[
        Path | None,
        typer.Option(help="Vectors (q, d) like those to be searched for.  [default: gallery rows stand in]"),
    ] = None,
    sample: Annotated[int, typer.Option(help="Vectors that are looked at.", min=500)] = 200_000,
    count: Annotated[
        int | None, typer.Option(help="Vectors to tell costs for.  [default: those of the file]", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.", min=0)] = 0,
    everything: Annotated[bool, typer.Option("--all", help="Show codes too that others of as few bytes beat.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw recall over bytes into this .svg.")] = None,
    table: Annotated[str | None, typer.Option(help="Of the database, with or without its schema.")] = None,
    column: Annotated[str | None, typer.Option(help="Of the table.  [default: the only one of vectors]")] = None,
    sql: Annotated[Path | None, typer.Option(help="Write the statements for the database into this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as one JSON line.")] = False,
) -> None:
    """Tell what vectors are worth: whether prefixes carry more than other dims do, and which dims × bits are enough.

    Of a column of PostgreSQL it prints the statements too that search it so: an index over a prefix, a query that ranks
    its candidates by full vectors.

    Example: `nestling check vectors.npy --queries queries.npy --plot worth.svg`; `nestling check
    postgresql://localhost/wiki --table docs --column embedding`
    """
    from nestling.studies.checking import K, check_vectors, sentences
    from nestling.studies.checking import table as lines
    from nestling.studies.columns import check_column, is_database, told

    watch, there = ConsoleWatch(quiet=as_json), None
    if is_database(vectors, table, column, sql):
        there = check_column(
            vectors,
            table,
            column,
            queries=queries,
            sample=sample,
            count=count,
            seed=seed,
            plot=plot,
            sql=sql,
            watch=watch,
        )
        found = there.found
    else:
        found = check_vectors(
            Path(vectors), queries=queries, sample=sample, count=count, seed=seed, plot=plot, watch=watch
        )
    if as_json:
        print_json(found.to_json() | ({} if there is None else there.to_json()))
        return
    columns = ["dims × bits", "bytes", f"{found.count:,} take", f"recall@{K}, %", "reranked, %"]
    title = f"The true {K} found by a code alone, and by full vectors among its first 100 [95 %]"
    watch.table(title, columns, lines(found, everything=everything))
    better = "* no code of as few bytes finds more   " if everything else ""
    watch.say(f"{better}← the shortest that finds 95 % after reranking\n")
    for sentence in sentences(found):
        watch.say(sentence)
    if plot is not None:
        watch.say(f"Picture: {plot}")
    if there is not None:
        watch.say(f"{told(there)}\n")
        watch.quote(there.sql)
    if sql is not None:
        watch.say(f"Statements: {sql}")
