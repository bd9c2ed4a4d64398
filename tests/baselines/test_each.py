from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nestling.baselines import SVD, FixedFeature, RandomFeatures
from nestling.errors import InputError, ShapeError
from nestling.models import ResidualEncoder
from nestling.training import TrainConfig
from tests.baselines.test_contract import _features, _images


def test_svd_codes_are_those_of_numpy_up_to_sign() -> None:
    x, labels = _features()
    queries, _ = _features(30, seed=1)
    _, _, right = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    codes = SVD().fit(x, labels).encode(queries, 5)
    np.testing.assert_allclose(np.abs(codes), np.abs(queries @ right[:5].T), rtol=1e-4, atol=1e-4)


def test_svd_keeps_all_inner_products_at_full_width() -> None:
    x, labels = _features()
    codes = SVD().fit(x, labels).encode(x, x.shape[1])
    np.testing.assert_allclose(codes @ codes.T, x @ x.T, rtol=1e-3, atol=1e-2)


def test_svd_predicts_with_the_best_low_rank_weight() -> None:
    x, labels = _features()
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(6, 12)), rng.normal(size=6)
    baseline = SVD(weight, bias).fit(x, labels)
    left, values, right = np.linalg.svd(weight)
    for m in (1, 3, 6, 12):
        low = (left[:, :m] * values[:m]) @ right[: min(m, 6)]
        np.testing.assert_array_equal(baseline.predict(x, m), (x @ low.T + bias).argmax(axis=1))
    np.testing.assert_array_equal(baseline.predict(x, 6), (x @ weight.T + bias).argmax(axis=1))


def test_svd_without_a_classifier_only_encodes() -> None:
    x, labels = _features()
    with pytest.raises(InputError, match="weight must be given"):
        SVD().fit(x, labels).predict(x, 3)
    with pytest.raises(ShapeError, match="bias must be"):
        SVD(bias=np.zeros(3))
    with pytest.raises(ShapeError, match=r"\(n, 5\)"):
        SVD(np.zeros((3, 5))).fit(x, labels)


def test_random_choices_are_nested_and_depend_on_the_seed() -> None:
    x, labels = _features()
    one, two = RandomFeatures(1).fit(x, labels), RandomFeatures(2).fit(x, labels)
    np.testing.assert_array_equal(one.encode(x, 3), one.encode(x, 7)[:, :3])
    assert sorted(one.encode(x, 12)[0]) == sorted(x[0])
    assert (one.encode(x, 12) != two.encode(x, 12)).any()


def test_random_features_survive_a_constant_one() -> None:
    x, labels = _features()
    x[:, 3] = 7.0
    assert (RandomFeatures(1).fit(x, labels).predict(x, 12) == labels).mean() > 0.9


def _fixed(folder: Path | None = None, seed: int = 0) -> FixedFeature:
    config = TrainConfig(epochs=2, batch_size=16, lr=1e-2, seed=seed)
    return FixedFeature(
        lambda generator: ResidualEncoder(8, size=12, stages=(4, 8), generator=generator), config, folder=folder
    )


def test_fixed_feature_models_share_the_backbone_and_differ_in_the_head() -> None:
    baseline = _fixed().fit(*_images())
    small, large = baseline.model(2), baseline.model(8)
    assert small.encoder.width == large.encoder.width == 8
    assert (small.head.nesting.dims, large.head.nesting.dims) == ((2,), (8,))
    assert baseline.model(2) is small
    assert not torch.equal(small.encoder.state_dict()["out.weight"], large.encoder.state_dict()["out.weight"])


def test_fixed_feature_runs_are_found_again_in_their_folder(tmp_path: Path) -> None:
    images, labels = _images()
    first = _fixed(tmp_path).fit(images, labels).encode(images, 2)
    assert (tmp_path / "ff-2" / "log.jsonl").exists()
    np.testing.assert_array_equal(_fixed(tmp_path).fit(images, labels).encode(images, 2), first)
