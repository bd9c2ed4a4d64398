"""Vectors on their way into a segment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling.errors import InputError, ShapeError
from nestling.nesting import Nesting
from nestling.search.storage import rows
from nestling.search.storage.ids import NextIds
from nestling.search.storage.rows import NewRows, checked_vectors, encoded, forget

NESTING = Nesting((3, 8, 20))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rings_hold_the_numbers_and_norms_those_of_the_stored(dtype: type) -> None:
    x = np.random.default_rng(0).normal(size=(33, 20)).astype(np.float32)
    x[5] = 0
    rings, norms, bad = encoded(x, NESTING, np.dtype(dtype))
    assert bad == -1
    assert [ring.shape for ring in rings] == [(33, 3), (33, 5), (33, 12)]
    stored = np.concatenate(rings, axis=1)
    assert stored.dtype == dtype
    assert np.array_equal(stored, x.astype(dtype))
    for k, m in enumerate(NESTING):
        wanted = (stored[:, :m].astype(np.float64) ** 2).sum(axis=1)
        assert np.allclose(norms[k], wanted, rtol=1e-6)


def _put(row: int, value: float) -> np.ndarray:
    x = np.ones((10, 20), np.float64)
    x[row, 7] = value
    return x


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (np.nan, "float16", "vectors must be finite; got NaN or infinity in row 6. Remove such rows."),
        (-np.inf, "float32", "vectors must be finite; got NaN or infinity in row 6. Remove such rows."),
        (
            7e4,
            "float16",
            r'small enough for float16; got 7e\+04 in row 6. Scale the vectors, or create .* dtype="float32"',
        ),
        (1e300, "float16", r"small enough for float16; got 1e\+300 in row 6"),
        (1e300, "float32", r"small enough for float32; got 1e\+300 in row 6. Scale the vectors.$"),
        (1e30, "float32", r"small enough for float32; got 1e\+30 in row 6"),  # its square is infinite
    ],
)
def test_numbers_that_cannot_be_stored(monkeypatch: pytest.MonkeyPatch, value: float, dtype: str, words: str) -> None:
    monkeypatch.setattr(rows, "_CHUNK", 40)  # two rows at a time: the row's number counts on
    part = NewRows(_put(2, value), NextIds(0, 10).part(0, 10), NESTING, np.dtype(dtype), first=4)
    with pytest.raises(InputError, match=words):
        list(part.chunks())


def test_the_largest_number_of_float16() -> None:
    part = NewRows(_put(2, 65504), NextIds(0, 10).part(0, 10), NESTING, np.dtype(np.float16))
    assert len(list(part.chunks())) == 6


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_of_any_kind_and_order(dtype: Any) -> None:
    x = np.random.default_rng(1).normal(size=(20, 40)).astype(dtype)
    for given in (x[:, :20], np.asfortranarray(x[:, :20]), x[:, ::2], x[::-1, 20:]):
        checked = checked_vectors(given, NESTING)
        chunks = list(NewRows(checked, NextIds(0, 20).part(0, 20), NESTING, np.dtype(np.float32)).chunks())
        assert np.array_equal(np.concatenate([ring for _, ring in chunks[:3]], axis=1), given.astype(np.float32))


def test_lists_become_arrays() -> None:
    assert checked_vectors([[0.5] * 20], NESTING).shape == (1, 20)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (np.zeros((2, 20), int), InputError, "float16, float32 or float64; got int64. Convert"),
        (np.zeros((2, 20), complex), InputError, "float16"),
        (np.zeros((2, 20), np.longdouble), InputError, "float128"),
        ([["a"] * 20], InputError, "float16"),
        ([[1.0], [1.0, 2.0]], InputError, "a matrix of"),
        (None, ShapeError, r"\(n, d\)"),
        (np.zeros(20), ShapeError, r"\(n, d\), one vector per row; got shape \(20,\)"),
        (np.zeros((1, 2, 20)), ShapeError, r"\(n, d\)"),
        (np.zeros((2, 19)), ShapeError, "20 wide, the nesting's largest dim"),
    ],
)
def test_what_are_no_vectors(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        checked_vectors(given, NESTING)


def test_pages_of_a_mapped_file_are_let_go(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((1 << 12, 1 << 10), np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")

    def resident() -> int:
        text = Path("/proc/self/smaps").read_text().split("x.npy")[1]
        return int(text.split("Rss:")[1].split()[0])

    assert x.sum() == 1 << 22
    assert resident() >= 16 << 10
    forget(x[5:7])
    assert resident() == 0
    assert x[0, 0] == 1
    changed = np.load(tmp_path / "x.npy", mmap_mode="c")
    changed[0, 0] = 5
    forget(changed)
    assert changed[0, 0] == 5  # a private page would be lost
    forget(np.ones(3))
