from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nestling.baselines import PCA, SVD, FixedFeature, RandomFeatures, Slimmable
from nestling.baselines.slimmable import SlimmableNet
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


def test_pca_codes_are_those_of_scikit_learn_up_to_sign() -> None:
    from sklearn.decomposition import PCA as Theirs

    x, labels = _features()
    x += 5
    theirs = Theirs(5).fit(x).transform(x[:20])
    np.testing.assert_allclose(np.abs(PCA().fit(x, labels).encode(x[:20], 5)), np.abs(theirs), rtol=1e-3, atol=1e-3)


def _slimmable_net() -> SlimmableNet:
    encoder = ResidualEncoder(8, size=12, stages=(4, 8), ending="pooled", generator=torch.Generator().manual_seed(0))
    return SlimmableNet(encoder, 3, shares=(0.5, 1.0), generator=torch.Generator().manual_seed(1))


def test_a_slimmed_net_is_the_net_of_its_first_channels() -> None:
    net = _slimmable_net().train()
    images = torch.rand(16, 1, 12, 12)
    for width in (4, 8, 4):
        net(images, width)
    narrow = ResidualEncoder(4, size=12, stages=(2, 4), ending="pooled")
    theirs = narrow.state_dict()
    for name, tensor in net.encoder.state_dict().items():
        plain = name.replace(".norms.0.", ".").replace("conv.conv.", "conv.").replace("second.conv.", "second.")
        if plain in theirs:
            theirs[plain] = tensor[tuple(slice(n) for n in theirs[plain].shape)] if tensor.ndim else tensor
    narrow.load_state_dict(theirs)
    torch.testing.assert_close(net.eval()(images, 4), narrow.eval()(images))


def test_batch_norms_of_the_widths_are_their_own() -> None:
    net = _slimmable_net().train()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    net(torch.rand(16, 1, 12, 12), 4)
    changed = {name for name, t in net.state_dict().items() if not torch.equal(t, before[name])}
    assert changed
    assert all(".norms.0." in name for name in changed)


def test_slimmable_cuts_below_its_narrowest_width_and_costs_less_there() -> None:
    config = TrainConfig(epochs=2, batch_size=16, lr=1e-2)
    baseline = Slimmable(
        lambda g: ResidualEncoder(8, size=12, stages=(4, 8), ending="pooled", generator=g), config, shares=(0.5, 1.0)
    ).fit(*_images())
    x, _ = _images(10, seed=2)
    assert [baseline.width(m) for m in (1, 4, 5, 8)] == [4, 4, 8, 8]
    np.testing.assert_array_equal(baseline.encode(x, 3), baseline.encode(x, 4)[:, :3])
    assert not np.array_equal(baseline.encode(x, 5)[:, :4], baseline.encode(x, 4))


def test_what_cannot_be_slimmed_is_refused() -> None:
    with pytest.raises(InputError, match="ends pooled"):
        SlimmableNet(ResidualEncoder(8, size=12, stages=(4, 8)), 3)
    for shares in ((0.5,), (1.0, 0.5), (0.0, 1.0)):
        with pytest.raises(InputError, match="shares must be ascending"):
            SlimmableNet(ResidualEncoder(8, size=12, stages=(4, 8), ending="pooled"), 3, shares=shares)
