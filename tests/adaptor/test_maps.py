"""The maps against their formulas in float64, one row after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nestling.adaptor import maps
from nestling.adaptor.learning import _plain
from nestling.adaptor.maps import Residual, Rotation, map_of, tensors_of
from nestling.adaptor.objectives import ResidualMap
from nestling.errors import InputError


def residual(d: int = 5, h: int = 7) -> Residual:
    rng = np.random.default_rng(0)
    shapes = [(d, d), (d, h), (h,), (h, d), (d,)]
    return Residual(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 9, 23])
def test_each_row_is_mapped_by_the_formula(monkeypatch: pytest.MonkeyPatch, dtype: type, n: int) -> None:
    monkeypatch.setattr(maps, "_ADAPTED_AT_ONCE", 4)
    monkeypatch.setattr(maps, "_ROTATED_AT_ONCE", 4)
    x = np.random.default_rng(1).normal(size=(n, 5)).astype(dtype)
    r = residual()
    wished = np.zeros((n, 5))
    for row, out in zip(x.astype(np.float64), wished, strict=True):
        hidden = np.array([max(0.0, float(row @ r.into[:, j] + r.into_bias[j])) for j in range(7)])
        out += row @ r.matrix + hidden @ r.out + r.out_bias
    found = r(x)
    assert found.dtype == (np.float64 if dtype is np.float64 else np.float32)
    np.testing.assert_allclose(found, wished, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(Rotation(r.matrix)(x), x.astype(np.float64) @ r.matrix, rtol=1e-5, atol=1e-5)


def test_what_torch_learnt_on_scaled_vectors_is_the_same_map_on_plain_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    module = ResidualMap(torch.eye(4), 6, generator)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32) * 7
    with torch.no_grad():
        wished = 7 * module(torch.from_numpy(x / 7)).numpy()
    np.testing.assert_allclose(_plain(module, 7.0)(x), wished, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("found", [residual(), Rotation(np.eye(5, dtype=np.float32))])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_told(found: maps.Map, value: float) -> None:
    x = np.ones((20, 5), np.float32)
    x[13, 2] = value
    with pytest.raises(InputError, match=r"NaN or infinity \(inf\) in row 13"):
        found(x)


def test_large_numbers_are_let_through() -> None:
    x = np.full((3, 5), 3e38, np.float32)
    assert Rotation(np.eye(5, dtype=np.float32))(x).max() == np.float32(3e38)


def test_tensors_make_the_map_again_and_others_make_none() -> None:
    r = residual()
    assert all(
        np.array_equal(a, b)
        for a, b in zip(tensors_of(map_of(tensors_of(r))).values(), tensors_of(r).values(), strict=True)
    )
    good = tensors_of(r)
    wrong = [
        {},
        {"into": r.into},
        {**good, "into": r.into.T},
        {**good, "matrix": r.matrix.astype(np.float64)},
        {"matrix": np.ones((3, 4), np.float32)},
        {"matrix": np.full((3, 3), np.nan, np.float32)},
        {**good, "more": r.out},
    ]
    for tensors in wrong:
        with pytest.raises(InputError, match="tensors must be those of a rotation"):
            map_of(tensors)
