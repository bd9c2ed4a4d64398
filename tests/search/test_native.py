"""The native module: its loops against stupid ones, its refusals, and its stub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

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


def nearest(centroids: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The squared distances (q, cells) but for what they share."""
    x, q = centroids.astype(np.float64), queries.astype(np.float64)
    return (x * x).sum(axis=1) / 2 - q @ x.T


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 40), st.booleans())
def test_few_cells_are_the_nearest(seed: int, cells: int, m: int, unit: bool) -> None:
    rng = np.random.default_rng(seed)
    centroids, queries = rng.standard_normal((cells, m)), rng.standard_normal((20, m + 3))
    centroids, queries = centroids.astype(np.float32), queries.astype(np.float32)
    finder = _native.CellFinder(centroids, unit)
    count = int(rng.integers(max(1, (cells - 24 + 2) // 3), cells + 1))  # as many as are compared in float32
    found = finder.find(queries, count, 2)
    lengths = np.linalg.norm(queries[:, :m].astype(np.float64), axis=1, keepdims=True) if unit else 1
    far = nearest(centroids, queries[:, :m] / lengths)
    chosen = np.take_along_axis(far, found.astype(int), axis=1)
    assert all(len(set(row)) == count for row in found.tolist())
    assert (np.diff(chosen, axis=1) >= -1e-5).all(), "nearest first"
    assert (chosen <= np.sort(far, axis=1)[:, :count] + 1e-5).all()
    assert np.array_equal(found, np.concatenate([finder.find(query[None], count) for query in queries]))


def test_of_many_cells_the_nearest_are_hardly_ever_missed() -> None:
    rng = np.random.default_rng(0)
    centroids, queries = (
        rng.standard_normal((1000, 32)).astype(np.float32),
        rng.standard_normal((200, 32)).astype(np.float32),
    )
    found = _native.CellFinder(centroids, False).find(queries, 20, 3)
    wanted = np.argsort(nearest(centroids, queries), axis=1)[:, :20]
    assert np.mean([len(set(a) & set(b)) / 20 for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]) > 0.999


def test_equal_cells_come_by_their_number() -> None:
    centroids = np.ones((70, 5), np.float32)
    assert _native.CellFinder(centroids, True).find(centroids[:2], 70).tolist() == [list(range(70))] * 2
    nowhere = np.full((1, 5), np.nan, np.float32)
    assert set(_native.CellFinder(centroids, False).find(nowhere, 3).ravel().tolist()) == {-1}


def small(rows: int = 70, *, half: bool = True) -> tuple[Any, list[np.ndarray], np.ndarray]:
    """A snapshot to come, and the rings and norms of its segment."""
    x = np.random.default_rng(0).standard_normal((rows, 6)).astype(np.float32)
    rings, norms, _ = _native.store_rings(x, [2, 6], half)
    return _native.Snapshot([2, 6], 0, half), rings, norms


def test_a_snapshot_refuses_what_does_not_fit() -> None:
    for stops, metric in (([2, 6], 3), ([2, 6], -1), ([], 0), ([0, 6], 0)):
        with pytest.raises(ValueError, match="must be"):
            _native.Snapshot(stops, metric, True)
    made, rings, norms = small()
    nothing = [None] * 6
    ids, order = np.arange(70), np.arange(70, dtype=np.uint32)

    def refused(match: str, rings: Any = rings, norms: Any = tuple(norms), rest: Any = nothing) -> None:
        with pytest.raises((ValueError, TypeError, RuntimeError), match=match):
            made.add_segment(list(rings), list(norms), *rest)

    refused("one ring and one norm", rings=rings[:1])
    refused("one ring and one norm", norms=norms[:1])
    refused("must fit", rings=[rings[1], rings[0]])
    refused("must fit", norms=[norms[0], norms[1][:-1]])
    refused("another precision", rings=[r.view(np.float16).astype(np.float32) for r in rings])
    refused("one id a row", rest=[ids[:-1], *nothing[1:]])
    refused("one offset a row", rest=[None, np.zeros(70, np.uint64), np.zeros(3, np.uint8), *nothing[3:]])
    refused("one row a position", rest=[*nothing[:3], order[:-1], None, None])
    for cells in ([0], [1, 70], [0, 71], [0, 50, 40, 70], [0, 69], [0, 2**63, 70]):
        refused("cells", rest=[*nothing[:3], order, np.array(cells, np.uint64), None])
    refused("one bit a row", rest=[*nothing[:5], np.zeros(8, np.uint8)])
    assert made.rows == 0
    assert made.add_segment(rings, list(norms), ids, *nothing[1:]) == 0
    with pytest.raises((ValueError, IndexError)):
        made.add_copy(1, 0, 2, np.zeros((70, 64), np.uint8), np.zeros((70, 4), np.float32))


def test_parts_of_a_snapshot_that_do_not_fit() -> None:
    made, rings, norms = small()
    made.add_segment(rings, list(norms), *[None] * 6)
    params, limits, codes = np.ones((2, 6), np.float32), np.ones(4, np.float32), np.zeros((2, 512), np.uint8)
    words, some = np.zeros(128, np.uint16), np.zeros(128, np.float32)

    def sketch(
        match: str,
        bits: int = 8,
        params: Any = params,
        limits: Any = limits,
        codes: Any = codes,
        rest: Any = (None, None, words, words),
    ) -> None:
        with pytest.raises(ValueError, match=match):
            made.add_sketch(0, bits, params, limits, codes, *rest)

    sketch("bits must be", bits=3)
    sketch("params must be", params=params[:1].copy())
    sketch("params must be", limits=limits[:2])
    sketch("at most as wide", params=np.ones((2, 7), np.float32))
    sketch("codes must be", codes=codes[:1])
    sketch("codes must be", codes=codes[:, :64].copy())
    sketch("have scales", rest=(words, None, None, None))
    sketch("have scales", bits=4, codes=codes[:, :256].copy(), rest=(None, None, None, None))
    sketch("come together", rest=(None, None, words, None))
    sketch("one value a position", rest=(None, some[:70], words, words))
    sketch("one value a position", rest=(None, None, words[:64], words))
    for start, stop in ((1, 2), (0, 0), (0, 7)):
        with pytest.raises(ValueError, match="follow one another"):
            made.add_copy(0, start, stop, np.zeros((70, 64), np.uint8), np.zeros((70, 4), np.float32))
    for shape, meta in (((69, 64), (70, 4)), ((70, 63), (70, 4)), ((70, 64), (70, 3)), ((70, 64), (69, 4))):
        with pytest.raises(ValueError, match="must be"):
            made.add_copy(0, 0, 6, np.zeros(shape, np.uint8), np.zeros(meta, np.float32))


def test_searches_that_do_not_fit() -> None:
    made, rings, norms = small()
    made.add_segment(rings, list(norms), *[None] * 6)
    queries = np.ones((2, 6), np.float32)

    def refused(match: str, plan: Any, x: np.ndarray = queries, cells: Any = None, among: Any = None) -> None:
        with pytest.raises(ValueError, match=match):
            made.search(x, np.array(plan), cells, among)

    refused("as wide as the index", [[6, 0, 5]], x=queries[:, :5].copy())
    refused("query 1", [[6, 0, 5]], x=np.array([[1] * 6, [1, 1, np.inf, 1, 1, 1]], np.float32))
    refused("at least one stage", np.empty((0, 3), np.int64))
    refused(r"\(stages, 3\)", [[6, 0]])
    for stage in ([0, 0, 5], [6, -1, 5], [6, 0, 0], [7, 0, 5], [-6, 0, 5], [6, 0, -5]):
        refused("positive", [stage])
    refused("not stored", [[3, 0, 5]])
    refused("not stored", [[6, 8, 5]])
    refused("never fall", [[6, 0, 5], [2, 0, 5]])
    refused("never rise", [[2, 0, 5], [6, 0, 6]])
    refused("never falls", [[2, 0, 5], [6, 8, 5]])
    refused("no cells", [[6, 0, 5]], cells=np.zeros((2, 1), np.int32))
    refused("one bitmap a segment", [[6, 0, 5]], among=[])
    refused("one bit a row", [[6, 0, 5]], among=[np.zeros(8, np.uint8)])
    with pytest.raises(ValueError, match="k must be positive"):
        made.exact(queries, 0, None, 0, None)
    with pytest.raises(ValueError, match="one row of guesses"):
        made.exact(queries, 3, np.zeros((1, 4), np.int64), 0, None)
    with pytest.raises(ValueError, match="query 0"):
        made.exact(np.full((1, 6), 1e30, np.float32), 3, None, 0, None)
    for k in (2**61, 2**62, 2**63 - 1):  # their number of bytes overflows
        with pytest.raises(MemoryError):
            made.exact(np.ones((8, 6), np.float32), k, None, 0, None)
        with pytest.raises(MemoryError):
            made.search(np.ones((8, 6), np.float32), np.array([[6, 0, k]]), None, None)


def test_nothing_to_search() -> None:
    empty = _native.Snapshot([2, 6], 0, True)
    rows, scores = empty.search(np.ones((2, 6), np.float32), np.array([[2, 0, 9], [6, 0, 4]]), None, None)
    assert (rows == -1).all()
    assert np.isnan(scores).all()
    assert (empty.exact(np.ones((2, 6), np.float32), 3, None, 0, None)[0] == -1).all()
    made, rings, norms = small()
    made.add_segment(rings, list(norms), *[None] * 6)
    assert made.search(np.empty((0, 6), np.float32), np.array([[6, 0, 4]]), None, None, 4)[0].shape == (0, 4)
    assert (
        made.search(np.ones((2, 6), np.float32), np.array([[6, 0, 4]]), None, [np.zeros(9, np.uint8)])[0] == -1
    ).all()


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_system_without_more_threads_is_searched_by_one() -> None:
    code = """
import resource, numpy as np
from nestling.search import _native
x = np.random.default_rng(0).standard_normal((500, 6)).astype(np.float32)
rings, norms, _ = _native.store_rings(x, [6], False)
made = _native.Snapshot([6], 1, False)
made.add_segment(rings, list(norms), *[None] * 6)
plan = np.array([[6, 0, 5]])
wanted = made.search(x, plan, None, None, 1)
used = 4096 * int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20),) * 2)
found = made.search(x, plan, None, None, 400)
assert all(a.tobytes() == b.tobytes() for a, b in zip(wanted, found))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
