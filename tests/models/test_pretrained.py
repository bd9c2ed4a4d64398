"""Encoders with the weights that `transformers` saved, or that packages carry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from nestling.errors import CheckpointError, InputError, ShapeError
from nestling.models.encoders.text import BertEncoder, minilm
from nestling.models.encoders.vision import EfficientNetLite0, ResNetEncoder, ViTEncoder
from tests.models.test_encoders import BERT, DISTILBERT, RESNET, VIT


def _saved(folder: Path, kind: str) -> Any:
    """A network that `transformers` itself saved into the folder, with a head that we do not use."""
    torch.manual_seed(3)
    net: Any = {
        "resnet": lambda: transformers.ResNetForImageClassification(transformers.ResNetConfig(**RESNET)),
        "vit": lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**VIT)),
        "bert": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**BERT)),
        "roberta": lambda: transformers.RobertaForMaskedLM(transformers.RobertaConfig(**BERT)),
        "distilbert": lambda: transformers.DistilBertForMaskedLM(transformers.DistilBertConfig(**DISTILBERT)),
    }[kind]()
    net.eval().save_pretrained(folder)
    return getattr(net, kind)


def test_a_resnet_s_features_are_its_pooler_s(tmp_path: Path) -> None:
    net = _saved(tmp_path, "resnet")
    images = torch.rand(3, 1, 40, 40)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.3], "image_std": [0.2]}))
    encoder = ResNetEncoder.from_pretrained(tmp_path)
    wanted = net((images - 0.3) / 0.2).pooler_output.flatten(1)
    torch.testing.assert_close(encoder(images), wanted)


def test_a_transformer_s_features_are_its_class_token(tmp_path: Path) -> None:
    net = _saved(tmp_path, "vit")
    images = torch.rand(3, 3, 32, 32)
    wanted = net((images - 0.5) / 0.5).last_hidden_state[:, 0]
    torch.testing.assert_close(ViTEncoder.from_pretrained(tmp_path)(images), wanted)


@pytest.mark.parametrize(("kind", "encoder"), [("resnet", "ResNetEncoder"), ("vit", "ViTEncoder")])
def test_a_name_of_the_hub_gives_what_its_folder_gives(kind: str, encoder: str, tmp_path: Path) -> None:
    """Out of the hub's own cache, which a process reads when it starts."""
    place = tmp_path / "hub" / "models--some--name"
    folder = place / "snapshots" / "0123"
    _saved(folder, kind)
    channels = {"resnet": 1, "vit": 3}[kind]
    statistics = {"image_mean": [0.3] * channels, "image_std": [0.2] * channels}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123")
    script = f"""
        import torch
        from nestling.models.encoders.vision import {encoder} as encoder
        images = torch.rand(2, {channels}, 32, 32)
        found = [encoder.from_pretrained(source)(images) for source in ("some/name", {str(folder)!r})]
        assert torch.equal(*found)
        assert encoder.from_pretrained("some/name").config["mean"] == [0.3] * {channels}
    """
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(("kind", "padding"), [("bert", 0), ("roberta", 1), ("distilbert", 0)])
def test_a_text_s_features_are_the_mean_of_its_tokens_or_the_first(kind: str, padding: int, tmp_path: Path) -> None:
    net = _saved(tmp_path, kind)
    ids = torch.tensor([[3, 4, 5, padding, padding], [6, 7, 8, 9, 10]])
    hidden = net(input_ids=ids, attention_mask=(ids != padding).long()).last_hidden_state
    mean = torch.stack([hidden[0, :3].mean(0), hidden[1].mean(0)])
    torch.testing.assert_close(BertEncoder.from_pretrained(tmp_path)(ids), mean)
    torch.testing.assert_close(BertEncoder.from_pretrained(tmp_path, pooling="class")(ids), hidden[:, 0])


@pytest.mark.usefixtures("as_a_user")
def test_roberta_counts_positions_from_behind_its_padding() -> None:
    encoder = BertEncoder(BERT, family="roberta")
    assert encoder(torch.full((2, 18), 5)).shape == (2, 12)
    with pytest.raises(ShapeError, match="1 to 18 tokens"):
        encoder(torch.full((2, 19), 5))
    with pytest.raises(InputError, match="family must be one of bert, roberta"):
        BertEncoder(BERT, family="gpt")


def test_packaged_text_weights_know_what_is_alike() -> None:
    folder = minilm()
    tokens = transformers.AutoTokenizer.from_pretrained(str(folder))
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose again."]
    ids = tokens(texts, padding=True, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        x = torch.nn.functional.normalize(BertEncoder.from_pretrained(folder)(ids), dim=1)
    similar = x @ x.T
    assert similar[0, 1] > 0.5 > 0.2 > similar[0, 2]


def test_packaged_image_weights_are_trained() -> None:
    encoder = EfficientNetLite0.from_pretrained()
    dark, light = torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        x = encoder(torch.cat([dark, light, noise]))
    assert x.std(dim=0).mean() > 0.05
    assert (x >= 0).all()


@pytest.mark.usefixtures("as_a_user")
def test_what_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="source must be a folder that transformers saved"):
        ResNetEncoder.from_pretrained(tmp_path)
    _saved(tmp_path / "bert", "bert")
    with pytest.raises(InputError, match=r"source must be a resnet model; got .*, a bert model"):
        ResNetEncoder.from_pretrained(tmp_path / "bert")
    weights = tmp_path / "bert" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="no readable safetensors weights"):
        BertEncoder.from_pretrained(tmp_path / "bert")
    weights.unlink()
    torch.save({}, tmp_path / "bert" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="no readable safetensors weights"):
        BertEncoder.from_pretrained(tmp_path / "bert")


@pytest.mark.usefixtures("as_a_user")
def test_weights_that_are_not_all_there_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    _saved(tmp_path, "vit")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    gone = next(name for name in tensors if "layernorm" in name.lower())
    del tensors[gone]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks weights: .*norm"):
        ViTEncoder.from_pretrained(tmp_path)


@pytest.mark.usefixtures("as_a_user")
def test_a_file_of_other_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    for content in (b"", b"not a model", None):
        if content is None:
            torch.save({"a": torch.zeros(2)}, path)
        else:
            path.write_bytes(content)
        with pytest.raises(CheckpointError, match="does not hold the weights of EfficientNet-Lite0"):
            EfficientNetLite0.from_pretrained(path)


@pytest.mark.parametrize(
    ("name", "architecture", "message"),
    [
        ("resnet", {"hidden_sizes": [1 << 40]}, "hidden_sizes of at most"),
        ("resnet", {"hidden_sizes": [1 << 20] * 4}, "of at most .* weights"),
        ("vit", {"num_hidden_layers": 10**6}, "num_hidden_layers of at most 256"),
        ("vit", {"patch_size": 0}, "fields of a ViTConfig"),
        ("bert", {"hidden_act": "no-such"}, "fields of a BertConfig"),
        ("bert", "bert-huge", "one of bert-base, minilm-l6, or fields"),
        ("vit", "vit-giant", "one of vit-b16, vit-s16, or fields"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_architectures_that_cannot_be_are_refused(name: str, architecture: Any, message: str) -> None:
    from nestling.models.encoders import build

    with pytest.raises(InputError, match=message):
        build(name, {"architecture": architecture})


@pytest.mark.usefixtures("as_a_user")
def test_tokens_that_the_model_does_not_know_are_refused() -> None:
    encoder = BertEncoder(BERT)
    with pytest.raises(InputError, match=r"inputs must be ids 0 … 49; got 1 … 50"):
        encoder(torch.tensor([[1, 50]]))
    with pytest.raises(InputError, match="whole numbers"):
        encoder(torch.ones(1, 3))
    with pytest.raises(InputError, match="pooling must be one of mean, class"):
        BertEncoder(BERT, pooling="max")
