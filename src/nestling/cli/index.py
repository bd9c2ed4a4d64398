"""``nestling index``: create, add, delete, info, verify, partition, compact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import VECTORS, ConsoleWatch, print_json

Folder = Annotated[Path, typer.Argument(help="The folder of the index.")]
Vectors = Annotated[Path, typer.Argument(help=VECTORS)]
Ids = Annotated[Path | None, typer.Option(help="One whole number or text per vector.  [default: numbered on from 0]")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as a JSON line.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    group = typer.Typer(help="Make an index on disk, change it, look at it.", no_args_is_help=True)
    for command in (create, add, delete, info, verify, partition, compact):
        group.command()(command)
    app.add_typer(group, name="index")


def create(
    index: Folder,
    vectors: Vectors,
    ids: Ids = None,
    nesting: Annotated[
        str | None, typer.Option(help="The prefixes to store; the last is the width.  [default: 8, 16, … to the width]")
    ] = None,
    metric: Annotated[str, typer.Option(help="cosine, ip or l2.")] = "cosine",
    dtype: Annotated[str, typer.Option(help="Of the stored numbers: float16 or float32.")] = "float16",
    as_json: AsJson = False,
) -> None:
    """Make an index of the vectors in a file; it says first what that will take.

    .npy and .safetensors are read as they are written, in little memory; others are read into memory first.

    Example: `nestling index create wiki.nest train.npy --metric cosine`
    """
    from nestling.studies.indexes import create_index
    from nestling.studies.units import in_bytes, in_time

    watch = ConsoleWatch(quiet=as_json)
    made = create_index(index, vectors, ids=ids, nesting=nesting, metric=metric, dtype=dtype, watch=watch)
    if as_json:
        print_json(made)
        return
    watch.say(f"{made['vectors']:,} vectors, {in_bytes(made['disk_bytes'])}, in {in_time(made['seconds'])}.")
    watch.say(f"Next: nestling tune {index} QUERIES   (finds the plan to search with)")
    watch.say(f"      nestling search {index} QUERIES")


def add(
    index: Folder,
    vectors: Vectors,
    ids: Ids = None,
    upsert: Annotated[
        bool, typer.Option("--upsert", help="Replace the vectors whose ids are there; needs --ids.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add the vectors in a file, all of them or none. When it ends they are safe on the disk.

    Example: `nestling index add wiki.nest more.npy --ids more-ids.npy`
    """
    from nestling.studies.indexes import add_vectors
    from nestling.studies.units import in_time

    watch = ConsoleWatch(quiet=as_json)
    done = add_vectors(index, vectors, ids=ids, upsert=upsert, watch=watch)
    if as_json:
        print_json(done)
        return
    replaced = f", {done['replaced']:,} replaced" if upsert else ""
    watch.say(f"{done['added']:,} added{replaced} in {in_time(done['seconds'])}; {done['vectors']:,} vectors now.")


def delete(
    index: Folder,
    given: Annotated[list[str] | None, typer.Argument(metavar="ID", help="The ids of the vectors.")] = None,
    ids: Annotated[Path | None, typer.Option(help="The ids in a file, instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """Delete vectors by their ids; those that are not there are counted.

    Example: `nestling index delete wiki.nest 17 42`
    """
    from nestling.studies.indexes import delete_vectors

    watch = ConsoleWatch(quiet=as_json)
    done = delete_vectors(index, given or [], ids)
    if as_json:
        print_json(done)
        return
    watch.say(f"{done['deleted']:,} of {done['asked']:,} deleted; {done['vectors']:,} vectors left.")
    watch.say(f"Next, to free their space: nestling index compact {index}")


def info(index: Folder, as_json: AsJson = False) -> None:
    """Show what an index holds and what it takes.

    Example: `nestling index info wiki.nest`
    """
    from nestling.studies.indexes import describe_index, info_table

    watch = ConsoleWatch(quiet=as_json)
    found = describe_index(index)
    if as_json:
        print_json(found)
    else:
        watch.table(str(index), ["", ""], info_table(found))


def verify(index: Folder, as_json: AsJson = False) -> None:
    """Read every byte of an index and compare it with its checksum.

    Example: `nestling index verify wiki.nest`
    """
    from nestling.studies.indexes import verify_index
    from nestling.studies.units import in_bytes, in_time

    watch = ConsoleWatch(quiet=as_json)
    done = verify_index(index)
    if as_json:
        print_json(done)
        return
    size = in_bytes(done["bytes"])
    watch.say(f"{done['vectors']:,} vectors, {size} read in {in_time(done['seconds'])}: every byte as it was written.")


def partition(
    index: Folder,
    cells: Annotated[int | None, typer.Option(help="How many.  [default: about 3 √n of n vectors]", min=1)] = None,
    dims: Annotated[
        int | None, typer.Option(help="The stored prefix that makes them.  [default: the first of 128 or more]", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first centres.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Group the vectors into cells, so that a plan may visit a few of them (probe=).

    Example: `nestling index partition wiki.nest --cells 64 --dims 32`
    """
    from nestling.studies.indexes import partition_index
    from nestling.studies.units import in_time

    watch = ConsoleWatch(quiet=as_json)
    done = partition_index(index, cells=cells, dims=dims, seed=seed, watch=watch)
    if as_json:
        print_json(done)
        return
    watch.say(
        f"{done['vectors']:,} vectors in {done['cells']:,} cells by {done['dims']} dims, in {in_time(done['seconds'])}."
    )
    watch.say(f"Next: nestling tune {index} QUERIES   (finds how many cells to visit)")


def compact(index: Folder, as_json: AsJson = False) -> None:
    """Rewrite an index without its deleted vectors, as one piece.

    Example: `nestling index compact wiki.nest`
    """
    from nestling.studies.indexes import compact_index
    from nestling.studies.units import in_bytes, in_time

    watch = ConsoleWatch(quiet=as_json)
    done = compact_index(index, watch=watch)
    if as_json:
        print_json(done)
        return
    before, after = in_bytes(done["bytes_before"]), in_bytes(done["bytes"])
    watch.say(f"{done['vectors']:,} vectors, {before} → {after}, in {in_time(done['seconds'])}.")
