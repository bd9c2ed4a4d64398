"""One contract over every registered encoder."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from nestling.errors import InputError, ShapeError
from nestling.models import ENCODERS, Encoder, ResidualEncoder, register
from nestling.models.encoders import build

CASES: dict[str, list[dict[str, Any]]] = {
    "residual": [
        {"width": 12, "stages": [4, 8]},
        {"width": 6, "channels": 3, "size": 64, "stages": [4, 8, 8]},
        {"width": 5, "size": 8, "stages": [4, 4, 4, 4, 4, 4]},
        {"width": 5, "size": 41, "stages": [4, 8]},
    ]
}
ALL = [(name, config) for name, configs in CASES.items() for config in configs]


def _images(encoder: Encoder, count: int = 5) -> torch.Tensor:
    side, channels = encoder.config["size"], encoder.config["channels"]
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=generator)


def test_every_encoder_has_a_case() -> None:
    assert {name for name in ENCODERS if not name.startswith("test-")} == set(CASES)


@pytest.mark.parametrize(("name", "config"), ALL)
def test_features_are_as_wide_as_promised_and_have_gradients(name: str, config: dict[str, Any]) -> None:
    encoder = build(name, config)
    features = encoder(_images(encoder))
    assert features.shape == (5, config["width"])
    assert features.dtype == torch.float32
    features.square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize(("name", "config"), ALL)
def test_bytes_and_floats_of_the_same_picture_give_the_same_features(name: str, config: dict[str, Any]) -> None:
    encoder = build(name, config).eval()
    images = _images(encoder)
    torch.testing.assert_close(encoder(images), encoder(images.float() / 255), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "config"), ALL)
def test_its_config_is_json_and_builds_the_same_architecture(name: str, config: dict[str, Any]) -> None:
    encoder = build(name, config)
    again = build(encoder.name, json.loads(json.dumps(encoder.config)))
    assert {n: t.shape for n, t in encoder.state_dict().items()} == {n: t.shape for n, t in again.state_dict().items()}


@pytest.mark.parametrize(("name", "config"), ALL)
def test_a_picture_s_features_do_not_depend_on_its_batch(name: str, config: dict[str, Any]) -> None:
    encoder = build(name, config).eval()
    images = _images(encoder)
    torch.testing.assert_close(encoder(images)[2:3], encoder(images[2:3]), rtol=1e-4, atol=1e-4)


def test_the_generator_alone_decides_the_first_weights() -> None:
    before = torch.random.get_rng_state()
    one, two, three = (ResidualEncoder(8, stages=(4, 8), generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.out.weight, two.out.weight)
    assert not torch.equal(one.out.weight, three.out.weight)


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
