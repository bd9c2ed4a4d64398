"""Mining against a stupid loop, in memory and by the index."""

from __future__ import annotations

import numpy as np
import pytest

from nestling.adaptor import neighbours
from nestling.adaptor.neighbours import mined


@pytest.mark.parametrize("in_memory", [True, False])
def test_neighbours_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch, in_memory: bool) -> None:
    monkeypatch.setattr(neighbours, "GALLERY", 60)
    monkeypatch.setattr(neighbours, "ANCHORS", 25)
    monkeypatch.setattr(neighbours, "_AT_ONCE", 10)
    monkeypatch.setattr(neighbours, "_IN_MEMORY", 1000 if in_memory else 1)
    x = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    allowed = np.arange(10, 95)
    heard: list[int] = []
    held = np.arange(95, 100)
    found, other = mined(x, allowed, held, 3, seed=4, told=lambda done, total, words: heard.append(done))
    gallery = np.sort(np.random.default_rng(4).permutation(allowed)[:60])
    assert found.near.shape == (25, 3)
    assert set(found.anchors) <= set(gallery)
    assert heard == ([] if in_memory else [10, 20, 30])
    np.testing.assert_array_equal(other.anchors, held)
    for anchor, near in [*zip(found.anchors, found.near, strict=True), *zip(held, other.near, strict=True)]:
        others = [row for row in gallery if row != anchor]
        score = {r: float(x[r] @ x[anchor] / np.linalg.norm(x[r])) for r in others}
        assert set(near) == set(sorted(others, key=lambda r: -score[r])[:3])


@pytest.mark.parametrize("in_memory", [True, False])
def test_twins_and_few_rows(monkeypatch: pytest.MonkeyPatch, in_memory: bool) -> None:
    monkeypatch.setattr(neighbours, "_IN_MEMORY", 1000 if in_memory else 1)
    x = np.ones((5, 4), np.float32)  # all are twins: the row itself may not be among the first
    found, none = mined(x, np.arange(5), np.arange(0), 16, seed=0)
    assert len(none) == 0
    assert found.near.shape == (5, 4)
    for anchor, near in zip(found.anchors, found.near, strict=True):
        assert sorted([anchor, *near]) == [0, 1, 2, 3, 4]
