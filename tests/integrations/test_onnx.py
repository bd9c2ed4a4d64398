"""The exported file against the model, at every prefix and for every encoder of pictures."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from nestling.errors import DataError, ExportError, InputError, MissingExtraError
from nestling.evaluation.cascade import Cascade
from nestling.integrations import describe_onnx, export_onnx
from nestling.integrations.onnx import _apart
from nestling.models import Classifier, Encoder, NestedLinear, ResidualEncoder, build
from nestling.nesting import Nesting, truncate
from tests.models.test_encoders import ALIGN_IMAGE

RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "num_channels": 1}
VIT = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 16,
    "image_size": 32,
    "patch_size": 8,
}
CLASSES = ("Käfer", "bee", "ant")


class Case(NamedTuple):
    """An encoder, what it reads, its head, and whether it is finished."""

    name: str
    config: dict[str, Any]
    shape: tuple[int, int, int]
    dims: tuple[int, ...]
    tied: bool = False
    rotated: bool = False

    def model(self) -> Classifier:
        """With weights of a fixed seed, and batch norms that have seen pictures: else deep maps are all alike."""
        generator = torch.Generator().manual_seed(1)
        encoder = build(self.name, {**self.config, "generator": generator}).train()
        for part in encoder.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.momentum = 1.0
        with torch.no_grad():
            encoder(self.images(40))
        encoder.eval()
        if self.rotated:
            square = torch.randn(encoder.width, encoder.width, dtype=torch.float64, generator=generator)
            encoder = encoder.rotated(torch.linalg.qr(square)[0])
        head = NestedLinear(Nesting(self.dims), len(CLASSES), tied=self.tied, generator=generator)
        return Classifier(encoder, head, classes=CLASSES).eval()

    def images(self, count: int) -> Tensor:
        """Random pictures; flat ones, since noise looks alike to a network that averages."""
        generator = torch.Generator().manual_seed(count)
        noise = torch.randint(0, 256, (count, *self.shape), generator=generator)
        flat = torch.randint(0, 256, (count, self.shape[0], 1, 1), generator=generator)
        return ((noise + 3 * flat) // 4).to(torch.uint8)


CASES = [
    Case("residual", {"width": 12, "channels": 3, "size": 64, "stages": [4, 8]}, (3, 64, 64), (2, 6, 12)),
    Case("residual", {"width": 12, "stages": [4, 8]}, (1, 28, 28), (2, 4, 8), tied=True, rotated=True),
    Case("resnet", {"architecture": RESNET}, (1, 40, 24), (2, 8), tied=True),
    Case("vit", {"architecture": VIT}, (3, 32, 32), (2, 6, 12)),
    Case("vit", {"architecture": VIT}, (3, 48, 40), (2, 6, 12), rotated=True),
    Case("align-image", {"architecture": ALIGN_IMAGE}, (3, 40, 40), (2, 16)),
    Case("efficientnet-lite0", {}, (3, 40, 40), (8, 64, 1280), rotated=True),
]
PLAIN = CASES[1]


class Exported(NamedTuple):
    """A model, its cascade, and the file of both."""

    case: Case
    model: Classifier
    cascade: Cascade
    path: Path

    def run(self, images: Tensor) -> dict[str, np.ndarray]:
        """What onnxruntime makes of the file."""
        session = onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {"images": images.numpy()}), strict=True))


@torch.inference_mode()
def logits_of(model: Classifier, images: Tensor) -> list[np.ndarray]:
    return [model.head.logits(model(images), m).numpy() for m in model.head.nesting]


def balanced(model: Classifier, images: Tensor) -> Cascade:
    """A cascade of which every prefix answers some of the images: thresholds in the middle of what comes to each."""
    nesting, logits = model.head.nesting, logits_of(model, images)
    weights, thresholds = ((10.0,), (4.0, 3.0), (2.0, 0.0, 1.0))[: len(nesting)], list[float]()
    rows = np.arange(len(images))
    for i, m in enumerate(nesting.dims[:-1]):
        silent = Cascade(nesting.up_to(m), (math.inf,) * i, weights[: i + 1])
        sure = silent.answers([z[rows] for z in logits]).confidence
        thresholds.append(float(np.median(sure)) + 1e-6)
        rows = rows[sure <= thresholds[-1]]
    return Cascade(nesting, tuple(thresholds), weights, promised=0.9)


# torch.export takes seconds: `make test` exports one plain and one rotated encoder, the soak test all.
EACH = [case if i in (1, 2) else pytest.param(case, marks=pytest.mark.soak) for i, case in enumerate(CASES)]


def name_of(case: Case) -> str:
    """For people who read which test failed."""
    return f"{case.name}-{'x'.join(map(str, case.shape))}"


@pytest.fixture(scope="module", params=EACH, ids=name_of)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Each case, written once."""
    case: Case = request.param
    if case.name == "efficientnet-lite0":
        pytest.importorskip("efficientnet_lite_pytorch")
    model, path = case.model(), tmp_path_factory.mktemp("onnx") / "model.onnx"
    cascade = balanced(model, case.images(40))
    apart = export_onnx(model, path, shape=case.shape, cascade=cascade)
    assert apart is not None
    assert 0 <= apart < 1e-5
    return Exported(case, model, cascade, path)


@pytest.mark.parametrize("count", [1, 7])
def test_the_outputs_equal_the_models_at_every_prefix(exported: Exported, count: int) -> None:
    images, model = exported.case.images(count), exported.model
    found, dims = exported.run(images), exported.case.dims
    with torch.inference_mode():
        features = model(images)
    kinds = [f"{kind}_{m}" for kind in ("embedding", "logits") for m in dims]
    assert list(found) == ["embedding", *kinds, "class", "probability", "dims"]
    np.testing.assert_allclose(found["embedding"], features, rtol=1e-4, atol=1e-4 * float(features.abs().max()))
    for m, logits in zip(dims, logits_of(model, images), strict=True):
        np.testing.assert_allclose(found[f"embedding_{m}"], truncate(features, m), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found[f"logits_{m}"], logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())


def test_the_cascade_answers_as_ours_does(exported: Exported) -> None:
    images, dims = exported.case.images(40), np.array(exported.case.dims)
    found = exported.run(images)
    answers = exported.cascade.answers([found[f"logits_{m}"] for m in dims])
    assert len(set(answers.used.tolist())) == len(dims)
    assert found["dims"].tolist() == dims[answers.used].tolist()
    assert found["class"].tolist() == answers.predicted.tolist()
    np.testing.assert_allclose(found["probability"], answers.confidence, rtol=1e-4)


def test_the_file_describes_itself(exported: Exported) -> None:
    about, case = describe_onnx(exported.path), exported.case
    assert (about.encoder, about.shape, about.inside) == (case.name, case.shape, 1.0)
    assert (about.nesting, about.tied, about.classes) == (Nesting(case.dims), case.tied, CLASSES)
    assert about.cascade is not None
    assert repr(about.cascade) == repr(exported.cascade)
    proto = onnx.load(str(exported.path))
    raw = json.loads({entry.key: entry.value for entry in proto.metadata_props}["nestling"])
    assert raw["cascade"]["promised"] == 0.9
    assert raw["classes"][0] == "Käfer"
    assert [axis.dim_param or axis.dim_value for axis in proto.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        *case.shape,
    ]
    assert str(Path(__file__).parents[2]).encode() not in exported.path.read_bytes()


def test_a_cascade_may_stop_before_the_last_prefix_and_skip_some(tmp_path: Path) -> None:
    """Silent prefixes have infinite thresholds, of which JSON knows none."""
    model, images = PLAIN.model().train(), PLAIN.images(30)
    cascade = Cascade(Nesting((2, 4)), (math.inf,), promised=0.8)
    export_onnx(model, tmp_path / "a.onnx", shape=PLAIN.shape, inside=0.875, cascade=cascade)
    assert model.training
    assert model.encoder.training
    found = Exported(PLAIN, model, cascade, tmp_path / "a.onnx").run(images)
    assert set(found["dims"].tolist()) == {4}
    assert (found["class"] == found["logits_4"].argmax(axis=1)).all()
    about = describe_onnx(tmp_path / "a.onnx")
    assert about.inside == 0.875
    assert about.cascade is not None
    assert (about.cascade.thresholds, about.cascade.weights) == ((math.inf,), ((1.0,), (0.0, 1.0)))


def test_without_a_cascade_there_is_none_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = PLAIN.model()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export_onnx(model, tmp_path / "new" / "a.onnx", shape=PLAIN.shape) is None
    monkeypatch.undo()
    found = Exported(PLAIN, model, Cascade(Nesting((2,)), ()), tmp_path / "new" / "a.onnx").run(PLAIN.images(2))
    assert not {"class", "probability", "dims"} & set(found)
    assert describe_onnx(tmp_path / "new" / "a.onnx").cascade is None


# --- what is refused --------------------------------------------------------------------------------------


class Lying(ResidualEncoder):
    """Says something else where it is exported."""

    def forward(self, inputs: Tensor) -> Tensor:
        features = super().forward(inputs)
        return features * 1.001 if torch.compiler.is_exporting() else features


class Branching(ResidualEncoder):
    """What it computes depends on the numbers."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * (2 if inputs.float().mean() > 100 else 1)


def wrapped(encoder: Encoder) -> Classifier:
    return Classifier(encoder, NestedLinear(Nesting((2, 4)), 3)).eval()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Lying, r"embedding of the ONNX graph differs from the model's by 0\.001 of its largest number, so"),
        (Branching, r"the encoder residual cannot be exported \(.+\)\. Its forward must be one that torch\.export"),
    ],
)
def test_a_graph_that_is_not_the_model_is_not_written(kind: type[Encoder], words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"as it was")
    with pytest.raises(ExportError, match=words):
        export_onnx(wrapped(kind(4, stages=(4, 4))), path, shape=(1, 28, 28))
    assert path.read_bytes() == b"as it was"
    assert list(tmp_path.iterdir()) == [path]


def test_a_prefix_of_nearly_zeros_may_point_anywhere() -> None:
    """What is noise in the features is noise when it is stretched to length one."""
    features = np.array([[1e-7, 0, 3, 4], [0, 0, 5, 0]], np.float32)
    east, north = np.array([[1, 0], [0, 0]], np.float32), np.array([[0, 1], [0, 1]], np.float32)
    assert _apart("embedding_2", east, north, features) < 1e-7
    assert _apart("embedding_2", east, north, features + 1) > 0.2
    assert _apart("embedding", features, 1.001 * features, features) == pytest.approx(1e-3, rel=1e-3)
    assert _apart("logits_2", east * 1e-5, north * 1e-5, features) == pytest.approx(1e-5)
    assert _apart("logits_2", east * 100, north * 100, features) == pytest.approx(1)


def test_models_that_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = PLAIN.model()
    with pytest.raises(InputError, match="path must be a file; got the folder"):
        export_onnx(model, tmp_path, shape=PLAIN.shape)
    for dims in ((2, 6), (2, 4, 8, 12)):
        cascade = Cascade(Nesting(dims), (0.5,) * (len(dims) - 1))
        with pytest.raises(InputError, match="cascade must be of the model's nesting 2,4,8; got 2,"):
            export_onnx(model, tmp_path / "a.onnx", shape=PLAIN.shape, cascade=cascade)
    text = build("bert", {"architecture": {**VIT, "vocab_size": 50, "image_size": 9, "patch_size": 1}})
    with pytest.raises(InputError, match=r"model must be a classifier of pictures; got one of texts \(bert\)"):
        export_onnx(wrapped(text), tmp_path / "a.onnx", shape=(1, 8, 8))
    monkeypatch.setattr("nestling.integrations.onnx._LARGEST", 1000)
    with pytest.raises(InputError, match="of at most 2 GB"):
        export_onnx(model, tmp_path / "a.onnx", shape=PLAIN.shape)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["onnx", "onnxscript"])
def test_without_onnx_the_error_has_the_command(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nestling\[onnx\]'"):
        export_onnx(PLAIN.model(), tmp_path / "a.onnx", shape=PLAIN.shape)


def test_files_that_are_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.onnx does not exist"):
        describe_onnx(tmp_path / "none.onnx")
    (tmp_path / "noise.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(DataError, match=r"noise\.onnx is no ONNX file of Nestling"):
        describe_onnx(tmp_path / "noise.onnx")
    empty = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    for text, words in ((None, "Give a file of"), ("{}", "'format'"), ('{"format": 9}', "format 9 is newer")):
        onnx.helper.set_model_props(empty, {} if text is None else {"nestling": text})
        onnx.save(empty, str(tmp_path / "foreign.onnx"))
        with pytest.raises(DataError, match=words):
            describe_onnx(tmp_path / "foreign.onnx")
