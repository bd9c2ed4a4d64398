"""The command line: one file per command. Parse, call, print; no logic."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from nestling.cli import (
    adapt,
    apply,
    check,
    data,
    demo,
    encode,
    evaluate,
    export,
    finish,
    index,
    predict,
    recipe,
    reproduce,
    search,
    train,
    tune,
)
from nestling.errors import NestlingError, missing_extra

app = typer.Typer(
    name="nestling",
    help="Train, measure and search Matryoshka embeddings: vectors whose every prefix is an embedding.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for command in (
    *(demo, data, train, finish, encode, predict, export, evaluate, check, adapt, apply),
    *(index, tune, search, reproduce, recipe),
):
    command.add_to(app)


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Print it.")] = False) -> None:
    """What stands before the command."""
    if version:
        from nestling import __version__

        typer.echo(f"nestling {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command; an error of ours is one sentence and exit code 2, an interrupt is exit code 130."""
    try:
        app()
    except (NestlingError, ImportError) as error:
        told = error if isinstance(error, NestlingError) else missing_extra(error)
        if told is None:
            raise
        sys.stderr.write(f"nestling: {told}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write("nestling: interrupted.\n")
        raise SystemExit(130) from None
