"""The kernel against the loop, its refusals, and its stub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nestling.search
from nestling.search import _native


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 70), st.integers(0, 12))
def test_add_ring_dots_is_the_loop(seed: int, q: int, width: int, places: int) -> None:
    rng = np.random.default_rng(seed)
    query = rng.standard_normal((q, width)).astype(np.float32)
    gallery = rng.standard_normal((9, width + 5)).astype(np.float32)[:, 2 : 2 + width]
    shortlist = rng.integers(-1, 9, (q, places))
    scores = rng.standard_normal((q, places)).astype(np.float32)
    wanted = scores.astype(np.float64)
    for i in range(q):
        for j in range(places):
            if shortlist[i, j] >= 0:
                wanted[i, j] += query[i].astype(np.float64) @ gallery[shortlist[i, j]].astype(np.float64)
    empty = scores[shortlist == -1].copy()
    _native.add_ring_dots(scores, query, gallery, shortlist)
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-4)
    assert np.array_equal(scores[shortlist == -1], empty)


@pytest.mark.parametrize("row", [5, -2, 2**62, -(2**62)])
def test_a_row_outside_the_gallery_is_an_index_error_and_changes_nothing(row: int) -> None:
    x, scores = np.ones((5, 3), np.float32), np.zeros((1, 2), np.float32)
    with pytest.raises(IndexError, match=rf"shortlist holds row {row} of a gallery of 5\."):
        _native.add_ring_dots(scores, x[:1], x, np.array([[0, row]]))
    assert not scores.any()


def test_arrays_that_do_not_fit() -> None:
    x, scores, ids = np.ones((5, 4), np.float32), np.zeros((1, 2), np.float32), np.zeros((1, 2), np.int64)
    with pytest.raises(ValueError, match="equally wide"):
        _native.add_ring_dots(scores, x[:1, :3], x, ids)
    with pytest.raises(ValueError, match="one row per query"):
        _native.add_ring_dots(scores, x[:2], x, ids)
    with pytest.raises(ValueError, match="gallery must have contiguous rows"):
        _native.add_ring_dots(scores, x[:1, :2], x[:, ::2], ids)
    with pytest.raises(ValueError, match="gallery must not run backwards"):
        _native.add_ring_dots(scores, x[:1], x[::-1], ids)
    with pytest.raises(TypeError):  # nothing is converted behind the caller's back
        _native.add_ring_dots(scores, x[:1].astype(np.float64), x, ids)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _native.add_ring_dots(scores, x[:1], x, ids.astype(np.int32))  # type: ignore[arg-type]


def test_the_committed_stub_is_the_generated_one(tmp_path: Path) -> None:
    made = tmp_path / "_native.pyi"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "nestling.search._native", "-o", str(made)]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=120)
    committed = Path(str(nestling.search.__file__)).with_name("_native.pyi")
    assert committed.read_text(encoding="utf-8") == made.read_text(encoding="utf-8"), (
        "Run: python -m nanobind.stubgen -m nestling.search._native -o src/nestling/search/_native.pyi"
    )
