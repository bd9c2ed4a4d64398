"""Two encoders in one space: shapes, the loss against the plain loop, and that training brings pairs together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nestling.errors import CheckpointError, InputError, ShapeError
from nestling.models import ResidualEncoder, load, save
from nestling.models.dual import DualEncoder
from nestling.models.encoders.text import BertEncoder
from nestling.nesting import Nesting
from nestling.training import ArrayFeed, TrainConfig, fit
from nestling.training.objective import CaptionObjective, ContrastiveObjective, numbered
from tests.losses import naive
from tests.models.test_encoders import BERT

NESTING = Nesting((2, 4, 8), (2.0, 1.0, 1.0))


def _model(**how: float) -> DualEncoder:
    generator = torch.Generator().manual_seed(0)
    image = ResidualEncoder(6, size=16, stages=(4, 8), generator=generator)
    still = BERT | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return DualEncoder(image, BertEncoder(still, generator=generator), NESTING, generator=generator, **how)


def _pairs(count: int = 96) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Pictures with a bright row; the caption's one word tells which. Captions repeat."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 8, count)
    pixels = rng.integers(0, 60, (count, 1, 16, 16)).astype(np.uint8)
    for picture, k in zip(pixels, kind, strict=True):
        picture[0, 2 * k : 2 * k + 2] = 255
    captions = torch.stack([torch.tensor([1, 10 + k, 2]) for k in range(8)])
    return pixels, captions, torch.from_numpy(kind.astype(np.int64))


def test_the_loss_equals_the_loop_and_equal_captions_are_no_negatives() -> None:
    model = _model().eval()
    pixels, captions, kind = _pairs(12)
    images = torch.from_numpy(pixels)
    x, y = model.images(images), model.texts(captions[kind])
    assert x.shape == y.shape == (12, 8)
    assert np.allclose(model.encode_images(pixels, batch_size=5), x.detach().numpy(), atol=1e-5)
    assert np.allclose(model.encode_texts(captions[kind], batch_size=5), y.detach().numpy(), atol=1e-5)
    found = ContrastiveObjective(model, captions)(images, kind)
    wanted = naive.infonce(x, y, NESTING, model.temperature, groups=kind)
    torch.testing.assert_close(found.per_dim, wanted.detach(), rtol=1e-4, atol=1e-5)
    total = torch.dot(torch.tensor(NESTING.weights), wanted)
    ours, theirs = (torch.autograd.grad(t, list(model.parameters()), allow_unused=True) for t in (found.total, total))
    for one, other in zip(ours, theirs, strict=True):
        assert one is not None
        assert other is not None
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_captions_as_ids_give_the_loss_of_their_rows_whatever_the_padding() -> None:
    model = _model().eval()
    pixels, captions, kind = _pairs(12)
    images = torch.from_numpy(pixels)
    wanted = ContrastiveObjective(model, captions)(images, kind)
    found = CaptionObjective(model)(images, torch.nn.functional.pad(captions[kind], (0, 5)))
    torch.testing.assert_close(found.per_dim, wanted.per_dim)


def test_only_equal_rows_have_one_number() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 30_522, (4000, 64), generator=generator)
    near = ids.clone()
    near[torch.arange(4000), torch.randint(0, 64, (4000,), generator=generator)] += 1
    swapped = ids[:, torch.arange(63, -1, -1)]
    rows = torch.cat([ids, near, swapped, ids[:50]])
    assert len(numbered(rows).unique()) == len(rows.unique(dim=0)) == 12_000
    assert torch.equal(numbered(ids[:50]), numbered(rows)[-50:])


def test_the_temperature_is_learnt_and_has_a_floor() -> None:
    model = _model(temperature=0.01)
    pixels, captions, kind = _pairs(12)
    objective = ContrastiveObjective(model, captions)
    with torch.no_grad():
        model.log_temperature.sub_(3)
    fit(objective, ArrayFeed(pixels, kind.numpy()), TrainConfig(batch_size=12, steps=1, lr=1e-9, warmup_epochs=0.0))
    objective(torch.from_numpy(pixels), kind).total.backward()
    assert model.temperature.item() == pytest.approx(0.01)
    assert model.log_temperature.grad is not None
    assert model.log_temperature.grad.item() != 0
    with pytest.raises(InputError, match=r"temperature must be at least 0\.01"):
        _model(temperature=0.001)


def test_training_brings_pictures_and_their_captions_together_at_every_prefix() -> None:
    model = _model()
    pixels, captions, kind = _pairs(384)
    config = TrainConfig(epochs=12, batch_size=32, lr=5e-3, flip=False)
    before = model.temperature.item()
    fit(ContrastiveObjective(model, captions), ArrayFeed(pixels, kind.numpy()), config)
    x, y = model.encode_images(pixels), model.encode_texts(captions)
    for m in (4, 8):
        a, b = (v[:, :m] / np.linalg.norm(v[:, :m], axis=1, keepdims=True) for v in (x, y))
        assert ((a @ b.T).argmax(1) == kind.numpy()).mean() > 0.9, m
    assert model.temperature.item() != before


@pytest.mark.usefixtures("as_a_user")
def test_groups_must_be_one_per_caption() -> None:
    with pytest.raises(ShapeError, match=r"groups must be one per caption \(8\)"):
        ContrastiveObjective(_model(), _pairs()[1], torch.zeros(3, dtype=torch.int64))


def test_its_folder_gives_it_back(tmp_path: Path) -> None:
    model = _model().eval()
    save(model, tmp_path)
    again = load(tmp_path, DualEncoder)
    pixels, captions, _ = _pairs(6)
    assert np.array_equal(again.encode_images(pixels), model.encode_images(pixels))
    assert np.array_equal(again.encode_texts(captions), model.encode_texts(captions))
    assert again.temperature == model.temperature
    with pytest.raises(CheckpointError, match="holds a DualEncoder, not a Classifier"):
        load(tmp_path)
    path = tmp_path / "model.json"
    about = json.loads(path.read_text())
    for wrong in ({"nesting": [4, 10**12]}, {"kind": "trio"}, {"text": {}}, {"image": about["text"]}):
        path.write_text(json.dumps({**about, **wrong}))
        with pytest.raises(CheckpointError):
            load(tmp_path, DualEncoder)
