"""``nestling recipe``."""

from __future__ import annotations

from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch, print_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="recipe")(recipe)


def recipe(
    name: Annotated[str, typer.Argument(help="Such as imagenet_resnet50; a wrong one lists them.")],
    settings: Annotated[list[str] | None, typer.Argument(help="More of what --set takes.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="name=value: data=FOLDER runs it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in its `out`.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON lines.")] = False,
) -> None:
    """Run one of the paper's trainings; without settings, tell what it is and what can be set.

    Example: `nestling recipe imagenet_resnet50`, then
    `torchrun --nproc-per-node 8 -m nestling recipe imagenet_resnet50 --set data=/data/imagenet epochs=40`
    """
    from nestling.studies.recipes.command import recipe_of, run_recipe, told

    watch = ConsoleWatch(quiet=as_json)
    chosen = [*(changes or []), *(settings or [])]
    if not chosen:
        found, about = recipe_of(name)
        watch.say(about + "\n\nSettings:")
        for key, value in told(found):
            watch.say(f"  {key}={value}")
        return
    run, rows = run_recipe(name, chosen, resume=resume, watch=watch)
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        watch.prefix_table("Validation, %", rows)
        watch.say(f"Run: {run.out}")
