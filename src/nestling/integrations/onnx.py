"""A classifier of pictures as an ONNX file: one graph from bytes to every prefix's answers, and all of it described.

Whoever runs the file needs no Nestling: bytes go in unscaled, unit embeddings and logits of every prefix come out, and
with a cascade its class, how sure it is, and the dims that answered.
"""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nestling.errors import DataError, ExportError, InputError, MissingExtraError, require_extra
from nestling.evaluation.cascade import Cascade
from nestling.files import write_file
from nestling.models import BertEncoder, Classifier
from nestling.nesting import Nesting, prefix, truncate

KEY = "nestling"
FORMAT = 1
OPSET = 18
_LARGEST = 2_000_000_000  # bytes: protobuf ends at 2³¹
_PICTURES, _NOISE = 5, 1e-4  # compared with the model: how many, and what sums in another order may differ by


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnnxDescription:
    """What a file says of itself, as JSON under the key "nestling" of its metadata.

    Attributes:
        encoder: its name.
        nesting, tied: of the head.
        classes: their names, in the order of the logits.
        shape: (channels, height, width) of the pictures.
        inside: what part of a picture's shorter side is seen: the centre, a square.
        cascade: behind `class`, `probability` and `dims`, with the accuracy that it promises; None without.
    """

    encoder: str
    nesting: Nesting
    tied: bool
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    inside: float = 1.0
    cascade: Cascade | None = None

    def to_json(self) -> str:
        """One line; `describe_onnx` reads it back."""
        about = {
            "format": FORMAT,
            "encoder": self.encoder,
            "nesting": {"dims": self.nesting.dims, "weights": self.nesting.weights},
            "tied": self.tied,
            "classes": self.classes,
            "images": {"shape": self.shape, "inside": self.inside},
            "cascade": None if self.cascade is None else _cascade_fields(self.cascade),
        }
        return json.dumps(about, ensure_ascii=False, allow_nan=False)

    @classmethod
    def of_json(cls, text: str) -> OnnxDescription:
        """The inverse of `to_json`; a KeyError, TypeError or ValueError for what that did not write."""
        about = json.loads(text)
        if about["format"] > FORMAT:
            raise ValueError(f"format {about['format']} is newer than the {FORMAT} known here")
        nesting = Nesting(tuple(about["nesting"]["dims"]), tuple(about["nesting"]["weights"]))
        channels, height, width = about["images"]["shape"]
        return cls(
            encoder=about["encoder"],
            nesting=nesting,
            tied=about["tied"],
            classes=tuple(about["classes"]),
            shape=(channels, height, width),
            inside=about["images"]["inside"],
            cascade=None if about["cascade"] is None else _cascade_of(about["cascade"]),
        )


def export_onnx(
    model: Classifier,
    path: Path | str,
    *,
    shape: tuple[int, int, int],
    inside: float = 1.0,
    cascade: Cascade | None = None,
) -> float | None:
    """Write the file, whole or not at all, once it is checked and answers as the model does.

    The input is ``images``, (batch, channels, height, width) bytes. The outputs are ``embedding`` (batch, d), as the
    model gives it; for each m of the nesting ``embedding_m`` (batch, m), cut and of length one, and ``logits_m``
    (batch, c); with a cascade also ``class``, ``probability`` and ``dims``, (batch,) each.

    Args:
        model: a classifier of pictures; stays as it is.
        path: the file.
        shape: (channels, height, width) of the pictures.
        inside: as of `OnnxDescription`.
        cascade: of the model's nesting, or of one of its prefixes.

    Returns:
        The largest difference from the model on random pictures, over all float outputs, as a part of the output's
        largest number (of the features', for embeddings of length one); None if onnxruntime is not installed and
        nothing was compared.

    Raises:
        InputError: a model of texts or of more than 2 GB, or a cascade of another nesting.
        ExportError: the graph cannot be made, or does not answer as the model does.
        DataError: the file cannot be written.
        MissingExtraError: onnx or onnxscript is not installed.
    """
    _check(model, Path(path), cascade)
    about = OnnxDescription(
        encoder=model.encoder.name,
        nesting=model.head.nesting,
        tied=model.head.tied,
        classes=model.classes,
        shape=shape,
        inside=inside,
        cascade=cascade,
    )
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (_PICTURES, *shape), dtype=torch.uint8, generator=generator).to(model.device)
    graph, was_training = _Graph(model, cascade), model.training
    try:
        content = _formed(graph.eval(), images, about)
        difference = _difference(graph, images, content)
    finally:
        model.train(was_training)
    write_file(Path(path), content)
    return difference


def describe_onnx(path: Path | str) -> OnnxDescription:
    """What a file of `export_onnx` says of itself.

    Raises:
        DataError: there is no such file, or it is none of `export_onnx`.
        MissingExtraError: onnx is not installed.
    """
    onnx = require_extra("onnx")
    try:
        entries = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
        if KEY not in entries:
            raise DataError(f"{path} is no ONNX file of Nestling. Give a file of `nestling export`.")
        return OnnxDescription.of_json(entries[KEY])
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Give a file of `nestling export`.") from None
    except Exception as error:  # protobuf raises its own for bytes that are none
        raise DataError(f"{path} is no ONNX file of Nestling ({_line(error)}). Export the model again.") from error


class _Graph(nn.Module):
    """What the file computes."""

    def __init__(self, model: Classifier, cascade: Cascade | None) -> None:
        super().__init__()
        self.model, self.cascade = model, cascade

    def names(self) -> list[str]:
        """Of the outputs, in order."""
        dims = self.model.head.nesting.dims
        answer = () if self.cascade is None else ("class", "probability", "dims")
        return ["embedding", *(f"embedding_{m}" for m in dims), *(f"logits_{m}" for m in dims), *answer]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The outputs."""
        features = self.model(images)
        logits = self.model.head(features)
        units = (truncate(features, m) for m in self.model.head.nesting)
        answer = () if self.cascade is None else _answered(logits, self.cascade)
        return (features, *units, *logits, *answer)


def _answered(logits: Sequence[Tensor], cascade: Cascade) -> tuple[Tensor, Tensor, Tensor]:
    """`Cascade.answers` in torch: class, probability and dims of each row."""
    heard: list[tuple[Tensor, Tensor, Tensor]] = []
    logs = [z.log_softmax(dim=1) for z in logits[: len(cascade.nesting)]]
    for m, weights in zip(cascade.nesting, cascade.weights, strict=True):
        pool = sum((w * log for w, log in zip(weights, logs, strict=False) if w), torch.zeros_like(logs[0]))
        sure, predicted = pool.softmax(dim=1).max(dim=1)
        heard.append((predicted, sure, torch.full_like(predicted, m)))
    found = heard[-1]
    for own, threshold in reversed(list(zip(heard, cascade.thresholds, strict=False))):
        answers = own[1] > threshold
        predicted, sure, dims = (torch.where(answers, o, f) for o, f in zip(own, found, strict=True))
        found = predicted, sure, dims
    return found


def _check(model: Classifier, path: Path, cascade: Cascade | None) -> None:
    if path.is_dir():
        raise InputError.of("path", "a file", f"the folder {path}")
    if isinstance(model.encoder, BertEncoder):
        raise InputError.of("model", "a classifier of pictures", f"one of texts ({model.encoder.name})")
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    if size > _LARGEST:
        raise InputError.of("model", "of at most 2 GB, what one ONNX file can hold", f"{size / 1e9:.1f} GB")
    dims = model.head.nesting.dims
    if cascade is not None and cascade.nesting.dims != dims[: len(cascade.nesting)]:
        raise InputError.of("cascade", f"of the model's nesting {model.head.nesting}", str(cascade.nesting))


def _formed(graph: _Graph, images: Tensor, about: OnnxDescription) -> bytes:
    """The file's bytes, checked by onnx."""
    onnx = require_extra("onnx")
    require_extra("onnxscript")
    try:
        with _quiet(), torch.no_grad():
            program: Any = torch.onnx.export(
                graph,
                (images,),
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=graph.names(),
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                opset_version=OPSET,
            )
        proto = program.model_proto
        _forget_places(proto)
        onnx.helper.set_model_props(proto, {KEY: about.to_json()})
        content: bytes = proto.SerializeToString(deterministic=True)
        onnx.checker.check_model(content, full_check=True)
    except Exception as error:  # torch.export raises what a network's own code leads to
        why = f"the encoder {about.encoder} cannot be exported ({_line(error)})"
        raise ExportError(f"{why}. Its forward must be one that torch.export can follow.") from error
    return content


def _forget_places(proto: Any) -> None:
    """The exporter writes the lines of code that made a node beside it: this machine's paths, half of a small file."""
    parts = (proto.graph, *proto.graph.node, *proto.graph.initializer, *proto.graph.value_info)
    for part in (*parts, *proto.graph.input, *proto.graph.output, *proto.functions):
        del part.metadata_props[:]
        part.doc_string = ""


def _difference(graph: _Graph, images: Tensor, content: bytes) -> float | None:
    try:
        runtime = require_extra("onnxruntime")
    except MissingExtraError:
        return None
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        wanted = [t.cpu().numpy() for t in graph(images)]
    found = session.run(graph.names(), {"images": images.cpu().numpy()})
    worst = 0.0
    for name, ours, theirs in zip(graph.names(), wanted, found, strict=True):
        if ours.dtype != np.float32:  # where a threshold is met but for noise, class and dims may differ
            continue
        apart = _apart(name, ours, theirs, wanted[0])
        if not apart <= _NOISE:
            told = f"{name} of the ONNX graph differs from the model's by {apart:.1g} of its largest number"
            raise ExportError(f"{told}, so nothing was written. Try other versions of torch and onnxruntime.")
        worst = max(worst, apart)
    return worst


def _apart(name: str, ours: np.ndarray, theirs: np.ndarray, features: np.ndarray) -> float:
    """The largest difference, as a part of what the noise of an output follows."""
    largest = float(np.abs(ours).max())
    kind, _, m = name.partition("_")
    if kind == "embedding" and m:  # of length one again: a prefix of nearly zeros has a direction of nothing but noise
        length = np.linalg.norm(prefix(features, int(m)), axis=1, keepdims=True)
        ours, theirs, largest = ours * length, theirs * length, float(np.abs(features).max())
    elif kind != "embedding":  # a softmax does not see less than that
        largest = max(largest, 1.0)
    return float(np.abs(ours - theirs).max()) / max(largest, 1e-12)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of libraries that we do not ask for, such as torchvision."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _cascade_fields(cascade: Cascade) -> dict[str, Any]:
    """A threshold above 1, of a prefix that never answers, is null: JSON knows no infinity."""
    return {
        "dims": cascade.nesting.dims,
        "thresholds": [t if t <= 1 else None for t in cascade.thresholds],
        "weights": cascade.weights,
        "promised": cascade.promised,
    }


def _cascade_of(fields: dict[str, Any]) -> Cascade:
    thresholds = tuple(math.inf if t is None else t for t in fields["thresholds"])
    nesting = Nesting(tuple(fields["dims"]))
    return Cascade(nesting, thresholds, tuple(map(tuple, fields["weights"])), fields["promised"])


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:160] or type(error).__name__
