"""One contract over every registered encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from nestling.errors import CheckpointError, InputError, ShapeError
from nestling.models import ENCODERS, Classifier, Encoder, NestedLinear, ResidualEncoder, load, register, save
from nestling.models.encoders import build, encoder_class
from nestling.nesting import Nesting

RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "num_channels": 1}
VIT = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 16,
    "image_size": 32,
    "patch_size": 8,
}
BERT = {
    "vocab_size": 50,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
}
DISTILBERT = {
    "vocab_size": 50,
    "dim": 12,
    "n_layers": 2,
    "n_heads": 3,
    "hidden_dim": 16,
    "max_position_embeddings": 20,
}
ALIGN_IMAGE = {
    "kernel_sizes": [3, 3, 5],
    "in_channels": [32, 32, 32],
    "out_channels": [32, 32, 64],
    "strides": [1, 2, 2],
    "num_block_repeats": [1, 1, 2],
    "expand_ratios": [1, 2, 2],
    "width_coefficient": 0.25,
    "depth_coefficient": 1.0,
    "hidden_dim": 64,
    "drop_connect_rate": 0.0,
    "batch_norm_momentum": 0.1,
}
PICTURES = {"align-image", "residual", "resnet", "vit", "efficientnet-lite0"}


class Case(NamedTuple):
    """An encoder to build, what it reads and how wide it is."""

    name: str
    config: dict[str, Any]
    shape: tuple[int, ...]
    width: int

    def inputs(self, count: int = 5) -> torch.Tensor:
        """A batch of bytes, or of tokens of which the last are padding."""
        generator = torch.Generator().manual_seed(0)
        if self.name in PICTURES:
            return torch.randint(0, 256, (count, *self.shape), dtype=torch.uint8, generator=generator)
        ids = torch.randint(1, 50, (count, *self.shape), generator=generator)
        ids[2:, -3:] = 0
        return ids

    def build(self) -> Encoder:
        """With weights of a fixed seed."""
        return build(self.name, {**self.config, "generator": torch.Generator().manual_seed(1)})


CASES = [
    Case("residual", {"width": 12, "stages": [4, 8]}, (1, 28, 28), 12),
    Case("residual", {"width": 6, "channels": 3, "size": 64, "stages": [4, 8, 8]}, (3, 64, 64), 6),
    Case("residual", {"width": 5, "size": 8, "stages": [4, 4, 4, 4, 4, 4]}, (1, 8, 8), 5),
    Case("residual", {"width": 5, "size": 41, "stages": [4, 8]}, (1, 41, 41), 5),
    Case("resnet", {"architecture": RESNET}, (1, 40, 24), 8),
    Case("vit", {"architecture": VIT}, (3, 32, 32), 12),
    Case("vit", {"architecture": VIT}, (3, 48, 40), 12),
    Case("efficientnet-lite0", {}, (3, 40, 40), 1280),
    Case("align-image", {"architecture": ALIGN_IMAGE}, (3, 40, 24), 16),
    Case("align-text", {"architecture": BERT, "projection": 10}, (7,), 10),
    Case("bert", {"architecture": BERT}, (7,), 12),
    Case("bert", {"architecture": BERT, "pooling": "class"}, (7,), 12),
    Case("bert", {"architecture": {**BERT, "pad_token_id": 0}, "family": "roberta"}, (7,), 12),
    Case("bert", {"architecture": DISTILBERT, "family": "distilbert"}, (7,), 12),
]
each = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{'x'.join(map(str, case.shape))}")


def test_every_encoder_has_a_case() -> None:
    assert {name for name in ENCODERS if not name.startswith("test-")} == {case.name for case in CASES}


@each
def test_features_are_as_wide_as_promised_and_have_gradients(case: Case) -> None:
    encoder = case.build()
    features = encoder(case.inputs())
    assert features.shape == (5, case.width)
    assert encoder.width == case.width
    assert features.dtype == torch.float32
    (features * torch.randn(features.shape)).sum().backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert silent == []


@pytest.mark.parametrize("case", [case for case in CASES if case.name in ("resnet", "vit", "bert")], ids=str)
def test_what_transformers_saves_of_it_is_read_with_the_same_features(case: Case, tmp_path: Path) -> None:
    """Networks of packages and of a whole ALIGN have tests of their own."""
    encoder = case.build().eval()
    network: Any = encoder.network
    network.save_pretrained(tmp_path)
    how = {"pooling": case.config["pooling"]} if "pooling" in case.config else {}
    again = encoder_class(case.name).from_pretrained(tmp_path, **how)
    assert torch.equal(again(case.inputs()), encoder(case.inputs()))
    (tmp_path / "model.safetensors").write_bytes(b"none")
    with pytest.raises(CheckpointError, match="no readable safetensors weights"):
        encoder_class(case.name).from_pretrained(tmp_path, **how)


@pytest.mark.parametrize("case", [case for case in CASES if case.name in PICTURES], ids=str)
def test_bytes_and_floats_of_the_same_picture_give_the_same_features(case: Case) -> None:
    encoder, images = case.build().eval(), case.inputs()
    torch.testing.assert_close(encoder(images), encoder(images.float() / 255), rtol=1e-4, atol=1e-4)


@each
def test_a_classifier_of_it_is_nested_and_survives_its_folder(case: Case, tmp_path: Path) -> None:
    nesting = Nesting((2, case.width))
    model = Classifier(case.build(), NestedLinear(nesting, 3), classes=["a", "b", "c"]).eval()
    save(model, tmp_path)
    again = load(tmp_path)
    inputs = case.inputs()
    short, wide = model.head(model(inputs))
    assert short.shape == wide.shape == (5, 3)
    for one, other in zip((short, wide), again.head(again(inputs)), strict=True):
        assert torch.equal(one, other)


@each
def test_evaluation_is_deterministic_and_leaves_the_weights(case: Case) -> None:
    encoder, inputs = case.build().eval(), case.inputs()
    before = {name: t.clone() for name, t in encoder.state_dict().items()}
    assert torch.equal(encoder(inputs), encoder(inputs))
    assert all(torch.equal(t, before[name]) for name, t in encoder.state_dict().items())


@each
@pytest.mark.parametrize("what", ["all", "last", "none"])
def test_only_what_is_tuned_changes(case: Case, what: str) -> None:
    """With its statistics: what is not tuned computes in training what it computes in use."""
    encoder, head = case.build(), NestedLinear(Nesting((2, case.width)), 3)
    encoder.tune(what)
    model = Classifier(encoder, head).train()
    before = {name: t.clone() for name, t in encoder.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.loss(case.inputs(), torch.tensor([0, 1, 2, 0, 1])).total.backward()
    optimizer.step()
    changed = {name for name, t in encoder.state_dict().items() if not torch.equal(t, before[name])}
    last = {
        f"{path}.{name}"
        for path, module in encoder.named_modules()
        if module in encoder.last_block()
        for name in module.state_dict()
    }
    assert (changed == set()) == (what == "none")
    assert changed <= last or what == "all"
    assert what != "last" or len(changed) > len(last) / 2
    with pytest.raises(InputError, match="one of all, last, none"):
        encoder.tune("some")


@each
def test_rotated_twice_the_features_turn_twice(case: Case) -> None:
    encoder, inputs = case.build().eval(), case.inputs()
    generator = torch.Generator().manual_seed(2)
    one, two = (
        torch.linalg.qr(torch.randn(case.width, case.width, dtype=torch.float64, generator=generator))[0]
        for _ in range(2)
    )
    turned = encoder.rotated(one).rotated(two)
    wanted = (encoder(inputs).double() @ (two @ one).T).float()
    torch.testing.assert_close(turned(inputs), wanted, rtol=1e-4, atol=1e-5)
    assert not turned.training


@each
def test_its_config_is_json_and_builds_the_same_architecture(case: Case) -> None:
    encoder = case.build()
    again = build(encoder.name, json.loads(json.dumps(encoder.config)))
    assert {n: t.shape for n, t in encoder.state_dict().items()} == {n: t.shape for n, t in again.state_dict().items()}


@each
def test_features_do_not_depend_on_the_batch(case: Case) -> None:
    encoder, inputs = case.build().eval(), case.inputs()
    torch.testing.assert_close(encoder(inputs)[2:3], encoder(inputs[2:3]), rtol=1e-4, atol=1e-4)


@each
@pytest.mark.usefixtures("as_a_user")
def test_inputs_of_another_shape_get_our_sentence(case: Case) -> None:
    wrong = torch.zeros((2, 9, *case.shape[1:]), dtype=torch.uint8) if case.name in PICTURES else torch.ones((2, 3, 4))
    with pytest.raises(ShapeError, match=r"(images|inputs) must be \(b, "):
        case.build()(wrong)


@each
def test_the_seed_decides_the_first_weights_and_leaves_torch_s_own(case: Case) -> None:
    before = torch.random.get_rng_state()
    one, two = case.build().state_dict(), case.build().state_dict()
    other = build(case.name, {**case.config, "generator": torch.Generator().manual_seed(2)}).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "wrong",
    [{"width": 0}, {"width": 10**9}, {"stages": [8]}, {"stages": [8, -1]}, {"channels": 0}, {"std": 0.0}],
)
def test_configurations_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be"):
        build("residual", wrong)


def test_unknown_names_and_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="one of"):
        build("no-such-encoder", {})
    with pytest.raises(InputError, match="arguments of residual"):
        build("residual", {"colour": True})
    with pytest.raises(InputError, match="new"):
        register("residual", lambda **_: ResidualEncoder(8))


@pytest.mark.usefixtures("as_a_user")
def test_images_of_other_channels_get_our_sentence() -> None:
    with pytest.raises(ShapeError, match=r"images must be \(b, 1, 28, 28\)"):
        ResidualEncoder(8, stages=(4, 8))(torch.zeros(2, 3, 28, 28))
