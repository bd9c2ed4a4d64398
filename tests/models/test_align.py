"""ALIGN's towers: what `transformers` computes with its own model, trained further and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from nestling.errors import CheckpointError, InputError
from nestling.models import DualEncoder, align_model, load, save
from nestling.models.encoders.align import AlignImageEncoder, AlignTextEncoder
from nestling.nesting import Nesting
from nestling.training import ArrayFeed, ContrastiveObjective, TrainConfig, fit
from tests.models.test_encoders import ALIGN_IMAGE, BERT

WIDTH = 16
NESTING = Nesting((4, 8, WIDTH))
IDS = torch.tensor([[3, 4, 5, 0, 0], [6, 7, 8, 9, 10], [11, 12, 0, 0, 0]])


def fields() -> dict[str, Any]:
    return {"vision_config": ALIGN_IMAGE, "text_config": BERT, "projection_dim": WIDTH, "temperature_init_value": 0.2}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model that `transformers` made and saved; its batch norms have seen pictures."""
    torch.manual_seed(0)
    net = transformers.AlignModel(transformers.AlignConfig(**fields()))
    with torch.no_grad():
        net.text_projection.bias.uniform_(-1, 1)
        net.train()
        net.get_image_features(torch.randn(8, 3, 48, 48))
    folder = tmp_path_factory.mktemp("align")
    net.eval().save_pretrained(folder)
    return net, folder


def test_at_full_width_the_vectors_are_those_of_transformers(saved: tuple[Any, Path]) -> None:
    net, folder = saved
    model = align_model(folder, NESTING).eval()
    images = torch.rand(3, 3, 48, 40)
    wanted = net.get_image_features((images - 0.5) / 0.5).pooler_output
    torch.testing.assert_close(model.images(images), wanted, rtol=1e-4, atol=1e-5)
    wanted = net.get_text_features(IDS, attention_mask=(IDS != 0).long()).pooler_output
    assert wanted.shape == (3, WIDTH)
    torch.testing.assert_close(model.texts(IDS), wanted, rtol=1e-4, atol=1e-5)
    theirs = net(input_ids=IDS, attention_mask=(IDS != 0).long(), pixel_values=(images - 0.5) / 0.5).logits_per_image
    x, y = (torch.nn.functional.normalize(each) for each in (model.images(images), model.texts(IDS)))
    torch.testing.assert_close(x @ y.T / model.temperature, theirs, rtol=1e-4, atol=1e-4)


def test_other_widths_get_maps_that_are_drawn(saved: tuple[Any, Path]) -> None:
    one, same, other = (
        align_model(saved[1], Nesting((4, 12)), generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert one.texts(IDS).shape == (3, 12)
    assert torch.equal(one.image_map.weight, same.image_map.weight)
    assert not torch.equal(one.image_map.weight, other.image_map.weight)


def test_all_of_it_is_trained_and_its_folder_gives_it_back(saved: tuple[Any, Path], tmp_path: Path) -> None:
    model = align_model(saved[1], NESTING)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    pixels = np.random.default_rng(0).integers(0, 255, (12, 3, 32, 32), dtype=np.uint8)
    config = TrainConfig(steps=2, batch_size=6, lr=1e-3, flip=False)
    fit(ContrastiveObjective(model, IDS), ArrayFeed(pixels, np.arange(12) % 3), config)
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == [name for name in still if "position_embeddings" in name or "word_embeddings" in name]
    loss = model.loss(torch.from_numpy(pixels[:3]), IDS)
    loss.total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []

    save(model, tmp_path)
    again = load(tmp_path, DualEncoder)
    assert isinstance(again.image, AlignImageEncoder)
    assert isinstance(again.text, AlignTextEncoder)
    assert np.array_equal(again.encode_images(pixels), model.encode_images(pixels))
    assert np.array_equal(again.encode_texts(IDS), model.encode_texts(IDS))
    assert again.temperature == model.temperature


def test_fields_give_fresh_towers() -> None:
    generators = (torch.Generator().manual_seed(seed) for seed in (3, 3))
    one, other = (align_model(fields(), NESTING, generator=generator).eval() for generator in generators)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(one.images(images), other.images(images))
    assert torch.equal(one.texts(IDS), other.texts(IDS))
    assert one.temperature.item() == pytest.approx(0.2)
    assert one.text.width == WIDTH


@pytest.mark.parametrize(
    ("told", "scale"),
    [
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}, lambda x: 2 * x - 1),
        (
            {"rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.3, 0.4, 0.5], "image_std": [0.2] * 3},
            lambda x: (x - torch.tensor([0.3, 0.4, 0.5]).view(3, 1, 1)) / 0.2,
        ),
        (
            {"rescale_factor": 2 / 255, "rescale_offset": True, "do_normalize": True}
            | {"image_mean": [0.1] * 3, "image_std": [0.5] * 3},
            lambda x: (2 * x - 1 - 0.1) / 0.5,
        ),
    ],
)
def test_pictures_are_scaled_as_its_processor_scales_them(
    told: dict[str, Any], scale: Any, saved: tuple[Any, Path], tmp_path: Path
) -> None:
    for file in saved[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))
    images = torch.rand(2, 3, 32, 32)
    wanted = saved[0].get_image_features(scale(images)).pooler_output
    torch.testing.assert_close(AlignImageEncoder.from_pretrained(tmp_path)(images), wanted, rtol=1e-4, atol=1e-5)
    assert AlignTextEncoder.from_pretrained(tmp_path)(IDS).shape == (3, WIDTH)


@pytest.mark.usefixtures("as_a_user")
def test_what_is_no_align_is_one_sentence(saved: tuple[Any, Path], tmp_path: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**BERT)).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match=r"source must be a align model; got .*, a bert model"):
        align_model(tmp_path / "bert", NESTING)
    with pytest.raises(InputError, match=r"source must be made of .*text_config"):
        align_model({"visoin_config": {}}, NESTING)
    with pytest.raises(InputError, match="architecture must be of at most 256 layers"):
        align_model({"vision_config": {"depth_coefficient": 1e9}}, NESTING)
    for wrong in ({"depth_coefficient": float("inf")}, {"kernel_sizes": [3]}, {"strides": "fast"}):
        with pytest.raises(InputError, match="architecture must be fields of a AlignVisionConfig"):
            AlignImageEncoder(wrong)
    with pytest.raises(InputError, match="architecture must be one of efficientnet-b0"):
        AlignImageEncoder("efficientnet-b8")
    with pytest.raises(InputError, match="projection must be from 1"):
        AlignTextEncoder(BERT, projection=0)
    for file in saved[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no readable safetensors weights"):
        align_model(tmp_path, NESTING)
