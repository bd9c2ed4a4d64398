"""Nestings: construction, validation, rings, prefixes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nestling.errors import NestingError, ShapeError
from nestling.nesting import Nesting, prefix, truncate


def test_the_papers_nestings() -> None:
    assert Nesting.halving(2048).dims == (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
    assert Nesting.halving(768).dims == (12, 24, 48, 96, 192, 384, 768)
    assert Nesting.halving(768, smallest=100).dims == (192, 384, 768)
    assert Nesting.doubling(384).dims == (8, 16, 32, 64, 128, 256, 384)
    assert Nesting.doubling(256).dims == (8, 16, 32, 64, 128, 256)
    assert Nesting.doubling(8).dims == (8,)
    assert Nesting.uniform(2048, count=11).dims == (8, 212, 416, 620, 824, 1028, 1232, 1436, 1640, 1844, 2048)
    assert Nesting.uniform(64, count=1).dims == (64,)
    assert Nesting.halving(8).dims == (8,)


def test_weights_default_to_one() -> None:
    assert Nesting((8, 16)).weights == (1.0, 1.0)
    assert Nesting((8, 16), (2.0, 1.0)).weights == (2.0, 1.0)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Nesting(()), "dims must be at least one number; got none. Write for example 8,16,32."),
        (lambda: Nesting((16, 8)), "dims must be in increasing order; got 16 before 8. Sort them."),
        (lambda: Nesting((8, 8)), "dims must be without repetition; got 8 twice. Leave one of them out."),
        (lambda: Nesting((0, 8)), "dims must be a positive whole number; got 0."),
        (lambda: Nesting((-4, 8)), "dims must be a positive whole number; got -4."),
        (lambda: Nesting((8.5, 16)), "dims must be a positive whole number; got 8.5."),  # type: ignore[arg-type]
        (lambda: Nesting((True, 16)), "dims must be a positive whole number; got True."),
        (lambda: Nesting((8, 16), (1.0,)), "weights must be one per dim (2); got 1. Give as many weights as dims."),
        (lambda: Nesting((8, 16), (1.0, float("nan"))), "weights must be finite and not negative; got nan."),
        (lambda: Nesting((8, 16), (1.0, -1.0)), "weights must be finite and not negative; got -1.0."),
        (lambda: Nesting((8,), (0.0,)), "weights must be not all zero; got [0.0]. A loss of zero trains nothing."),
        (lambda: Nesting.halving(8, smallest=16), "smallest must be at most the width 8; got 16."),
        (lambda: Nesting.uniform(64, count=0), "count must be a positive whole number; got 0."),
        (lambda: Nesting.parse("8;16"), "dims must be integers separated by commas; got '8;16'. Write for example"),
        (lambda: Nesting((8, 16)).up_to(12), "m must be one of 8,16; got 12."),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_what_makes_no_nesting_is_told(make: Any, sentence: str) -> None:
    with pytest.raises(NestingError) as caught:
        make()
    assert str(caught.value).startswith(sentence)


@given(st.sets(st.integers(1, 500), min_size=1, max_size=9).map(sorted))
def test_rings_cut_the_coordinates_and_text_round_trips(dims: list[int]) -> None:
    nesting = Nesting(tuple(dims))
    x = np.arange(nesting.width)
    assert np.array_equal(np.concatenate([x[ring] for ring in nesting.rings()]), x)
    assert [ring.stop for ring in nesting.rings()] == dims == list(nesting)
    assert Nesting.parse(str(nesting)) == nesting
    assert len(nesting) == len(dims)
    assert nesting.up_to(dims[0]).dims == (dims[0],)


def test_prefix_is_a_view_for_numpy_and_torch() -> None:
    x = np.arange(12.0).reshape(3, 4)
    assert np.shares_memory(prefix(x, 2), x)
    t = torch.arange(12.0).reshape(3, 4)
    assert prefix(t, 2).data_ptr() == t.data_ptr()
    assert prefix(t, 2).tolist() == prefix(x, 2).tolist()


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_truncate_cuts_and_renormalises(kind: Any) -> None:
    x = kind([[3.0, 4.0, 12.0], [0.0, 0.0, 1.0]])
    assert np.allclose(truncate(x, 2), [[0.6, 0.8], [0.0, 0.0]])
    assert np.allclose(truncate(x, 3)[0], [3 / 13, 4 / 13, 12 / 13])
    assert truncate(x, 2).dtype == x.dtype


@pytest.mark.parametrize("m", [0, 5, -1])
def test_a_prefix_outside_the_data_is_told(m: int) -> None:
    with pytest.raises(ShapeError, match=f"m must be between 1 and the data's width 4; got {m}"):
        prefix(np.zeros((2, 4)), m)
    with pytest.raises(ShapeError):
        truncate(torch.zeros(2, 4), m)


def test_data_of_another_width_is_told() -> None:
    with pytest.raises(ShapeError, match=r"features must be 16 wide, the nesting's largest dim; got shape \(2, 8\)"):
        Nesting((8, 16)).check(np.zeros((2, 8)), "features")
