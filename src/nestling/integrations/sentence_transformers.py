"""sentence-transformers: a nested loss for its trainer, and folders that it loads as they are."""

from __future__ import annotations

import importlib
import json
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nestling.adaptor import MatryoshkaAdaptor
from nestling.adaptor.maps import Rotation
from nestling.errors import DataError, InputError, ShapeError, require_extra
from nestling.files import sync_folder
from nestling.losses import contrastive
from nestling.models.encoders.architecture import quiet
from nestling.nesting import Nesting


class NestedContrastiveLoss(nn.Module):
    """``MatryoshkaLoss(model, MultipleNegativesRankingLoss(model, scale), dims)`` of sentence-transformers, fused over
    rings: the same value and gradients for what its widest prefix costs, and nothing is patched into the model.

    Columns of the data set are anchor, positive and any number of negatives.

    Args:
        model: a `SentenceTransformer`.
        nesting: the prefixes and their weights; its width at most the model's.
        scale: what cosines are multiplied by, one over the temperature.
        symmetric: hold each positive against all anchors too, as ALIGN and CLIP do.

    Raises:
        InputError: the scale is not positive, or the nesting is wider than the model.
    """

    def __init__(self, model: nn.Module, nesting: Nesting, *, scale: float = 20.0, symmetric: bool = False) -> None:
        super().__init__()
        if not scale > 0:
            raise InputError.of("scale", "positive", scale)
        width = _width(model)
        if width is not None and nesting.width > width:
            raise InputError.of("nesting", f"at most {width} wide, as the model", nesting.width)
        self.model, self.nesting, self.scale, self.symmetric = model, nesting, scale, symmetric

    def forward(self, sentence_features: Iterable[Mapping[str, Any]], labels: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Raises:
            ShapeError: fewer than two columns.
        """
        del labels  # a row belongs to itself
        columns = [self.model(each)["sentence_embedding"] for each in sentence_features]
        return self.of(columns)

    def of(self, columns: Sequence[Float[Tensor, "b _"]]) -> Float[Tensor, ""]:
        """The loss of embeddings: anchors, positives, and negatives if there are any; errors as of `forward`."""
        if len(columns) < 2:
            raise ShapeError.of("columns", "anchor, positive and perhaps negatives", f"{len(columns)}")
        anchors, positives, *more = (column[:, : self.nesting.width] for column in columns)
        negatives = torch.cat(more) if more else None
        how = {"negatives": negatives, "symmetric": self.symmetric}
        return contrastive(anchors, positives, self.nesting, 1 / self.scale, **how).total

    def get_config_dict(self) -> dict[str, Any]:
        """What the trainer writes into the model card."""
        return {
            "scale": self.scale,
            "symmetric": self.symmetric,
            "matryoshka_dims": list(self.nesting.dims),
            "matryoshka_weights": list(self.nesting.weights),
        }


def export_sentence_transformers(
    source: Path | str, path: Path, *, adaptor: MatryoshkaAdaptor | None = None, nesting: Nesting | None = None
) -> Nesting:
    """Write a folder that ``SentenceTransformer(path, truncate_dim=64)`` loads: the model of `source`, the adaptor as
    dense layers behind it, and vectors of length one.

    ``encode(…, normalize_embeddings=True)`` then gives `nestling.truncate` of the same vectors; without it
    sentence-transformers cuts and leaves what remains shorter than one. The nesting stands in the model card, and in
    ``config.json`` as vLLM and text-embeddings-inference read it (``is_matryoshka``, ``matryoshka_dimensions``).

    Args:
        source: a folder of sentence-transformers or transformers, or a name of the model hub.
        path: the new folder.
        adaptor: of the model's vectors, with one map for both sides. None leaves them.
        nesting: of the vectors; the adaptor's when left out.

    Returns:
        The nesting.

    Raises:
        InputError: an adaptor or a nesting that does not fit the model, or neither.
        DataError: the source cannot be read, or the folder is not empty or cannot be written.
        MissingExtraError: sentence-transformers is not installed.
    """
    library: Any = require_extra("sentence_transformers")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(f"{path} is there already. Choose another folder.")
    chosen = nesting if nesting is not None or adaptor is None else adaptor.nesting_
    if chosen is None:
        raise InputError.of("nesting", "given where there is no adaptor", None)
    layers = [] if adaptor is None else _layers(adaptor)
    try:
        with quiet():
            model = library.SentenceTransformer(str(source), device="cpu")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{source} cannot be read as a model of texts ({_line(error)}).") from error
    width = _width(model)
    if chosen.width != width:
        raise InputError.of("nesting", f"{width} wide, as the model's vectors", chosen.width)
    modules = [module for module in model if type(module).__name__ != "Normalize"]
    whole = library.SentenceTransformer(modules=[*modules, *layers, _parts().Normalize()], device="cpu")
    _written(whole, path, chosen, Path(str(source)).name)
    return chosen


def _layers(adaptor: MatryoshkaAdaptor) -> list[nn.Module]:
    """Dense layers that do what the adaptor's map does.

    A residual map has a linear part beside its hidden layer; behind a ReLU x is max(0, x) - max(0, -x), so two dense
    layers hold both.
    """
    found, *others = adaptor.maps_
    if others:
        raise InputError.of("adaptor", "one map for both sides", "a map for each", "Learn it without --separate.")
    if isinstance(found, Rotation):
        return [_dense(found.matrix, None, nn.Identity())]
    d = len(found.matrix)
    eye, nothing = np.eye(d, dtype=np.float32), np.zeros(2 * d, np.float32)
    first = np.concatenate([eye, -eye, found.into], axis=1), np.concatenate([nothing, found.into_bias])
    second = np.concatenate([found.matrix, -found.matrix, found.out]), found.out_bias
    return [_dense(*first, nn.ReLU()), _dense(*second, nn.Identity())]


def _dense(matrix: np.ndarray, bias: np.ndarray | None, activation: nn.Module) -> nn.Module:
    """x · matrix + bias."""
    dense = _parts().Dense(*matrix.shape, bias=bias is not None, activation_function=activation)
    with torch.no_grad():
        dense.linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(matrix.T)))
        if bias is not None:
            dense.linear.bias.copy_(torch.from_numpy(bias))
    return dense


def _width(model: Any) -> int | None:
    """Of its vectors; the method has another name in the library's releases before 5.4."""
    ask = getattr(model, "get_embedding_dimension", None) or getattr(model, "get_sentence_embedding_dimension", None)
    return None if ask is None else ask()


def _parts() -> Any:
    """The library's layers; their place has another name in the library's releases before 5.4."""
    try:
        return importlib.import_module("sentence_transformers.sentence_transformer.modules")
    except ImportError:
        return importlib.import_module("sentence_transformers.models")


def _written(model: Any, path: Path, nesting: Nesting, name: str) -> None:
    """All of the folder, or nothing."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}.unfinished")
    try:
        model.save_pretrained(str(draft), create_model_card=False)
        config = draft / "config.json"
        fields = json.loads(config.read_text()) if config.exists() else {}
        fields |= {"is_matryoshka": True, "matryoshka_dimensions": list(nesting.dims)}
        config.write_text(json.dumps(fields, indent=2) + "\n")
        (draft / "README.md").write_text(_card(nesting, name))
        if path.exists():
            path.rmdir()
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _card(nesting: Nesting, name: str) -> str:
    dims = ", ".join(map(str, nesting.dims))
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [sentence-transformers, feature-extraction, matryoshka]
---

# {name}, nested

The first {dims} numbers of each vector are each an embedding (Kusupati et al. 2022).

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER", truncate_dim={nesting.dims[len(nesting) // 2]})
vectors = model.encode(["a text"], normalize_embeddings=True)  # cut, and of length one again
```
"""


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
