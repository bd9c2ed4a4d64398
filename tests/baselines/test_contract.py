"""One suite over every baseline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nestling.baselines import PCA, SVD, Baseline, FixedFeature, RandomFeatures, Slimmable
from nestling.errors import InputError, ShapeError
from nestling.models import ResidualEncoder
from nestling.training import TrainConfig

CLASSES, WIDTH = 4, 12


def _features(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count).astype(np.int64)
    means = np.random.default_rng(99).normal(size=(CLASSES, WIDTH)) * 3
    return (means[labels] + rng.normal(size=(count, WIDTH))).astype(np.float32), labels


def _images(count: int = 96, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count).astype(np.int64)
    images = rng.integers(0, 100, (count, 1, 12, 12), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        y, x = divmod(int(label), 2)
        image[0, 6 * y : 6 * y + 6, 6 * x : 6 * x + 6] += 120
    return images, labels


def _plain_classifier() -> tuple[np.ndarray, np.ndarray]:
    x, labels = _features()
    means = np.stack([x[labels == c].mean(axis=0) for c in range(CLASSES)])
    return means, -(means**2).sum(axis=1) / 2  # the nearest class mean, written as a linear classifier


def _svd() -> Baseline:
    return SVD(*_plain_classifier())


def _random_features() -> Baseline:
    return RandomFeatures(seed=2)


def _fixed_feature() -> Baseline:
    config = TrainConfig(epochs=10, batch_size=16, lr=1e-2, flip=False)
    return FixedFeature(
        lambda generator: ResidualEncoder(WIDTH, size=12, stages=(4, 8), generator=generator), config, dims=(4,)
    )


def _slimmable() -> Baseline:
    config = TrainConfig(epochs=10, batch_size=16, lr=1e-2, flip=False)
    return Slimmable(
        lambda generator: ResidualEncoder(WIDTH, size=12, stages=(4, WIDTH), ending="pooled", generator=generator),
        config,
        shares=(1 / 3, 1.0),
    )


CASES = [(_svd, _features), (PCA, _features), (_random_features, _features)]
CASES += [(_fixed_feature, _images), (_slimmable, _images)]
every = pytest.mark.parametrize(("make", "data"), CASES)
Make, Data = Callable[[], Baseline], Callable[..., tuple[np.ndarray, np.ndarray]]


@every
def test_it_embeds_at_each_dim_and_classifies_better_than_chance(make: Make, data: Data) -> None:
    baseline = make()
    x, labels = data()
    assert baseline.fit(x, labels) is baseline
    assert isinstance(baseline.name, str)
    queries, truth = data(40, seed=1)
    for dim in (1, 4, WIDTH):
        codes = baseline.encode(queries, dim)
        assert codes.shape == (40, dim)
        assert codes.dtype == np.float32
        assert np.isfinite(codes).all()
        predicted = baseline.predict(queries, dim)
        assert predicted.shape == (40,)
        assert predicted.dtype == np.int64
        assert set(predicted) <= set(range(CLASSES))
        if dim >= 4:
            assert (predicted == truth).mean() > 0.7


@every
def test_two_fits_agree_and_the_input_is_left_alone(make: Make, data: Data) -> None:
    x, labels = data()
    before = x.copy()
    one, two = make().fit(x, labels), make().fit(x.copy(), labels.copy())
    np.testing.assert_array_equal(one.encode(x[:9], 4), two.encode(x[:9], 4))
    np.testing.assert_array_equal(one.predict(x[:9], 4), two.predict(x[:9], 4))
    np.testing.assert_array_equal(x, before)


@every
def test_a_second_fit_forgets_the_first(make: Make, data: Data) -> None:
    x, labels = data()
    other, renamed = data(seed=5)[0], (data(seed=5)[1] + 1) % CLASSES
    again, fresh = make().fit(x, labels), make()
    again.predict(x[:9], 4)
    again.fit(other, renamed)
    fresh.fit(other, renamed)
    np.testing.assert_array_equal(again.encode(x, 4), fresh.encode(x, 4))
    np.testing.assert_array_equal(again.predict(x, 4), fresh.predict(x, 4))


@every
@pytest.mark.parametrize("method", ["encode", "predict"])
def test_dims_out_of_range_and_no_fit_are_refused(make: Make, data: Data, method: str) -> None:
    x, labels = data()
    with pytest.raises(InputError, match="fitted"):
        getattr(make(), method)(x, 4)
    fitted = make().fit(x, labels)
    for dim in (0, WIDTH + 1):
        with pytest.raises(InputError, match="dim"):
            getattr(fitted, method)(x, dim)


@every
@pytest.mark.usefixtures("as_a_user")
def test_shapes_that_do_not_fit_are_refused(make: Make, data: Data) -> None:
    x, labels = data()
    with pytest.raises(ShapeError, match="one per sample"):
        make().fit(x, labels[:-1])
    with pytest.raises(ShapeError, match="one per sample"):
        make().fit(x[:0], labels[:0])
    fitted = make().fit(x, labels)
    with pytest.raises(ShapeError, match="x must be"):
        fitted.encode(x[..., :-1], 4)
