"""Write an adaptor with the model of texts whose vectors it turns.

Command: ``nestling export ADAPTOR --to sentence-transformers``.
"""

from __future__ import annotations

from pathlib import Path

from nestling.adaptor import MatryoshkaAdaptor
from nestling.errors import InputError
from nestling.integrations import export_sentence_transformers
from nestling.models.encoders.text import minilm
from nestling.nesting import Nesting


def export_adaptor(adaptor: Path, model: str | None, out: Path | None) -> tuple[Path, Nesting]:
    """The folder and its nesting.

    Args:
        adaptor: a folder of `nestling adapt`.
        model: a folder, a name of the model hub, or "minilm" for the one that comes as a package.
        out: the new folder; ``model`` in the adaptor's when left out.

    Raises:
        InputError: no model, or one that the adaptor does not fit.
        CheckpointError: no adaptor, or a damaged one.
        DataError, MissingExtraError: as of `export_sentence_transformers`.
    """
    if model is None:
        raise InputError.of("--model", "the model whose vectors the adaptor turns", None, "Name its folder.")
    path = adaptor / "model" if out is None else out
    source = minilm() if model == "minilm" else model
    return path, export_sentence_transformers(source, path, adaptor=MatryoshkaAdaptor.load(adaptor))
