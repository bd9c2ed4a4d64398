"""``nestling export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestling.cli.console import ConsoleWatch, print_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="export")(export)


def export(
    run: Annotated[Path, typer.Argument(help="A run of `nestling train` or `finish`; an adaptor of `nestling adapt`.")],
    to: Annotated[str, typer.Option(help="onnx, or sentence-transformers for an adaptor.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="The file or folder.  [default: RUN/model.onnx]")] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose vectors the adaptor turns: a folder, a name of the hub, or minilm.")
    ] = None,
    accuracy: Annotated[float, typer.Option(help="What its cascade promises, between 0 and 1.")] = 0.95,
    plain: Annotated[bool, typer.Option("--no-cascade", help="Embeddings and logits only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as a JSON line.")] = False,
) -> None:
    """Write a trained model as a file for other programs: every prefix's embedding and logits, and the cascade.

    From bytes to answers in one graph, compared with the model before it is kept. The cascade saves the work of heads,
    not of the encoder.

    Example: `nestling export runs/photos --to onnx --accuracy 0.9`; an adaptor with its model of texts by
    `nestling export adaptor --to sentence-transformers --model minilm --out nested`
    """
    if to == "sentence-transformers":
        _texts(run, model, out, as_json=as_json)
        return
    from nestling.studies.images.export import export_run

    done = export_run(run, out, to=to, accuracy=None if plain else accuracy)
    promised = None if done.cascade is None else done.cascade.promised
    if as_json:
        print_json({"written": str(done.path), "promised": promised, "difference": done.difference})
        return
    watch = ConsoleWatch()
    dims = ", ".join(map(str, done.nesting))
    watch.say(f"Wrote {done.path}: from images to embedding, embedding_m and logits_m, m = {dims}")
    if promised is not None:
        watch.say(f"class, probability and dims: the cascade that promises an accuracy of {promised:g}")
    if done.difference is None:
        watch.say("Not compared with the model: onnxruntime is not installed (pip install 'nestling[onnx]')")
    else:
        watch.say(f"Compared with the model: at most {done.difference:.1g} of an output's largest number apart")


def _texts(adaptor: Path, model: str | None, out: Path | None, *, as_json: bool) -> None:
    from nestling.studies.text_export import export_adaptor

    path, nesting = export_adaptor(adaptor, model, out)
    if as_json:
        print_json({"written": str(path), "dims": list(nesting.dims)})
        return
    middle = nesting.dims[len(nesting) // 2]
    watch = ConsoleWatch()
    watch.say(f"Wrote {path}: SentenceTransformer({str(path)!r}, truncate_dim={middle})")
    watch.say("Its vectors are cut but not of length one again: encode(texts, normalize_embeddings=True)")
