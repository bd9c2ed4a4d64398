"""``nestling apply``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import VECTORS, ConsoleWatch


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="apply")(apply)


def apply(
    adaptor: Annotated[Path, typer.Argument(help="Folder of `nestling adapt`.")],
    vectors: Annotated[Path, typer.Argument(help=VECTORS)],
    out: Annotated[Path, typer.Option(help="Such a file; .npy in constant memory.")],
    dim: Annotated[int | None, typer.Option(help="Cut to so many numbers, renormalised.  [default: all]")] = None,
    side: Annotated[str, typer.Option(help="query or document, where each side has its map.")] = "document",
) -> None:
    """Turn vectors by an adaptor and cut them.

    Example: `nestling apply adaptor train.npy --dim 64 --out short.npy`
    """
    from nestling.data import load_vectors
    from nestling.studies.adapting import apply_adaptor

    watch = ConsoleWatch()
    given = load_vectors(vectors, finite=False)
    apply_adaptor(adaptor, given, out, dim, side, watch)
    watch.say(f"Wrote {out}")
