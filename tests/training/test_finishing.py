"""Finishing: an orthogonal map that changes nothing at full width and serves the short prefixes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nestling import Nesting
from nestling.errors import InputError, ShapeError
from nestling.models import Classifier, Encoder, NestedLinear, ResidualEncoder, load, save
from nestling.training import finish

CLASSES, WIDTH = 6, 16


def trained(ending: str, *, tied: bool = False, dims: tuple[int, ...] = (2, 4, WIDTH), bias: bool = True) -> Classifier:
    """Random weights, with statistics of a batch norm that are not those of a new one."""
    generator = torch.Generator().manual_seed(0)
    encoder = ResidualEncoder(WIDTH, size=12, stages=(8, WIDTH), ending=ending, generator=generator)
    model = Classifier(encoder, NestedLinear(Nesting(dims), CLASSES, tied=tied, bias=bias, generator=generator))
    with torch.no_grad():
        encoder(torch.rand(64, 1, 12, 12, generator=generator))
        if isinstance(encoder.norm, torch.nn.BatchNorm1d):
            encoder.norm.weight.uniform_(0.5, 2, generator=generator)
            encoder.norm.bias.uniform_(-1, 1, generator=generator)
    return model.eval()


def images(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = np.arange(n) % CLASSES
    pixels = rng.integers(0, 60, (n, 1, 12, 12), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 150
    return pixels, labels


def taught(model: Classifier, features: np.ndarray, labels: np.ndarray) -> Classifier:
    """The widest head fitted by ridge regression, so that the short ones have something to learn from it."""
    bias = model.head.bias_at(WIDTH)
    x = np.concatenate([features, np.full((len(features), 1), bias is not None)], axis=1).astype(np.float64)
    gram = x.T @ x
    ridge = 1e-4 * np.trace(gram) / len(gram) * np.eye(len(gram))
    found = np.linalg.solve(gram + ridge, x.T @ (10 * np.eye(CLASSES)[labels])).astype(np.float32)
    with torch.no_grad():
        model.head.weight_at(WIDTH).copy_(torch.from_numpy(found[:-1].T))
        if bias is not None:
            bias.copy_(torch.from_numpy(found[-1]))
    return model


@pytest.mark.parametrize("ending", ["projection", "pooled", "linear"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_full_width_is_as_before_and_short_prefixes_are_better(ending: str, tied: bool, bias: bool) -> None:
    model, (pixels, labels) = trained(ending, tied=tied, bias=bias), images()
    features = model.encode(pixels)
    model = taught(model, features, labels)
    finished = finish(model, features, labels, epochs=40, seed=0)
    turned = finished.encode(pixels)
    np.testing.assert_allclose(turned @ turned.T, features @ features.T, rtol=2e-4, atol=2e-4)
    with torch.inference_mode():
        before = model.head(torch.from_numpy(features))
        after = finished.head(torch.from_numpy(turned))
    torch.testing.assert_close(after[-1], before[-1], rtol=1e-4, atol=1e-4)
    assert not np.allclose(turned, features, atol=1e-2)
    truth = torch.from_numpy(labels)
    for short in (0, 1):
        if tied:
            old, new = (torch.nn.functional.cross_entropy(z[short], truth) for z in (before, after))
            assert new < old
        else:
            old, new = ((z[short].argmax(1) == truth).float().mean() for z in (before, after))
            assert new > old + 0.1


def right_of(model: Classifier, pixels: np.ndarray, labels: np.ndarray) -> float:
    with torch.inference_mode():
        return float((model.head(torch.from_numpy(model.encode(pixels)))[-1].argmax(1).numpy() == labels).mean())


def test_a_single_full_width_gets_its_head_refitted() -> None:
    model, (pixels, labels) = trained("pooled", dims=(WIDTH,)), images()
    features = model.encode(pixels)
    finished = finish(model, features, labels, epochs=60)
    np.testing.assert_array_equal(finished.encode(pixels), features)
    assert right_of(model, pixels, labels) < 0.3
    assert right_of(finished, pixels, labels) > 0.8


@pytest.mark.parametrize("dims", [(4,), (2, 4)])
@pytest.mark.parametrize("tied", [False, True])
def test_a_head_narrower_than_the_encoder_may_use_all_its_features(dims: tuple[int, ...], tied: bool) -> None:
    model, (pixels, labels) = trained("pooled", dims=dims, tied=tied), images()
    finished = finish(model, model.encode(pixels, whole=True), labels, epochs=60)
    assert finished.head.nesting == model.head.nesting
    gained = right_of(finished, pixels, labels)
    assert gained > right_of(model, pixels, labels) + 0.3
    assert gained > 0.6  # four of the sixteen features alone reach .5
    turned, whole = finished.encode(pixels, whole=True), model.encode(pixels, whole=True)
    np.testing.assert_allclose(turned @ turned.T, whole @ whole.T, rtol=2e-4, atol=2e-4)


def test_middle_heads_learn_the_answers_of_the_widest() -> None:
    model, (pixels, labels) = trained("pooled"), images()
    features = model.encode(pixels)
    model = taught(model, features, (labels + 1) % CLASSES)  # a teacher that is always wrong
    finished = finish(model, features, labels, epochs=40)
    with torch.inference_mode():
        short, middle, full = (z.argmax(1).numpy() for z in finished.head(torch.from_numpy(finished.encode(pixels))))
    assert (middle == full).mean() > 0.8
    assert (middle == labels).mean() < 0.2
    assert (short == labels).mean() > 0.25  # the shortest hears both


def test_a_finished_model_is_saved_and_loaded(tmp_path) -> None:
    model, (pixels, labels) = trained("projection"), images(100)
    finished = finish(model, model.encode(pixels), labels, epochs=3)
    save(finished, tmp_path)
    np.testing.assert_array_equal(load(tmp_path).encode(pixels), finished.encode(pixels))


def test_the_model_stays_as_it_was_and_the_seed_decides() -> None:
    model, (pixels, labels) = trained("pooled"), images(100)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    features = model.encode(pixels)
    one, two, other = (finish(model, features, labels, epochs=3, seed=s).encode(pixels) for s in (0, 0, 1))
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


class _Flat(Encoder):
    name, width = "flat", 4

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :4].float()


def test_what_cannot_be_finished_is_refused() -> None:
    model, (pixels, labels) = trained("pooled"), images(100)
    with pytest.raises(ShapeError, match=r"features must be \(n, 16\), all"):
        finish(model, model.encode(pixels)[:, :4], labels)
    flat = Classifier(_Flat(), NestedLinear(Nesting((2, 4)), CLASSES))
    with pytest.raises(InputError, match="that can be rotated"):
        finish(flat, flat.encode(pixels), labels, epochs=2)
